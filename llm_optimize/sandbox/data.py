"""Plain data, and numpy arrays beside it, as bytes: JSON and `.npy`; never a pickle, and nothing is believed.

The bytes are the length of the JSON, the JSON, and the arrays one after the other. Where an array was, the JSON says
where its bytes are: {"\\0npy": [offset, length]}.
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
    """A value is neither plain data nor of numpy's."""


class Packer:
    """Turns a value into bytes, looking at exact types only: no method of a foreign object is called."""

    def __init__(self, arrays: bool = False) -> None:
        """Say whether numpy arrays may be in the value."""
        self._arrays = arrays
        self._blobs: list[bytes] = []
        self._offset = 0

    def join(self, plain: Any) -> bytes:
        """Return what `plain` returned, or holds it, as bytes, with the arrays that it mentions."""
        return join(plain, self._blobs)

    def plain(self, value: Any, depth: int = 0) -> Any:
        """Return the value as what JSON can hold.

        Raises NoPlainData, a TypeError, for what is neither plain data nor of numpy's.
        """
        if depth > _MAX_DEPTH:
            raise NotPlainData(
                f"the value holds data nested deeper than {_MAX_DEPTH} levels"
            )
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
        return self._of_numpy(value)

    def _of_numpy(self, value: Any) -> Any:
        """Return a numpy scalar or 0-d array as a number, an array as the place of its bytes."""
        numpy = sys.modules.get("numpy")
        kind = type(value)
        if numpy is not None and (
            kind is numpy.ndarray or kind in numpy.sctypeDict.values()
        ):
            if value.shape == () and value.dtype.kind in "biuf":
                return value.item()
            if kind is numpy.str_:
                return str.__str__(value)
            if self._arrays and kind is numpy.ndarray and not value.dtype.hasobject:
                return self._place(value)
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        raise NotPlainData(
            f"a value of type {name} is no plain data: return numbers, texts, lists and dicts of them"
        )

    def _place(self, array: Any) -> dict[str, list[int]]:
        file = io.BytesIO()
        importlib.import_module("numpy.lib.format").write_array(
            file, array, allow_pickle=False
        )
        self._blobs.append(file.getvalue())
        place = {_ARRAY: [self._offset, len(self._blobs[-1])]}
        self._offset += len(self._blobs[-1])
        return place


def join(plain: Any, blobs: Sequence[bytes] = ()) -> bytes:
    """Return plain data and the arrays that it mentions as bytes."""
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
    return 1 + sum(map(length_of, plain)) if isinstance(plain, list) else 1


class TooMuchMemory(ValueError):
    """JSON that would take too much memory once it is parsed."""


def unpack(
    data: bytes | memoryview, arrays: bool = False, max_memory_bytes: int | None = None
) -> Any:
    """Return what is in bytes that anybody may have written.

    Raises ValueError or RecursionError when it is no data, TooHeavy when its objects take more than `max_weight` bytes.
    """
    if len(data) < _LENGTH.size:
        raise ValueError("cut off")
    end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    text = bytes(data[_LENGTH.size : end])
    if (
        max_memory_bytes is not None
        and json_memory_bytes(text, max_memory_bytes) > max_memory_bytes
    ):
        raise TooMuchMemory("too many values for its length")
    return _filled(json.loads(text), memoryview(data)[end:], arrays)


def _filled(plain: Any, blobs: memoryview, arrays: bool) -> Any:
    """Return JSON data with its arrays, and with a question mark for each lone surrogate, which no file takes.

    Lists are filled in place: a second copy of what may be large is not made.
    """
    if isinstance(plain, str):
        return plain if plain.isascii() else plain.encode("utf-8", "replace").decode()
    if isinstance(plain, list):
        for place, part in enumerate(plain):
            if isinstance(part, str | list | dict):
                plain[place] = _filled(part, blobs, arrays)
        return plain
    if not isinstance(plain, dict):
        return plain
    if _ARRAY in plain and arrays:
        offset, length = plain[_ARRAY]
        if (
            type(offset) is not int
            or type(length) is not int
            or not 0 <= offset <= offset + length <= len(blobs)
        ):
            raise ValueError("an array lies outside of the data")
        return _array(bytes(blobs[offset : offset + length]))
    if all(map(str.isascii, plain)):
        for name, part in plain.items():
            if isinstance(part, str | list | dict):
                plain[name] = _filled(
                    part, blobs, arrays
                )  # of a name that is there: its order stays
        return plain
    return {
        _filled(name, blobs, False): _filled(part, blobs, arrays)
        for name, part in plain.items()
    }


def _array(blob: bytes) -> Any:
    """Return the array in `.npy` bytes: the header must speak of just as many bytes as there are."""
    numpy, npy = (
        importlib.import_module("numpy"),
        importlib.import_module("numpy.lib.format"),
    )
    file = io.BytesIO(blob)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    reader = readers.get(npy.read_magic(file))
    if reader is None:
        raise ValueError("an array of an unknown version")
    try:
        shape, fortran_order, dtype = reader(file, max_header_size=_MAX_HEADER_CHARS)
    except (
        SyntaxError,
        tokenize.TokenError,
        MemoryError,
    ) as error:  # it is read as Python's literals are
        raise ValueError("an array with a header that cannot be read") from error
    size = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or min(shape, default=0) < 0 or size != len(blob) - file.tell():
        raise ValueError("an array whose header does not fit its data")
    flat = (
        numpy.frombuffer(blob, dtype, offset=file.tell())
        if size
        else numpy.empty(0, dtype)
    )
    return flat.copy().reshape(shape, order="F" if fortran_order else "C")
