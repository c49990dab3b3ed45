"""Search/replace edits: read from a model's reply, and made to a text, which stays as it is elsewhere: pure functions.

An edit is a line `<<<<<<< SEARCH`, lines as they are, a line `=======`, lines as they shall be, and a line
`>>>>>>> REPLACE`. The markers are five signs or more. Where the lines themselves hold markers, the edit's own have
another length, the same for all three. A SEARCH that is empty, or blank lines alone, appends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from itertools import pairwise

from ...errors import EditFailed
from ...text import clip, lines_of
from .fences import (
    NOT_CLOSED,
    after_thinking,
    closes_fence,
    fence,
    fenced_at,
    opens_fence,
)

_SEARCH = re.compile(r" {0,3}(<{5,}) ?SEARCH[>:]?\s*", re.I)
_DIVIDER = re.compile(r" {0,3}(={5,})\s*")
_REPLACE = re.compile(r" {0,3}(>{5,}) ?REPLACE[>:]?\s*", re.I)
_PATH_ALONE = re.compile(
    r"(?:#|//|--|;|%|/\*|<!--)?\s*(?:file:|path:)?\s*[`*]*[\w/-]*[./][\w./-]+[`*]*:?\s*(?:\*/|-->)?",
    re.I,
)
_LONGER = (
    "around lines that hold such markers themselves, write longer ones: <<<<<<<<< SEARCH, ========= and "
    ">>>>>>>>> REPLACE"
)
_BOM = "\ufeff"

_MAX_PATH_CHARS = 500  # of a line that may be a path
_MAX_QUOTED_CHARS = 2_000  # of a SEARCH text, or of lines of x
_MAX_LINE_CHARS = 200  # of a line of x that is quoted, or compared
_MAX_LINES = 20  # of x that are quoted
_MAX_COMPARED = 5_000  # lines of x that are compared letter by letter
_MAX_COMPLAINTS = 3  # in one message


@dataclass(frozen=True)
class Edit:
    """Whole lines of a text, and what stands there afterwards. A blank `search` appends."""

    search: str
    replace: str


@dataclass(frozen=True)
class Piece:
    """One answer within a reply: a fenced text, or the edits of one fence, or one edit without a fence."""

    text: str  # what stands in the fence; empty where there are edits
    edits: tuple[Edit, ...] = ()
    above: tuple[
        str, ...
    ] = ()  # the lines of prose since the piece before, without blank ones
    info: str = ""  # what stands behind the bar of the fence
    inside: str = ""  # the line before the edits, in their fence


# Reading.


def find_edits(reply: str) -> tuple[Edit, ...]:
    r"""Return the edits of a reply in order, fenced or not; none when it holds none.

    A fenced text that does not begin with an edit, or with a path and an edit, is taken for text, whatever it holds.
    Raises EditFailed when an edit or a fence is not closed, or when it is not clear where an edit ends.

    >>> find_edits("<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE")
    (Edit(search='a\n', replace='b\n'),)
    """
    return tuple(edit for piece in find_pieces(reply) for edit in piece.edits)


def find_pieces(reply: str) -> Iterator[Piece]:
    """Yield the fenced texts and the edits of a reply, after the thinking that it may begin with.

    Raises EditFailed as `find_edits` does.
    """
    lines, at, above = (
        after_thinking(reply).removeprefix(_BOM).split("\n"),
        0,
        list[str](),
    )
    while at < len(lines):
        piece, end = _piece_at(lines, at, tuple(above))
        if piece:
            yield piece
            above = []
        elif lines[at].strip():
            above.append(lines[at].strip())
        at = end


def _piece_at(
    lines: Sequence[str], at: int, above: tuple[str, ...]
) -> tuple[Piece | None, int]:
    """Return the piece that begins in line `at`, None when none does, and the place behind it."""
    if _signs(_SEARCH, lines[at]):
        edit, end = _edit_at(lines, at)
        return Piece("", (edit,), above), end
    _refuse_stray(lines[at])
    bar = opens_fence(lines[at])
    if not bar:
        return None, at + 1
    info = lines[at].strip()[len(bar) :].strip()
    if _begins_with_an_edit(lines, at, bar):
        edits, inside, end = _edits_in_fence(lines, at, bar)
        return Piece("", edits, above, info, inside), end
    text, end = fenced_at(lines, at)
    if text is None:
        raise EditFailed(NOT_CLOSED)
    return Piece(text, (), above, info), end


def _begins_with_an_edit(lines: Sequence[str], at: int, bar: str) -> bool:
    """Return whether a fence holds edits: its first line is a marker, or the second below what looks like a path."""
    first: list[str] = []
    for place in range(at + 1, len(lines)):
        if closes_fence(lines[place], bar) or len(first) == 2:
            break
        if lines[place].strip():
            first.append(lines[place])
    below_path = len(first) == 2 and _PATH_ALONE.fullmatch(
        first[0].strip()[: _MAX_PATH_CHARS + 1]
    )
    return any(_signs(_SEARCH, line) for line in (first if below_path else first[:1]))


def _edits_in_fence(
    lines: Sequence[str], at: int, bar: str
) -> tuple[tuple[Edit, ...], str, int]:
    edits, inside, at = list[Edit](), "", at + 1
    while at < len(lines):
        if closes_fence(lines[at], bar):
            return tuple(edits), inside, at + 1
        if _signs(_SEARCH, lines[at]):
            edit, at = _edit_at(lines, at)
            edits.append(edit)
            continue
        _refuse_stray(lines[at])
        inside = inside or ("" if edits else lines[at].strip())
        at += 1
    raise EditFailed(NOT_CLOSED)


def _edit_at(lines: Sequence[str], at: int) -> tuple[Edit, int]:
    """Return the edit that line `at` opens, and the place behind it."""
    signs = _signs(_SEARCH, lines[at])
    end = _end_of_edit(lines, at, signs)
    dividers = {place: _signs(_DIVIDER, lines[place]) for place in range(at + 1, end)}
    for places in (
        [p for p, s in dividers.items() if s == signs],
        [p for p, s in dividers.items() if s],
    ):
        if len(places) == 1:
            search, replace = lines[at + 1 : places[0]], lines[places[0] + 1 : end]
            return Edit(
                *("".join(f"{line}\n" for line in part) for part in (search, replace))
            ), end + 1
        if places:
            raise EditFailed(
                f"the edit {_begun(lines, at)} holds several lines {'=' * signs}; {_LONGER}"
            )
    raise EditFailed(
        f"the edit {_begun(lines, at)} has no line {'=' * signs} between what is and what shall be"
    )


def _end_of_edit(lines: Sequence[str], at: int, signs: int) -> int:
    """Return the line that ends the edit: the next with as many signs, else the next before another edit begins."""
    for alike in (True, False):
        for place in range(at + 1, len(lines)):
            ends, begins = _signs(_REPLACE, lines[place]), _signs(_SEARCH, lines[place])
            if ends == signs or (ends and not alike):
                return place
            if begins == signs or (begins and not alike):
                break
    raise EditFailed(
        f"the edit {_begun(lines, at)} has no line {'>' * signs} REPLACE at its end; {_LONGER}"
    )


def _signs(marker: re.Pattern[str], line: str) -> int:
    """Return of how many signs this marker in the line is made, 0 when it is none."""
    match = marker.fullmatch(line)
    return len(match[1]) if match else 0


def _refuse_stray(line: str) -> None:
    if _signs(_REPLACE, line):
        raise EditFailed(
            f"the reply holds a line {line.strip()} that ends no edit; {_LONGER}"
        )


def _begun(lines: Sequence[str], at: int) -> str:
    return f"that begins with {clip(next(filter(str.strip, lines[at + 1 :]), ''), _MAX_LINE_CHARS).strip()!r}"


# Making.


@dataclass(frozen=True)
class _Change:
    """Lines `begin` to `end` of x give way to others."""

    begin: int
    end: int
    lines: list[str]


def apply_edits(x: str, edits: Sequence[Edit]) -> str:
    r"""Return x with all edits made; every line that they leave alone stays as it is, to the byte.

    Each SEARCH is looked for in the x that was given, not in what other edits made of it, as it is; then without
    regard to white space at the ends of lines; then without regard to an indentation that all its lines have or lack,
    which the replacement then gets or loses. The first of these ways that finds it must find it in one place.

    Raises EditFailed, with a message for the model, when a SEARCH is found nowhere or in several places, or when two
    edits change the same line.

    >>> apply_edits("def f():\r\n    return 1\r\n", [Edit("return 1\n", "return 2\n")])
    'def f():\r\n    return 2\r\n'
    """
    bom = _BOM if x.startswith(_BOM) else ""
    lines = lines_of(x.removeprefix(bom))
    changes, complaints = list[_Change](), list[str]()
    for number, edit in enumerate(edits, 1):
        try:
            changes.append(_change(lines, _without(bom, edit)))
        except EditFailed as failed:
            complaints.append(
                f"{f'edit {number} of {len(edits)}' if len(edits) > 1 else 'the edit'} {failed}"
            )
    changes.sort(key=lambda change: (change.begin, change.end))
    for one, other in pairwise(changes):
        if other.begin < one.end:
            complaints.append(
                f"two edits change line {other.begin + 1} of x: make them one"
            )
    if complaints:
        more = len(complaints) - _MAX_COMPLAINTS
        raise EditFailed(
            "\n\n".join(complaints[:_MAX_COMPLAINTS])
            + (f"\n\n... and {more} more" if more > 0 else "")
        )
    return bom + _made(lines, changes)


def _without(bom: str, edit: Edit) -> Edit:
    """Return the edit without the BOM that its search begins with, as x does."""
    if not bom or not edit.search.startswith(bom):
        return edit
    return Edit(edit.search.removeprefix(bom), edit.replace.removeprefix(bom))


def _change(lines: Sequence[str], edit: Edit) -> _Change:
    if not edit.search.strip():
        if not edit.replace:
            raise EditFailed("holds no text at all")
        line_end, replace = _line_end(lines), lines_of(edit.replace)
        appended = [_bare(line) + line_end for line in replace] if lines else replace
        return _Change(len(lines), len(lines), _ended_as(lines, appended, line_end))
    search = lines_of(edit.search)
    begin, reindent = _place(lines, search, lines_of(edit.replace))
    end = begin + len(search)
    had, given, wanted = (
        lines[begin:end],
        [*map(_bare, search)],
        [*map(_bare, lines_of(edit.replace))],
    )
    line_end, made = _line_end([*had, *lines]), list[str]()
    for what, i, j, k, m in SequenceMatcher(None, given, wanted).get_opcodes():
        made += (
            had[i:j]
            if what == "equal"
            else [reindent(line) + line_end for line in wanted[k:m]]
        )
    return _Change(
        begin, end, _ended_as(lines, made, line_end) if end == len(lines) else made
    )


def _ended_as(lines: Sequence[str], made: list[str], line_end: str) -> list[str]:
    """Return the new last lines without the last line end, where x had none."""
    if not made or not lines or lines[-1].endswith("\n"):
        return made
    return [*made[:-1], made[-1].removesuffix(line_end)]


def _made(lines: Sequence[str], changes: Sequence[_Change]) -> str:
    made, at = list[str](), 0
    for change in changes:
        made += [*lines[at : change.begin], *change.lines]
        at = change.end
    made += lines[at:]
    whole = [
        line if line.endswith("\n") else line + _line_end(lines) for line in made[:-1]
    ]
    return "".join([*whole, *made[-1:]])


def _bare(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


def _line_end(lines: Sequence[str]) -> str:
    """Return how lines end here: as the first does that ends at all."""
    return next(
        (line[len(_bare(line)) :] for line in lines if line.endswith("\n")), "\n"
    )


# Finding.


def _place(
    lines: Sequence[str], search: Sequence[str], replace: Sequence[str]
) -> tuple[int, Callable[[str], str]]:
    """Return where the search is found, and how the lines that replace it are indented."""
    for key in (str, _bare, str.rstrip):
        places = _places(lines, search, key)
        if places:
            return _only(places, search), str
    reindents = {
        place: reindent
        for place in _places(lines, search, str.strip)
        if (reindent := _reindent(lines[place : place + len(search)], search, replace))
    }
    if not reindents:
        raise EditFailed(_not_found(lines, search))
    place = _only([*reindents], search)
    return place, reindents[place]


def _places(
    lines: Sequence[str], search: Sequence[str], key: Callable[[str], str]
) -> list[int]:
    have, wanted = [*map(key, lines)], [*map(key, search)]
    last = len(have) - len(wanted)
    return [
        place
        for place in range(last + 1)
        if have[place] == wanted[0] and have[place : place + len(wanted)] == wanted
    ]


def _only(places: Sequence[int], search: Sequence[str]) -> int:
    if len(places) == 1:
        return places[0]
    numbers = ", ".join(str(place + 1) for place in places[:_MAX_LINES])
    raise EditFailed(
        f"fits in {len(places)} places of x, at the lines {numbers}. Its SEARCH text:\n{_quoted(search)}\n"
        "Add lines from before or behind it, until it fits in one place only"
    )


def _reindent(
    had: Sequence[str], search: Sequence[str], replace: Sequence[str]
) -> Callable[[str], str] | None:
    """Return how to indent the replacement as x is, None when the lines do not all differ by the same."""
    shifts = {
        _shift(_indent(x), _indent(given))
        for x, given in zip(had, search, strict=True)
        if given.strip()
    }
    less, more = shifts.pop() or ("", "")
    if (
        shifts
        or not (less or more)
        or not all(line.startswith(less) for line in replace if line.strip())
    ):
        return None
    return lambda line: more + line.removeprefix(less) if line.strip() else line


def _shift(have: str, given: str) -> tuple[str, str] | None:
    """Return what to take from a given indentation, and what to put before it."""
    if have.endswith(given):
        return "", have.removesuffix(given)
    return (given.removesuffix(have), "") if given.endswith(have) else None


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


# Saying where it fails.


def _not_found(lines: Sequence[str], search: Sequence[str]) -> str:
    if not lines:
        return "has a SEARCH text, but x is empty: leave SEARCH empty"
    begin = _nearest(
        [line.strip() for line in lines], [line.strip() for line in search]
    )
    end = min(len(lines), begin + min(len(search) + 4, _MAX_LINES))
    near = [
        f"{number + 1:>5} | {_bare(lines[number])[:_MAX_LINE_CHARS]}\n"
        for number in range(begin, end)
    ]
    return (
        f"is found nowhere in x. Its SEARCH text:\n{_quoted(search)}\nThe nearest lines of x, with their numbers:\n"
        f"{_quoted(near)}\nCopy whole lines of x into SEARCH, to the letter and without numbers: those that shall "
        "change and one or two around them"
    )


def _quoted(lines: Iterable[str]) -> str:
    return fence(clip("".join(lines).rstrip("\r\n"), _MAX_QUOTED_CHARS))


def _nearest(have: Sequence[str], search: Sequence[str]) -> int:
    """Return the line of x to begin a quotation with: a little before the first that is not as searched."""
    search = search[:_MAX_LINE_CHARS]
    same = SequenceMatcher(
        lambda line: not line, have, search, autojunk=False
    ).find_longest_match()
    begin = same.a - same.b
    if not same.size:
        longest = max(search, key=len)[:_MAX_LINE_CHARS]
        compared = [line[:_MAX_LINE_CHARS] for line in have[:_MAX_COMPARED]]
        alike = get_close_matches(longest, compared, n=1, cutoff=0.4)
        begin = (
            compared.index(alike[0]) - search.index(max(search, key=len))
            if alike
            else 0
        )
    begin = max(0, begin)
    differs = next(
        (
            n
            for n, (x, given) in enumerate(zip(have[begin:], search, strict=False))
            if x != given
        ),
        0,
    )
    return max(0, begin + differs - 2)
