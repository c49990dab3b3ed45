"""Memory estimate of JSON: what its objects will take once it is parsed, found without parsing it.

`[[],[],...]` is three bytes a list, and a list takes 64 of them: short text can stand for many
objects. So the structural characters outside of strings are counted, each at the size of the object
that it stands for in CPython 3.11 to 3.14 (64 bits). Text that would take too much is not parsed.
"""

from __future__ import annotations

_LIST = 64  # bytes of an empty one; its items are counted by their commas
_DICT = 64
_ENTRY = 190  # of a dict: its share of the table, and the key
_VALUE = 40  # its place in the list, and a float or an integer
_STRING = 60  # besides its characters

# Of text split at a time; all parts at once would take more than the text.
_CHUNK_BYTES = 1 << 16


def json_memory_bytes(text: bytes, enough: int) -> int:
    """Return about how many bytes the objects of a JSON text take.

    The exact count is made only where a rough upper bound is above `enough`.

    >>> json_memory_bytes(b'[{},{}]', 0) > 3 * 64
    True
    >>> json_memory_bytes(b'"[[[[[[[["', 100)
    70
    """
    # The upper bound counts characters within strings as if they were structure.
    strings = text.count(b'"') // 2
    upper_bound = _structure_bytes(text) + strings * _STRING + len(text)
    if upper_bound <= enough:
        return upper_bound
    return _count_outside_strings(text)


def _structure_bytes(text: bytes) -> int:
    sizes = ((b"[", _LIST), (b"{", _DICT), (b":", _ENTRY), (b",", _VALUE))
    return sum(text.count(sign) * size for sign, size in sizes)


def _count_outside_strings(text: bytes) -> int:
    """Return the same, counting structure outside of strings only.

    Without escapes, each quote begins a string or ends one: of the parts between quotes, every
    second is outside.
    """
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    total, quotes = len(text), 0
    for begin in range(0, len(plain), _CHUNK_BYTES):
        parts = plain[begin : begin + _CHUNK_BYTES].split(b'"')
        first_outside = quotes % 2
        total += _structure_bytes(b"".join(parts[first_outside::2]))
        quotes += len(parts) - 1
    return total + quotes // 2 * _STRING
