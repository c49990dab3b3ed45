"""Serialization of plain data and numpy arrays: JSON and `.npy`, never a pickle.

Nothing that is read is trusted: any bytes may arrive. The format is the length of the JSON, the
JSON, and the arrays one after the other. In the JSON, {"\\0npy": [offset, length]} stands for an
array and says where its bytes are.
"""

from __future__ import annotations

import importlib
import io
import json
import math
import struct
import sys
import tokenize
from collections.abc import Sequence
from typing import Any

from ..records import Score
from .json_memory import json_memory_bytes

_LENGTH = struct.Struct("!I")
_ARRAY = "\0npy"
_MAX_DEPTH = 100  # of lists and dicts
_MAX_HEADER_CHARS = 10_000  # of an array: enough for a dtype of many fields


class NotPlainData(TypeError):
    """A value is neither plain data nor a numpy value."""


class Packer:
    """Turns a value into bytes. Looks at exact types only: no method of a foreign object is called.

    Args:
        arrays: whether numpy arrays may be in the value.
    """

    def __init__(self, *, arrays: bool = False) -> None:
        self._arrays = arrays
        self._blobs: list[bytes] = []
        self._offset = 0

    def join(self, plain: Any) -> bytes:
        """Return data that holds a result of `plain` as bytes, with the arrays that it mentions."""
        return join(plain, self._blobs)

    def plain(self, value: Any, depth: int = 0) -> Any:
        """Return the value as data that JSON can hold.

        Raises NotPlainData, a TypeError, for what is neither plain data nor a numpy value.
        """
        if depth > _MAX_DEPTH:
            message = f"the value holds data nested deeper than {_MAX_DEPTH} levels"
            raise NotPlainData(message)
        kind = type(value)
        if value is None or kind in (bool, int, float, str):
            return value
        if kind in (list, tuple):
            return [self.plain(part, depth + 1) for part in value]
        if kind is dict and all(type(key) is str and key != _ARRAY for key in value):
            return {key: self.plain(part, depth + 1) for key, part in value.items()}
        if kind is Score:
            return {
                "score": value.value,
                "feedback": value.feedback,
                "metrics": self.plain(dict(value.metrics), depth + 1),
                "instances": self.plain(dict(value.instances), depth + 1),
            }
        return self._of_numpy(value)  # wall: the exact types

    def _of_numpy(self, value: Any) -> Any:
        """Return a numpy scalar or 0-d array as a number, an array as the place of its bytes."""
        numpy = sys.modules.get("numpy")
        kind = type(value)
        is_array = numpy is not None and kind is numpy.ndarray
        is_scalar = numpy is not None and kind in numpy.sctypeDict.values()
        if is_array or is_scalar:
            if value.shape == () and value.dtype.kind in "biuf":
                return value.item()
            if numpy is not None and kind is numpy.str_:
                return str.__str__(value)
            if self._arrays and is_array and not value.dtype.hasobject:
                return self._add_array(value)
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        raise NotPlainData(
            f"a value of type {name} is not plain data: "
            "return numbers, texts, lists and dicts of them"
        )

    def _add_array(self, array: Any) -> dict[str, list[int]]:
        """Keep the bytes of an array, and return what stands for it in the JSON."""
        file = io.BytesIO()
        npy = importlib.import_module("numpy.lib.format")
        npy.write_array(file, array, allow_pickle=False)
        blob = file.getvalue()
        self._blobs.append(blob)
        place = {_ARRAY: [self._offset, len(blob)]}
        self._offset += len(blob)
        return place


def join(plain: Any, blobs: Sequence[bytes] = ()) -> bytes:
    """Return plain data, and the arrays that it mentions, as bytes."""
    text = json.dumps(plain).encode()
    return b"".join([_LENGTH.pack(len(text)), text, *blobs])


def length_of(plain: Any) -> int:
    """Return how many bytes plain data takes as JSON at least; an array counts with its own."""
    if isinstance(plain, str):
        return len(plain)
    if isinstance(plain, dict):
        if _ARRAY in plain:
            return int(plain[_ARRAY][1])
        return sum(len(name) + length_of(part) for name, part in plain.items())
    if isinstance(plain, list):
        return 1 + sum(map(length_of, plain))
    return 1


