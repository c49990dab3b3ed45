"""Blocks of a reply: its fenced texts and its SEARCH/REPLACE edits, in order.

Pure functions. `find_blocks` reads a reply line by line, as CommonMark and the form of our edits
define it. It mends what real models get wrong where only one reading makes sense:

- a fence that is opened twice, with a path in between, begins at the second bar;
- a bar with a language inside a block without one begins the block anew: the first was a stray;
- Markdown within an equally long fence ends where its own fences come out even;
- the indentation of a fence within a list is not part of the text;
- a bar too many at the very end, and an unclosed fence around whole edits, are passed over.

Only where that finds nothing, the reply is read once more with the marks of other formats removed:
quotations, deep indentation, bars in comments, zero-width spaces, HTML.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...errors import EditFailed
from ...text import clip
from .fences import Fence, closes_fence, opening_fence

NOT_CLOSED = (
    "the last fenced block of the reply is not closed "
    "(around a text that holds fences, write longer ones)"
)
NO_BLOCK = "the reply holds no fenced block"
_LONGER = (
    "around lines that hold such markers themselves, write longer ones: <<<<<<<<< SEARCH, "
    "========= and >>>>>>>>> REPLACE"
)
_BOM = "\ufeff"

_SEARCH = re.compile(r" {0,3}(<{5,}|-{5,}) ?(?:SEARCH|ORIGINAL)[>:]?\s*", re.I)
_DIVIDER = re.compile(r" {0,3}(={5,})\s*")
_REPLACE = re.compile(r" {0,3}(>{5,}|\+{5,}) ?(?:REPLACE|UPDATED)[>:]?\s*", re.I)
_BARE_END = re.compile(r" {0,3}(>{5,})\s*")
_COMMENT_SIGN = r"(?:#|//|--|;|%|/\*|<!--)"
_PATH_ALONE = re.compile(
    rf"{_COMMENT_SIGN}?\s*(?:file:|path:)?\s*[`*]*[\w/-]*[./][\w./-]+[`*]*:?\s*(?:\*/|-->)?",
    re.I,
)

_MARKDOWN = ("markdown", "md")  # an inner bar may lack a language
PROSE = (*_MARKDOWN, "text", "txt")  # may hold fences
_MAX_BARS = 20_000  # of one reply; more are hostile
_MAX_PATH_CHARS = 500  # of a line that may be a path
_MAX_QUOTED_CHARS = 200  # of a line that is quoted
_MAX_TITLE_LINES = 2  # between the two bars of a fence that is opened twice


@dataclass(frozen=True)
class Edit:
    """Whole lines of a text, and what stands there afterwards. A blank `search` appends."""

    search: str
    replace: str


@dataclass(frozen=True)
class Block:
    """A fenced text, or the edits of one fence, or one edit without a fence."""

    text: str  # between the bars; empty for an edit without a fence
    edits: tuple[Edit, ...] = ()
    above: tuple[
        str, ...
    ] = ()  # lines of prose since the block before, without blank ones
    fence: Fence | None = None
    # The line that stands before the edits, or before the second opening bar.
    path: str = ""


def find_blocks(reply: str, *, nested: bool = False) -> list[Block]:
    """Return the fenced texts and the edits of a reply, without the thinking before it.

    A fenced text that does not begin with an edit, or with a path and an edit, is taken for text,
    whatever it holds.

    Args:
        reply: what the model wrote.
        nested: whether x holds fences itself, so that those inside a block are expected.

    Raises:
        EditFailed: an edit or a fence is not closed, or it is not clear where an edit ends. The
            message is for the model.
    """
    try:
        blocks = _Scanner(reply, nested).blocks()
    except EditFailed as failed:
        if str(failed) != NOT_CLOSED:
            raise
        try:
            return _Scanner(_with_plain_bars(reply), nested).blocks()
        except EditFailed:
            raise failed from None
    if blocks:
        return blocks
    try:
        return _Scanner(_without_foreign_marks(reply), nested).blocks()
    except EditFailed:
        return []


def find_edits(reply: str) -> tuple[Edit, ...]:
    r"""Return the edits of a reply in order, fenced or not; none when it holds none.

    Raises EditFailed as `find_blocks` does.

    >>> find_edits("<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE")
    (Edit(search='a\n', replace='b\n'),)
    """
    found: list[Edit] = []
    for block in find_blocks(reply):
        found += block.edits
    return tuple(found)


class _Scanner:
    """One pass over the lines of a reply; `_at` is the line to be read next."""

    def __init__(self, reply: str, nested: bool) -> None:
        if reply.count("```") + reply.count("~~~") > _MAX_BARS:
            raise EditFailed("the reply holds thousands of fences: write one block")
        self._lines = reply.removeprefix(_BOM).split("\n")
        self._nested = nested
        self._counts_depth = True
        self._at = 0
        self._last_filled = -1
        for place, line in enumerate(self._lines):
            if line.strip():
                self._last_filled = place
        self._path = ""

    def blocks(self) -> list[Block]:
        found: list[Block] = []
        above: list[str] = []
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if _signs(_SEARCH, line):
                found.append(Block("", (self._edit(),), tuple(above)))
                above = []
                continue
            _refuse_stray(line)
            fence = opening_fence(line)
            is_one_bar_too_many = False
            if found and fence is not None and not fence.info:
                is_one_bar_too_many = self._at == self._last_filled
            if fence is not None and not is_one_bar_too_many:
                block = self._fenced(fence, tuple(above))
                if block is not None:
                    found.append(block)
                    above = []
                continue
            if line.strip():
                above.append(line.strip())
            self._at += 1
        return found

    def _fenced(self, fence: Fence, above: tuple[str, ...]) -> Block | None:
        """Return the block that the current line opens; None when it begins anew further down."""
        if self._begins_with_an_edit(fence.bar):
            return self._edits_in_fence(fence, above)
        anew = self._opened_again(fence)
        if anew is not None:
            self._at = anew
            return None
        begin = self._at + 1
        end = self._end(fence)
        if end is None:
            raise EditFailed(NOT_CLOSED)
        self._at = end + 1
        lines = self._lines[begin:end]
        if fence.indent:
            filled = [line for line in lines if line.strip()]
            if all(line.startswith(fence.indent) for line in filled):
                lines = [line.removeprefix(fence.indent) for line in lines]
        text = "\n".join(lines)
        if self._lines[begin - 1].endswith("\r"):
            text = text.removesuffix("\r")  # of the line end before the closing bar
        path, self._path = self._path, ""
        return Block(text, (), above, fence, path)

    def _opened_again(self, fence: Fence) -> int | None:
        """Return the later line in which this block really begins, None where it begins here."""
        if fence.language in PROSE or self._nested:
            return None
        between: list[str] = []
        for place in range(self._at + 1, len(self._lines)):
            line = self._lines[place]
            if closes_fence(line, fence.bar):
                return None
            inner = opening_fence(line)
            if inner is not None and inner.info and inner.bar.startswith(fence.bar):
                # A path or a comment may stand between the two bars of a fence opened twice.
                title = 0 < len(between) <= _MAX_TITLE_LINES
                for above in between:
                    if not above.lstrip().startswith(("#", "//")) and not _is_path(
                        above
                    ):
                        title = False
                if title:
                    self._path = between[0].strip()
                return place if title or not fence.info else None
            if line.strip():
                between.append(line)
            if fence.info and len(between) > _MAX_TITLE_LINES:
                return None
        return None

    def _end(self, fence: Fence) -> int | None:
        """Return the line that closes a block, None when there is none."""
        if self._counts_depth and (self._nested or fence.language in PROSE):
            end = self._end_by_depth(fence)
            if end is not None or fence.language in _MARKDOWN:
                return end
            self._counts_depth = False  # a hostile reply may hold thousands
        for place in range(self._at + 1, len(self._lines)):
            if closes_fence(self._lines[place], fence.bar):
                return place
        return None

    def _end_by_depth(self, fence: Fence) -> int | None:
        """Return where a block ends that holds fences as long as its own.

        A bar with a language opens one more, a bare one closes one. In Markdown a bare bar behind
        a complete block may go on with it, so that the last place counts at which all are closed;
        a bar with a language there begins another block.
        """
        depth = 1
        end: int | None = None
        for place in range(self._at + 1, len(self._lines)):
            inner = opening_fence(self._lines[place])
            if inner is None or not inner.bar.startswith(fence.bar):
                continue
            if inner.info:
                if not depth:
                    return end
                depth += 1
            elif depth:
                depth -= 1
            else:
                depth = 1
            if not depth:
                end = place
                if fence.language not in _MARKDOWN:
                    return end
        return end

    # Edits.

    def _begins_with_an_edit(self, bar: str) -> bool:
        """Return whether the first line in a fence is a marker, or the second below a path."""
        first: list[str] = []
        for place in range(self._at + 1, len(self._lines)):
            line = self._lines[place]
            if closes_fence(line, bar) or len(first) == 2:
                break
            if line.strip():
                first.append(line)
        if first and _signs(_SEARCH, first[0]):
            return True
        return len(first) == 2 and _is_path(first[0]) and _signs(_SEARCH, first[1]) > 0

    def _edits_in_fence(self, fence: Fence, above: tuple[str, ...]) -> Block:
        path, self._path = self._path, ""
        edits: list[Edit] = []
        begin = self._at = self._at + 1
        whole = True  # nothing but blank lines follows the last edit
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if closes_fence(line, fence.bar):
                whole = True
                break
            if _signs(_SEARCH, line):
                edits.append(self._edit())
                whole = True
                continue
            _refuse_stray(line)
            if line.strip():
                path = path if path or edits else line.strip()
                whole = False
            self._at += 1
        if not whole:
            raise EditFailed(NOT_CLOSED)
        text = "\n".join(self._lines[begin : self._at])
        self._at += 1
        return Block(text, tuple(edits), above, fence, path)

    def _edit(self) -> Edit:
        """Return the edit that the current line opens, and go behind it."""
        begin = self._at
        signs = _signs(_SEARCH, self._lines[begin])
        end = self._end_of_edit(begin, signs)
        divider = self._divider(begin, end, signs)
        search = self._lines[begin + 1 : divider]
        replace = self._lines[divider + 1 : end]
        if replace and divider + 1 < end and _signs(_DIVIDER, replace[-1]) == signs:
            replace = replace[:-1]
        self._at = end + 1
        return Edit(_with_line_ends(search), _with_line_ends(replace))

    def _divider(self, begin: int, end: int, signs: int) -> int:
        """Return the line between what is and what shall be.

        It is the only divider as long as the other markers, else the only one of any length. A
        second one right before the end marker is a slip of some models, and taken for none.
        """
        alike: list[int] = []
        others: list[int] = []
        for place in range(begin + 1, end):
            found = _signs(_DIVIDER, self._lines[place])
            if found == signs:
                alike.append(place)
            elif found:
                others.append(place)
        if len(alike) == 2 and alike[1] == end - 1 and alike[0] < end - 2:
            return alike[0]
        places = alike or others
        if len(places) == 1:
            return places[0]
        first = self._first_line_of_edit(begin)
        if places:
            problem = f"{first} holds several lines {'=' * signs}; {_LONGER}"
        else:
            problem = (
                f"{first} has no line {'=' * signs} between what is and what shall be"
            )
        raise EditFailed(problem)

    def _end_of_edit(self, begin: int, signs: int) -> int:
        """Return the line that ends the edit.

        It is the next end marker with as many signs, else the next of any length before another
        edit begins, else the next without a word.
        """
        for marker, alike in ((_REPLACE, True), (_REPLACE, False), (_BARE_END, True)):
            for place in range(begin + 1, len(self._lines)):
                line = self._lines[place]
                ends = _signs(marker, line)
                if ends == signs or (ends and not alike):
                    return place
                begins = _signs(_SEARCH, line)
                if begins == signs or (begins and not alike):
                    break
        first = self._first_line_of_edit(begin)
        raise EditFailed(
            f"{first} has no line {'>' * signs} REPLACE at its end; {_LONGER}"
        )

    def _first_line_of_edit(self, begin: int) -> str:
        first = ""
        for place in range(begin + 1, len(self._lines)):
            first = self._lines[place]
            if first.strip():
                break
        return f"the edit that begins with {clip(first, _MAX_QUOTED_CHARS).strip()!r}"


def _signs(marker: re.Pattern[str], line: str) -> int:
    """Return of how many signs this marker in the line is made, 0 when it is none."""
    match = marker.fullmatch(line)
    return len(match[1]) if match else 0


def _refuse_stray(line: str) -> None:
    if _signs(_REPLACE, line):
        raise EditFailed(
            f"the reply holds a line {line.strip()} that ends no edit; {_LONGER}"
        )


def _is_path(line: str) -> bool:
    return _PATH_ALONE.fullmatch(line.strip()[: _MAX_PATH_CHARS + 1]) is not None


def _with_line_ends(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


# Other formats.

_ZERO_WIDTH = re.compile(r"^[\u200b\ufeff]+|[\u200b\ufeff]+$", re.M)
_QUOTED = re.compile(r"^ {0,3}> ?(?=```|~~~|<<<<<)", re.M)
_QUOTE_SIGN = re.compile(r"^ {0,3}> ?", re.M)
_BAR_IN_COMMENT = re.compile(r"^(?:#|//) ?(?=```|~~~)", re.M)
_BAR_BEHIND_TEXT = re.compile(r"(?<=[^\s`])```[ \t]*$(?=\s*\Z)", re.M)
_BAR_AND_STOP = re.compile(r"^(```|~~~)[.,:;!]\s*$", re.M)
_TAGS = (
    ("<answer>", "</answer>"),
    ("<pre><code", "</code></pre>"),
    ("<code>", "</code>"),
)
_INDENTED_OPENING = re.compile(r"([ \t]+)(```|~~~|<{5,} ?SEARCH)")


def _without_foreign_marks(reply: str) -> str:
    """Return the reply as it would be without the marks of another format around its blocks."""
    reply = _ZERO_WIDTH.sub("", reply.replace("\r\n", "\n"))
    if _QUOTED.search(reply):
        reply = _QUOTE_SIGN.sub("", reply)
    if "&lt;&lt;&lt;&lt;&lt; " in reply and "&gt;&gt;&gt;&gt;&gt; " in reply:
        reply = html.unescape(reply)
    if "```" not in reply:
        reply = _fenced_instead_of_tagged(reply)
    reply = _with_plain_bars(reply)
    return "\n".join(_without_indented_fences(reply.split("\n")))


def _with_plain_bars(reply: str) -> str:
    """Return the reply with nothing beside its bars: no comment sign, stop or end of a line."""
    reply = _BAR_IN_COMMENT.sub("", reply.replace("\r\n", "\n"))
    reply = _BAR_AND_STOP.sub(r"\1", reply)
    return _BAR_BEHIND_TEXT.sub("\n```", reply)


def _fenced_instead_of_tagged(reply: str) -> str:
    """Return what stands in the tags of a reply as a fenced block; the reply where none are."""
    for opening, closing in _TAGS:
        begin, end = reply.find(opening), reply.rfind(closing)
        inside = reply.find(">", begin + len(opening) - 1) + 1
        if begin < 0 or not 0 < inside <= end:
            continue
        text = reply[inside:end]
        if opening == "<pre><code":
            text = html.unescape(text)
        return f"```\n{text.removeprefix(chr(10)).removesuffix(chr(10))}\n```"
    return reply


def _without_indented_fences(lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines, those of an indented fence or edit without its indentation."""
    indent = mark = ""
    for line in lines:
        opening = None if indent else _INDENTED_OPENING.match(line)
        if opening is not None:
            indent, mark = opening.groups()
            yield line.removeprefix(indent)
            continue
        line = line.removeprefix(indent)
        ends = (
            line.rstrip() == mark
            if mark in ("```", "~~~")
            else _signs(_REPLACE, line) > 0
        )
        if indent and ends:
            indent = mark = ""
        yield line
