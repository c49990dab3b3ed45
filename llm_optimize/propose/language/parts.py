"""Parts: named texts in a prompt, and in a reply those of them that the model changes.

Pure functions. A part stands under a line with its name:

    ### path/name.py
    ```
    the whole text, or edits
    ```

Models also write the name in bold, in backticks, behind the language of the fence, as the first
line in the fence, or within a heading or a line that ends with a colon.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from ...errors import EditFailed, UsageError, suggestion
from ...text import one_line
from .blocks import Block, Edit
from .edits import apply_edits
from .fences import fence
from .whole import as_written, is_aside, refuse_inner_fence, refuse_whole

_HEADING = "### "

_MAX_NAME_CHARS = 500  # a longer line is prose
_MAX_SHARED = 2  # lines that a block may have in common with a part and be none of it
_FILE_LABEL = r"(?:file ?name|file ?path|file|path|part|name)\s*:"
_TITLE = re.compile(  # what makes a line the name of a part
    rf"""\#{{1,6}}\s+(?P<heading>.+)
    | \*\*(?P<bold>[^*]+)\*\*:?
    | `(?P<code>[^`]+)`:?
    | ===+\s+(?P<bar>[^=].*)
    | (?:\*\*)?{_FILE_LABEL}(?:\*\*)?\s*(?P<file>.+)""",
    re.I | re.X,
)
_BULLET = re.compile(r"(?:[-*+]|\d+[.)])\s+(?P<rest>.+)")
_PATH = re.compile(r"[^\s`*\"']*[\w)-](?:/[^\s`*\"']+|\.[A-Za-z]\w{0,7})")
_COMMENT = re.compile(r"^(?://|--|%|;|/\*|<!--)\s*|\s*(?:\*/|-->)$")
_COMMENT_ALONE = re.compile(r"(?:#|//|--|%|;|/\*|<!--)\s*(?P<name>\S+)\s*(?:\*/|-->)?")
_ATTRIBUTE = re.compile(r"^\{?(?:title|file|filename|path|name)=", re.I)
_ANNOUNCES = re.compile(r"#{1,6}\s|(?:(?:[-*+]|\d+[.)])\s+)?\*\*|.*:$")
_WORD = re.compile(r"[^\s`*\"'(),:;]+")
_MARKED = re.compile(r"[`*\"']+([^`*\"']+)[`*\"']+")


def show_parts(parts: Mapping[str, str]) -> str:
    """Return each part under its name, in a fence longer than any in it.

    Raises UsageError when a name cannot stand on a line: it is empty, holds a line end, or white
    space at an end.

    >>> print(show_parts({"a.py": "x = 1"}))
    ### a.py
    ```
    x = 1
    ```
    """
    for name in parts:
        if not name or name != name.strip() or "\n" in name:
            raise UsageError(
                f"the name {name!r} of a part of x cannot stand on a line: "
                "give it a name without line ends"
            )
    blocks = [f"{_HEADING}{name}\n{fence(text)}" for name, text in parts.items()]
    return "\n\n".join(blocks)


def read_parts(blocks: Sequence[Block], parent: Mapping[str, str]) -> dict[str, str]:
    """Return the parts as the blocks of a reply change them; the others are the parent's.

    A part is given whole or as edits under its name. An unnamed block before the first named one
    is an explanation. One behind it is an aside, such as a command to run, unless it looks like a
    part whose name was forgotten.

    Raises:
        EditFailed: no part is named, or one that x does not have, or a block looks like a part
            without a name, or what is given for a part cannot be used.
    """
    changed = dict(parent)
    for name, named in _by_name(blocks, parent).items():
        try:
            changed[name] = _changed(named, parent[name])
        except EditFailed as failed:
            raise EditFailed(f"in the part {name!r}, {failed}") from None
    return changed


def _changed(blocks: Sequence[Block], part: str) -> str:
    """Return a part as it is written anew or edited."""
    whole: dict[str, Block] = {}
    edits: list[Edit] = []
    for block in blocks:
        if block.edits:
            edits += block.edits
        else:
            whole[block.text] = block  # the same text twice is one
    if len(whole) + bool(edits) > 1:
        raise EditFailed(
            "the reply holds several texts: give it once, whole or as edits"
        )
    if edits:
        return apply_edits(part, edits)
    [(text, block)] = whole.items()
    if text.strip():  # a part may become empty, and x as a whole may not
        refuse_inner_fence(block, part)
        refuse_whole(block, text, part)
    return as_written(text, part)


def _by_name(
    blocks: Sequence[Block], parent: Mapping[str, str]
) -> dict[str, list[Block]]:
    found: dict[str, list[Block]] = {}
    name = ""
    for block in blocks:
        own = _name_of(block, parent)
        if own:
            name = own
        elif not block.edits:
            if found and _looks_like_a_part(block, parent):
                raise EditFailed(_no_name(parent))
            continue
        elif not name:
            raise EditFailed(_no_name(parent))
        found.setdefault(name, []).append(block)  # edits in a row may be of one part
    if not found:
        how = _how_to_name(parent)
        raise EditFailed(f"the reply holds no part of x under its name: {how}")
    return found


