"""The next x, read from a reply that carries a whole text, edits of one, or some of several named texts.

Pure functions. What cannot be read is a sentence for the model. Named texts stand under a line with their name:

    ### path/name.py
    ```
    the whole text, or edits
    ```
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from ...errors import EditFailed, UsageError, suggestion
from ...text import one_line
from .edits import Piece, apply_edits, find_edits, find_pieces
from .fences import Reading, fence, read_x, why_no_answer
from .protected import check_protected

_BOM = "\ufeff"
_HEADING = "### "

_MAX_NAME_CHARS = 500  # a longer line is prose
_SAYS_FILE = r"(?:file ?name|file ?path|file|path|part|name)\s*:"
_TITLE = re.compile(  # what makes a line the name of a part
    rf"""\#{{1,6}}\s+(?P<heading>.+)
    | \*\*(?P<bold>[^*]+)\*\*:?
    | `(?P<code>[^`]+)`:?
    | ===+\s+(?P<bar>[^=].*)
    | (?:\*\*)?{_SAYS_FILE}(?:\*\*)?\s*(?P<file>.+)""",
    re.I | re.X,
)
_BULLET = re.compile(r"(?:[-*+]|\d+[.)])\s+(?P<rest>.+)")
_PATH = re.compile(r"[^\s`*\"']*[\w)-](?:/[^\s`*\"']+|\.[A-Za-z]\w{0,7})")
_COMMENT = re.compile(r"^(?://|--|%|;|/\*|<!--)\s*|\s*(?:\*/|-->)$")
_ATTRIBUTE = re.compile(r"^\{?(?:title|file|filename|path|name)=", re.I)


def read_change(reply: str, parent: str, finish_reason: str = "stop") -> Reading:
    r"""Read the next x from a reply that either edits the parent or writes the whole x anew.

    What the parent protects must come back byte for byte. A whole x takes over from the parent what a model does not
    see: see `as_written`. Raises UsageError when the markers of the parent are wrong, as `check_markers` does.

    >>> read_change("<<<<<<< SEARCH\nb\n=======\nc\n>>>>>>> REPLACE", "a\r\nb\r\n").x
    'a\r\nc\r\n'
    >>> read_change("```\na\nd\n```", "a\r\nb\r\n").x
    'a\r\nd\r\n'
    """
    problem = why_no_answer(reply, finish_reason)
    if problem:
        return Reading(None, problem)
    try:
        edits = find_edits(reply)
        x = apply_edits(parent, edits) if edits else None
    except EditFailed as failed:
        return Reading(None, str(failed))
    if x is None:
        whole = read_x(reply, finish_reason)
        if whole.x is None:
            return whole
        x = as_written(whole.x, parent)
    problem = check_protected(parent, x) or ""
    return Reading(None, problem) if problem else Reading(x)


def as_written(x: str, parent: str) -> str:
    r"""Return x with what the parent has and a model neither sees nor writes: a BOM, CRLF, and line ends at the end.

    >>> as_written("a\nb", "\ufeffa\r\n")
    '\ufeffa\r\nb\r\n'
    """
    if "\n" in parent and "\r" not in x and parent.count("\n") == parent.count("\r\n"):
        x = x.replace("\n", "\r\n")
    body, tail = x.rstrip("\r\n"), parent[len(parent.rstrip("\r\n")) :]
    if body and tail.count("\n") > x[len(body) :].count("\n"):
        x = body + tail
    return x if x.startswith(_BOM) or not parent.startswith(_BOM) else _BOM + x


# Named texts.


@dataclass(frozen=True)
class Parts:
    """What was read from a reply: all named texts, the changed and the others, or a sentence that says why not."""

    x: dict[str, str] | None
    problem: str = ""


def show_parts(parts: Mapping[str, str]) -> str:
    """Return each part under its name, in a fence longer than any in it; `read_parts` reads them back to the letter.

    Raises UsageError when a name cannot stand on a line: it is empty, holds a line end, or white space at an end.

    >>> print(show_parts({"a.py": "x = 1"}))
    ### a.py
    ```
    x = 1
    ```
    """
    for name in parts:
        if not name or name != name.strip() or "\n" in name:
            raise UsageError(
                f"the name {name!r} of a part of x cannot stand on a line: give it a name without line ends"
            )
    return "\n\n".join(
        f"{_HEADING}{name}\n{fence(text)}" for name, text in parts.items()
    )


def read_parts(
    reply: str, parent: Mapping[str, str], finish_reason: str = "stop"
) -> Parts:
    r"""Read the parts that a reply changes, each whole or as edits under its name; the others are the parent's.

    The name stands in the line before the fence (as a heading, bold, in backticks, after "File:", or alone), or behind
    the language of the fence. Edits may have further prose above them. Fenced blocks without a name are taken for
    explanations as long as no part was named. What a part protects must come back byte for byte.
    Raises UsageError when the markers of a part of the parent are wrong, as `check_markers` does.

    >>> read_parts("### a.py\n```\nx = 2\n```", {"a.py": "x = 1\n", "b.py": "y = 1\n"}).x
    {'a.py': 'x = 2\n', 'b.py': 'y = 1\n'}
    >>> read_parts("**c.py**\n```\nx = 2\n```", {"a.py": "x = 1\n", "b.py": "y = 1\n"}).problem
    "the reply names a part that x does not have, 'c.py': did you mean 'b.py' or 'a.py'?"
    """
    problem = why_no_answer(reply, finish_reason)
    if problem:
        return Parts(None, problem)
    try:
        pieces = _pieces_by_name(reply, parent)
        return Parts(
            {
                **parent,
                **{name: _changed(name, pieces[name], parent[name]) for name in pieces},
            }
        )
    except EditFailed as failed:
        return Parts(None, str(failed))


