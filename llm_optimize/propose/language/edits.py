"""Edits made to a text, which stays as it is elsewhere: pure functions.

An edit says which lines it looks for and which stand there afterwards. Lines are looked for by
their whole text; how edits are read from a reply stands in `blocks.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise

from ...errors import EditFailed
from ...text import clip, lines_of
from .blocks import Edit
from .fences import fence

_BOM = "\ufeff"

_MAX_QUOTED_CHARS = 2_000  # of a SEARCH text, or of lines of x
_MAX_LINE_CHARS = 200  # of a line of x that is quoted, or compared
_MAX_LINES = 20  # of x that are quoted
_MAX_SEARCHED = 200  # lines of a SEARCH text that are compared with x
_MAX_COMPARED = 2_000  # lines of x that are compared letter by letter
_MAX_OFTEN = 50  # a line that stands in x more often tells nothing about a place
_MAX_COMPLAINTS = 3  # in one message; the others are only counted
_MAX_PLACES = 1_000  # that are looked at for one edit
_MAX_STEPS = 100_000  # lines of x times edits that are made one after the other
_LEAST_ALIKE = 0.4  # share of letter pairs that two lines must have in common


def apply_edits(x: str, edits: Sequence[Edit]) -> str:
    r"""Return x with all edits made; every line that they leave alone stays as it is, to the byte.

    Each SEARCH is looked for in the x that was given, as it is; then without regard to white space
    at the ends of lines; then without regard to an indentation that all its lines have or lack,
    which the replacement then gets or loses. The first of these ways that finds it must find it
    in one place. Where the edits cannot all be made in the x that was given, they are made one
    after the other: some models edit what an earlier edit wrote.

    Raises:
        EditFailed: a SEARCH is found nowhere or in several places, or two edits change the same
            line. The message is for the model.

    >>> apply_edits("def f():\r\n    return 1\r\n", [Edit("return 1\n", "return 2\n")])
    'def f():\r\n    return 2\r\n'
    """
    bom = ""
    if x.startswith(_BOM):
        bom = _BOM
        plain = []
        for edit in edits:
            if edit.search.startswith(_BOM):
                edit = Edit(
                    edit.search.removeprefix(_BOM), edit.replace.removeprefix(_BOM)
                )
            plain.append(edit)
        edits = plain
    lines = lines_of(x.removeprefix(bom))
    try:
        return bom + _with_all(lines, edits)
    except _NotFound:
        made = _one_after_the_other(lines, edits)
        if made is None:
            raise
        return bom + made


class _NotFound(EditFailed):
    """A SEARCH text does not stand in x; nothing else is wrong."""


def _one_after_the_other(lines: Sequence[str], edits: Sequence[Edit]) -> str | None:
    """Return what the edits make of x when each sees the work of those before it, None if nothing.

    Indexing all lines for each edit takes time, so that only few edits of a long x are tried.
    """
    if len(edits) < 2:
        return None
    if len(lines) * len(edits) > _MAX_STEPS:
        return None
    made = "".join(lines)
    try:
        for edit in edits:
            made = _with_all(lines_of(made), [edit])
    except EditFailed:
        return None
    return made


@dataclass(frozen=True)
class _Change:
    """Lines `begin` to `end` of x give way to others."""

    begin: int
    end: int
    lines: list[str]


def _with_all(lines: Sequence[str], edits: Sequence[Edit]) -> str:
    """Return the text with all edits made. Raises EditFailed with the first few complaints."""
    text = _Lines(lines)
    changes: list[_Change] = []
    complaints: list[str] = []
    kind: type[EditFailed] = _NotFound
    for number, edit in enumerate(edits, 1):
        try:
            changes.append(
                _change(text, edit, explains=len(complaints) < _MAX_COMPLAINTS)
            )
        except EditFailed as error:
            name = "the edit"
            if len(edits) > 1:
                name = f"edit {number} of {len(edits)}"
            complaints.append(f"{name} {error}")
            if not isinstance(error, _NotFound):
                kind = EditFailed
    changes.sort(key=lambda change: (change.begin, change.end))
    for one, other in pairwise(changes):
        if other.begin < one.end:
            complaints.append(
                f"two edits change line {other.begin + 1} of x: make them one"
            )
            kind = EditFailed
    if complaints:
        message = "\n\n".join(complaints[:_MAX_COMPLAINTS])
        more = len(complaints) - _MAX_COMPLAINTS
        if more > 0:
            message += f"\n\n... and {more} more"
        raise kind(message)
    return _put_together(text, changes)


def _put_together(text: _Lines, changes: Sequence[_Change]) -> str:
    made: list[str] = []
    at = 0
    for change in changes:
        made += text.lines[at : change.begin]
        made += change.lines
        at = change.end
    made += text.lines[at:]
    for place, line in enumerate(made[:-1]):
        if not line.endswith("\n"):  # was the last line of x, and is no longer
            made[place] = line + text.line_end
    return "".join(made)


class _Lines:
    """The lines of x, and where each of them stands; built once for all edits."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = lines
        self.line_end = _line_end(lines)
        self._keyed: dict[Callable[[str], str], list[str]] = {}
        self._places: dict[Callable[[str], str], dict[str, list[int]]] = {}

    def keyed(self, key: Callable[[str], str]) -> list[str]:
        """Return the lines as a key makes them comparable."""
        if key not in self._keyed:
            self._keyed[key] = list(map(key, self.lines))
        return self._keyed[key]

    def find(self, search: Sequence[str], key: Callable[[str], str]) -> list[int]:
        """Return the lines in which the search begins.

        Only the places of its rarest line are compared as a whole, so that thousands of edits of
        a long x take no long time.
        """
        have = self.keyed(key)
        if key not in self._places:
            places: dict[str, list[int]] = {}
            for place, line in enumerate(have):
                places.setdefault(line, []).append(place)
            self._places[key] = places
        wanted = list(map(key, search))
        rarest: list[int] = []
        offset = -1
        for number, line in enumerate(wanted):
            found = self._places[key].get(line, [])
            if offset < 0 or len(found) < len(rarest):
                rarest, offset = found, number
            if not found:
                break
        begins = [place - offset for place in rarest if place >= offset]
        size = len(wanted)
        matches: list[int] = []
        for begin in begins:
            if have[begin] != wanted[0]:
                continue
            if have[begin : begin + size] == wanted:
                matches.append(begin)
            if len(matches) == _MAX_PLACES:
                break
        return matches