class TooMuchMemory(ValueError):
    """JSON that would take too much memory once it is parsed."""


def unpack(
    data: bytes | memoryview,
    *,
    arrays: bool = False,
    max_memory_bytes: int | None = None,
) -> Any:
    """Return the value in bytes that anybody may have written.

    Args:
        data: what `join` returns, if the other side is honest.
        arrays: whether numpy arrays may be in the value; else what stands for one is a plain dict.
        max_memory_bytes: how much memory the objects of the JSON may take; None for any amount.

    Raises:
        TooMuchMemory: the objects would take more than `max_memory_bytes`.
        ValueError, RecursionError: it is not such data.
    """
    if len(data) < _LENGTH.size:
        raise ValueError("cut off")
    end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    text = bytes(data[_LENGTH.size : end])
    if max_memory_bytes is not None:
        memory_bytes = json_memory_bytes(text, max_memory_bytes)
        if memory_bytes > max_memory_bytes:  # wall: the memory of an answer
            raise TooMuchMemory("too many values for its length")
    return _with_arrays(json.loads(text), memoryview(data)[end:], arrays=arrays)


def _with_arrays(plain: Any, blobs: memoryview, *, arrays: bool) -> Any:
    """Return JSON data with its arrays in place.

    A lone surrogate, which cannot be written to a file, becomes a question mark. Lists and dicts
    are changed in place: the data may be large, and a second copy would take as much memory again.
    """
    if isinstance(plain, str):
        if plain.isascii():
            return plain
        return plain.encode("utf-8", "replace").decode()
    if isinstance(plain, list):
        for index, part in enumerate(plain):
            if isinstance(part, str | list | dict):
                plain[index] = _with_arrays(part, blobs, arrays=arrays)
        return plain
    if not isinstance(plain, dict):
        return plain
    if _ARRAY in plain and arrays:
        return _array_at(plain[_ARRAY], blobs)
    if all(map(str.isascii, plain)):
        for name, part in plain.items():
            if isinstance(part, str | list | dict):
                # Assigning to a name that is there keeps the dict's size and order, so that the
                # loop over it may go on.
                plain[name] = _with_arrays(part, blobs, arrays=arrays)
        return plain
    cleaned = {}
    for name, part in plain.items():
        clean_name = _with_arrays(name, blobs, arrays=False)
        cleaned[clean_name] = _with_arrays(part, blobs, arrays=arrays)
    return cleaned


def _array_at(place: Any, blobs: memoryview) -> Any:
    offset, length = place
    if type(offset) is not int or type(length) is not int:
        raise ValueError("an array lies outside of the data")
    end = offset + length
    if not 0 <= offset <= end <= len(blobs):
        raise ValueError("an array lies outside of the data")
    return _read_array(bytes(blobs[offset:end]))


def _read_array(blob: bytes) -> Any:
    """Return the array in `.npy` bytes, whose header must describe as many bytes as there are."""
    numpy = importlib.import_module("numpy")
    npy = importlib.import_module("numpy.lib.format")
    file = io.BytesIO(blob)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    reader = readers.get(npy.read_magic(file))
    if reader is None:
        raise ValueError("an array of an unknown version")
    try:
        shape, fortran_order, dtype = reader(file, max_header_size=_MAX_HEADER_CHARS)
    except (SyntaxError, tokenize.TokenError, MemoryError) as error:
        # numpy reads the header as a Python literal, so any error of Python's parser may come.
        raise ValueError("an array with a header that cannot be read") from error
    size = math.prod(shape) * dtype.itemsize
    has_negative_side = min(shape, default=0) < 0
    if dtype.hasobject or has_negative_side or size != len(blob) - file.tell():
        raise ValueError("an array whose header does not fit its data")
    if size == 0:
        flat = numpy.empty(0, dtype)
    else:
        flat = numpy.frombuffer(blob, dtype, offset=file.tell())
    order = "F" if fortran_order else "C"
    return flat.copy().reshape(shape, order=order)