def _changed(name: str, pieces: Sequence[Piece], part: str) -> str:
    """Return a part as it is written anew or edited."""
    texts = {piece.text for piece in pieces if not piece.edits}
    edits = [edit for piece in pieces for edit in piece.edits]
    if len(texts) + bool(edits) > 1:
        raise EditFailed(
            f"the reply gives the part {name!r} more than once: give it once, whole or as edits"
        )
    try:
        text = apply_edits(part, edits) if edits else as_written(texts.pop(), part)
    except EditFailed as failed:
        raise EditFailed(f"in the part {name!r}, {failed}") from None
    problem = check_protected(part, text)
    if problem:
        raise EditFailed(f"in the part {name!r}, {problem}")
    return text


def _pieces_by_name(reply: str, parent: Mapping[str, str]) -> dict[str, list[Piece]]:
    found: dict[str, list[Piece]] = {}
    name = ""
    for piece in find_pieces(reply):
        own = _name_of(piece, parent)
        name = own or (name if piece.edits else "")  # edits in a row may be of one part
        if name:
            found.setdefault(name, []).append(piece)
        elif found or piece.edits:
            raise EditFailed(
                f"a block of the reply stands under no name of a part: {_how_to_name(parent)}"
            )
    if not found:
        raise EditFailed(
            f"the reply holds no part of x under its name: {_how_to_name(parent)}"
        )
    return found


def _how_to_name(parent: Mapping[str, str]) -> str:
    return f"write {_HEADING}NAME on the line before the fenced block; {suggestion('', parent)}"


def _name_of(piece: Piece, known: Mapping[str, str]) -> str:
    """Return which part a piece is of, or nothing. Raises EditFailed where it names none that is known, or two."""
    lines = reversed(piece.above if piece.edits else piece.above[-1:])
    title = next(
        (
            name
            for line in lines
            if (name := _title(line, known, one_word=not piece.edits))
        ),
        "",
    )
    info = _info_name(piece.info, known)
    if (
        title in known
        and info in known
        and info not in (title, piece.info.partition(" ")[0])
    ):
        raise EditFailed(
            f"a block of the reply stands under two names, {title!r} and {info!r}: give each part its own"
        )
    inside = _COMMENT.sub("", piece.inside)
    named = [
        name for name in (title, info, _title(inside, known, one_word=False)) if name
    ]
    name = next((name for name in named if name in known), "")
    if named and not name:
        raise EditFailed(
            f"the reply names a part that x does not have, {one_line(named[0])!r}: {suggestion(named[0], known)}"
        )
    return name


def _title(line: str, known: Mapping[str, str], *, one_word: bool) -> str:
    """Return the name that a line is, known or not; nothing when it is prose. One word may be the name of a part."""
    if line.startswith(_HEADING) and line.removeprefix(_HEADING) in known:
        return line.removeprefix(_HEADING)
    if len(line) > _MAX_NAME_CHARS:
        return ""
    readings = [*_readings(line)] or [("", False)]
    for name, _ in readings:
        if name in known:
            return name
    name, decorated = readings[-1]
    looks_like_one = decorated and (
        _near(name, known) or (one_word and not re.search(r"\s", name))
    )
    return name if looks_like_one or _PATH.fullmatch(name) else ""


def _readings(line: str) -> Iterator[tuple[str, bool]]:
    """Yield the line, then with one decoration less each time, and whether it had one that makes it a title."""
    decorated = False
    while line:
        yield line, decorated
        title, bullet = _TITLE.fullmatch(line), _BULLET.fullmatch(line)
        decorated = decorated or title is not None
        barer = (
            title[title.lastgroup or 0]
            if title
            else bullet["rest"]
            if bullet
            else line.removesuffix(":")
        )
        if barer.strip() == line:
            return
        line = barer.strip()


def _info_name(info: str, known: Mapping[str, str]) -> str:
    """Return the name that stands behind the language of a fence, known or not, or instead of it when it is known."""
    if len(info) > _MAX_NAME_CHARS:
        return ""
    language, _, rest = info.partition(" ")
    words = [
        word
        for word in (rest.strip(), *rest.split(), language.partition(":")[2])
        if word
    ]
    names = [_ATTRIBUTE.sub("", word).strip("\"'`{}") for word in words]
    for name in (*names, info, language):
        if name in known:
            return name
    if _PATH.fullmatch(language) and _near(language, known):
        return language
    return next((name for name in names if _PATH.fullmatch(name)), "")


def _near(name: str, known: Mapping[str, str]) -> bool:
    return bool(get_close_matches(name, known, n=1))