def _change(text: _Lines, edit: Edit, *, explains: bool) -> _Change:
    replace = lines_of(edit.replace)
    if not edit.search.strip():
        return _appended(text, replace)
    search = lines_of(edit.search)
    begin, reindent = _place(text, search, replace, explains)
    end = begin + len(search)
    had = text.lines[begin:end]
    given = list(map(_bare, search))
    wanted = list(map(_bare, replace))
    line_end = _line_end(had, text.line_end)
    made: list[str] = []
    # Lines that stand in SEARCH and in REPLACE stay as x has them, with their own white space.
    for what, i, j, k, m in SequenceMatcher(None, given, wanted).get_opcodes():
        if what == "equal":
            made += had[i:j]
        else:
            made += [reindent(line) + line_end for line in wanted[k:m]]
    if end == len(text.lines):
        made = _ended_as(text.lines, made, line_end)
    return _Change(begin, end, made)


def _appended(text: _Lines, replace: list[str]) -> _Change:
    """Return the change that a blank search asks for. Raises EditFailed when it says nothing."""
    if not replace:
        raise EditFailed("holds no text at all")
    last = len(text.lines)
    line_end = text.line_end
    if last:
        replace = [_bare(line) + line_end for line in replace]
    made = _ended_as(text.lines, replace, line_end)
    return _Change(last, last, made)


def _ended_as(lines: Sequence[str], made: list[str], line_end: str) -> list[str]:
    """Return the new last lines without the last line end, where x had none."""
    if not made or not lines or lines[-1].endswith("\n"):
        return made
    last = made[-1].removesuffix(line_end)
    return [*made[:-1], last]


