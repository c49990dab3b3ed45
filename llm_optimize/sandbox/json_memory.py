"""How much memory JSON takes once it is parsed, estimated before it is: short text can stand for many objects.

`[[],[],...]` is three bytes a list, and a list takes 64 of them. So what stands outside of strings is counted, at what
each kind of object takes in CPython 3.11 to 3.14 (64 bits), and text that would take too much is never parsed.
"""

from __future__ import annotations

_LIST = 64  # an empty one; what is in it is counted by its commas
_DICT = 64
_ENTRY = 190  # of a dict: the share of its table, and the key
_VALUE = 40  # its place in the list, and a float or an integer
_STRING = 60  # beside its characters

_CHUNK_BYTES = (
    1 << 16
)  # of text that is taken apart at a time, or the parts would take more than what they are of


def json_memory_bytes(text: bytes, enough: int) -> int:
    """Return how many bytes the objects of a JSON text take, about; more than `enough` may be any such number.

    >>> weight(b'[{},{}]', 0) > 3 * 64
    True
    >>> weight(b'"[[[[[[[["', 100)
    70
    """
    rough = (
        _structure(text) + text.count(b'"') // 2 * _STRING + len(text)
    )  # as if nothing stood within strings
    return rough if rough <= enough else _exact(text)


def _structure(text: bytes) -> int:
    counts = ((b"[", _LIST), (b"{", _DICT), (b":", _ENTRY), (b",", _VALUE))
    return sum(text.count(sign) * size for sign, size in counts)


def _exact(text: bytes) -> int:
    """Return the same, looking outside of strings only: without escapes, each quote begins one or ends one."""
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    total, quotes = len(text), 0
    for begin in range(0, len(plain), _CHUNK_BYTES):
        parts = plain[begin : begin + _CHUNK_BYTES].split(b'"')
        total += _structure(b"".join(parts[quotes % 2 :: 2]))
        quotes += len(parts) - 1
    return total + quotes // 2 * _STRING