def _no_name(parent: Mapping[str, str]) -> str:
    return (
        f"a block of the reply stands under no name of a part: {_how_to_name(parent)}"
    )


def _how_to_name(parent: Mapping[str, str]) -> str:
    known = suggestion("", parent)
    return f"write {_HEADING}NAME on the line before the fenced block; {known}"


def _looks_like_a_part(block: Block, parent: Mapping[str, str]) -> bool:
    """Return whether an unnamed block has many lines in common with a part."""
    if is_aside(block):
        return False
    own = {line.strip() for line in block.text.splitlines() if line.strip()}
    for text in parent.values():
        shared = len(own & {line.strip() for line in text.splitlines()})
        if shared > _MAX_SHARED and 2 * shared >= len(own):
            return True
    return False


# Names.


def _name_of(block: Block, known: Mapping[str, str]) -> str:
    """Return which part a block is of, or nothing.

    Raises EditFailed where it names none that is known, or two.
    """
    title = _title_above(block, known)
    info = "" if block.fence is None else block.fence.info
    behind_bar = _name_behind_bar(info, known)
    if title in known and behind_bar in known:
        language = info.partition(" ")[0]  # may happen to be the name of a part
        if behind_bar not in (title, language):
            raise EditFailed(
                f"a block of the reply stands under two names, {title!r} and {behind_bar!r}: "
                "give each part its own"
            )
    named = [name for name in (title, behind_bar, _name_inside(block, known)) if name]
    for name in named:
        if name in known:
            return name
    if named:
        raise EditFailed(
            f"the reply names a part that x does not have, {one_line(named[0])!r}: "
            f"{suggestion(named[0], known)}"
        )
    return ""


def _title_above(block: Block, known: Mapping[str, str]) -> str:
    """Return the nearest line above that is a name; a whole text has it right above its fence."""
    above = block.above if block.edits else block.above[-1:]
    for line in reversed(above):
        name = _title(line, known, one_word=not block.edits)
        if name:
            return name
    return ""


def _name_inside(block: Block, known: Mapping[str, str]) -> str:
    """Return the name in the line before the edits, or in a comment that begins a whole text."""
    if block.path:
        return _title(_COMMENT.sub("", block.path), known, one_word=False)
    if block.edits:
        return ""
    first = block.text.split("\n", 1)[0].strip()[:_MAX_NAME_CHARS]
    comment = _COMMENT_ALONE.fullmatch(first)
    if comment is not None and comment["name"] in known:
        return comment["name"]
    return ""


def _title(line: str, known: Mapping[str, str], *, one_word: bool) -> str:
    """Return the name that a line is, known or not; nothing when it is prose.

    One word may be the name of a part.
    """
    if line.startswith(_HEADING) and line.removeprefix(_HEADING) in known:
        return line.removeprefix(_HEADING)
    if len(line) > _MAX_NAME_CHARS:
        return ""
    barest, decorated = "", False
    for reading in _readings(line):
        barest, decorated = reading
        if barest in known:
            return barest
    mentioned = _mentioned(line, known)
    if mentioned:
        return mentioned
    if _PATH.fullmatch(barest):
        return barest
    if decorated:
        is_word = one_word and not re.search(r"\s", barest)
        if is_word or get_close_matches(barest, known, n=1):
            return barest
    return ""


def _readings(line: str) -> Iterator[tuple[str, bool]]:
    """Yield the line, then with one decoration less each time, and whether it had a title's."""
    decorated = False
    while line:
        yield line, decorated
        title, bullet = _TITLE.fullmatch(line), _BULLET.fullmatch(line)
        if title is not None:
            decorated = True
            barer = title[title.lastgroup or 0]
        elif bullet is not None:
            barer = bullet["rest"]
        else:
            barer = line.removesuffix(":")
        if barer.strip() == line:
            return
        line = barer.strip()


def _mentioned(line: str, known: Mapping[str, str]) -> str:
    """Return the only part that a heading, a bold line or an announcing one mentions, or nothing.

    A name that might be any word counts only where it is marked; of a path, the last part is
    enough where no other part ends so.
    """
    if not _ANNOUNCES.match(line):
        return ""
    words = [*_MARKED.findall(line)]
    words += [word for word in _WORD.findall(line) if "." in word or "/" in word]
    found: set[str] = set()
    for word in words:
        word = word.strip().removeprefix("./").rstrip(".")
        alike = [name for name in known if name == word or name.endswith(f"/{word}")]
        if word in known:
            found.add(word)
        elif len(alike) == 1:
            found.add(alike[0])
    return found.pop() if len(found) == 1 else ""


def _name_behind_bar(info: str, known: Mapping[str, str]) -> str:
    """Return the name behind the language of a fence, or instead of it when it is known."""
    if not info or len(info) > _MAX_NAME_CHARS:
        return ""
    language, _, rest = info.partition(" ")
    words = [rest.strip(), *rest.split(), language.partition(":")[2]]
    names = [_ATTRIBUTE.sub("", word).strip("\"'`{}") for word in words if word]
    for name in (*names, info, language):
        if name in known:
            return name
    if _PATH.fullmatch(language) and get_close_matches(language, known, n=1):
        return language
    for name in names:
        if _PATH.fullmatch(name):
            return name
    return ""