def _bare(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


def _line_end(lines: Sequence[str], otherwise: str = "\n") -> str:
    """Return how lines end here: as the first does that ends at all."""
    for line in lines:
        if line.endswith("\n"):
            return line[len(_bare(line)) :]
    return otherwise


# Finding.


def _place(
    text: _Lines, search: Sequence[str], replace: Sequence[str], explains: bool
) -> tuple[int, Callable[[str], str]]:
    """Return where the search is found, and how the lines that replace it are indented."""
    for key in (str, _bare, str.rstrip):
        places = text.find(search, key)
        if places:
            return _only(places, search, explains), str
    reindents: dict[int, Callable[[str], str]] = {}
    for place in text.find(search, str.strip):
        had = text.lines[place : place + len(search)]
        reindent = _reindent(had, search, replace)
        if reindent is not None:
            reindents[place] = reindent
    if not reindents:
        raise _NotFound(_not_found(text, search) if explains else "")
    place = _only([*reindents], search, explains)
    return place, reindents[place]


def _only(places: Sequence[int], search: Sequence[str], explains: bool) -> int:
    """Return the only place. Raises EditFailed when there are several."""
    if len(places) == 1:
        return places[0]
    if not explains:
        raise EditFailed
    numbers = ", ".join(str(place + 1) for place in places[:_MAX_LINES])
    raise EditFailed(
        f"fits in {len(places)} places of x, at the lines {numbers}. "
        f"Its SEARCH text:\n{_quoted(search)}\n"
        "Add lines from before or behind it, until it fits in one place only"
    )


def _reindent(
    had: Sequence[str], search: Sequence[str], replace: Sequence[str]
) -> Callable[[str], str] | None:
    """Return how to indent the replacement as x is; None when its lines differ in other ways."""
    shifts: set[tuple[str, str] | None] = set()
    for x, given in zip(had, search, strict=True):
        if given.strip():
            shifts.add(_shift(_indent(x), _indent(given)))
    shift = shifts.pop()
    if shifts or shift is None or shift == ("", ""):
        return None
    less, more = shift
    if not all(line.startswith(less) for line in replace if line.strip()):
        return None

    def reindent(line: str) -> str:
        return more + line.removeprefix(less) if line.strip() else line

    return reindent


def _shift(have: str, given: str) -> tuple[str, str] | None:
    """Return what to take from a given indentation, and what to put before it."""
    if have.endswith(given):
        return "", have.removesuffix(given)
    if given.endswith(have):
        return given.removesuffix(have), ""
    return None


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


# Saying where it fails.


def _not_found(text: _Lines, search: Sequence[str]) -> str:
    lines = text.lines
    if not lines:
        return "has a SEARCH text, but x is empty: leave SEARCH empty"
    wanted = [line.strip() for line in search]
    begin = _nearest(text.keyed(str.strip), wanted)
    size = min(len(search) + 4, _MAX_LINES)
    end = min(len(lines), begin + size)
    near: list[str] = []
    for number in range(begin, end):
        line = _bare(lines[number])[:_MAX_LINE_CHARS]
        near.append(f"{number + 1:>5} | {line}\n")
    return (
        f"is found nowhere in x. Its SEARCH text:\n{_quoted(search)}\n"
        f"The nearest lines of x, with their numbers:\n{_quoted(near)}\n"
        "Copy whole lines of x into SEARCH, exactly and without their numbers: the lines to "
        "change and one or two around them"
    )


def _quoted(lines: Iterable[str]) -> str:
    return fence(clip("".join(lines).rstrip("\r\n"), _MAX_QUOTED_CHARS))


def _nearest(have: Sequence[str], search: Sequence[str]) -> int:
    """Return the line of x to begin a quotation with: a little before the first that differs.

    The longest run of lines that both have shows the place; without one, the line of x that is
    most like the longest of the search does. Lines that stand everywhere say nothing.
    """
    search = search[:_MAX_SEARCHED]
    often = Counter(have)

    def says_nothing(line: str) -> bool:
        return not line or often[line] > _MAX_OFTEN

    matcher = SequenceMatcher(says_nothing, have, search, autojunk=False)
    same = matcher.find_longest_match()
    if same.size:
        begin = same.a - same.b
    else:
        longest = max(search, key=len)
        alike = _most_alike(longest, have[:_MAX_COMPARED])
        begin = 0 if alike is None else alike - search.index(longest)
    begin = max(0, begin)
    differs = 0
    pairs = zip(have[begin:], search, strict=False)
    for number, (x, given) in enumerate(pairs):
        if x != given:
            differs = number
            break
    return max(0, begin + differs - 2)


def _most_alike(line: str, others: Sequence[str]) -> int | None:
    """Return which line shares most pairs of letters (Sørensen's coefficient), None if too few."""
    pairs = _pairs(line)
    best: int | None = None
    most = _LEAST_ALIKE
    for number, other in enumerate(others):
        theirs = _pairs(other)
        alike = 2 * len(pairs & theirs) / max(1, len(pairs) + len(theirs))
        if alike > most:
            best, most = number, alike
    return best


def _pairs(line: str) -> set[str]:
    line = line[:_MAX_LINE_CHARS]
    return {one + other for one, other in pairwise(line)}
