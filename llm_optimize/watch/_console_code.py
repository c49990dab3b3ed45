"""The code of a champion in a terminal: its changes against another trial, highlighted."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..records import Trial, X
from ..text import show_x, visible
from .language import language_of

if TYPE_CHECKING:
    from rich.text import Text

_MAX_LINES = 2_000  # compared, and shown
_MAX_LINE_CHARS = 400  # no screen is wider
_CONTEXT_LINES = 2  # unchanged, shown around a change


class Code:
    """The lines that show a champion; cached, since a view is drawn several times a second."""

    def __init__(self) -> None:
        self._shown: tuple[Trial, Trial | None] | None = None
        self._lines: list[Text] = []

    def lines(
        self,
        champion: Trial,
        base: Trial | None,
    ) -> list[Text]:
        """Return the difference of the champion to `base`, or its whole x without a difference.

        Control characters are visible, and each line is of bounded length.
        """
        if self._shown is not None:
            shown_champion, shown_base = self._shown
            if shown_champion is champion and shown_base is base:
                return self._lines
        lines = _difference(champion, base)
        if not lines:
            x = "" if champion.x is None else champion.x
            code = plain_code(x)[:_MAX_LINES]
            lines = highlighted(code, language_of(show_x(x)))
        self._lines = lines
        self._shown = (champion, base)
        return self._lines


def _difference(
    champion: Trial,
    base: Trial | None,
) -> list[Text]:
    """Return the changes in lines; nothing where there are none, or too many to compare."""
    from rich.text import Text

    if base is None or base.x is None or champion.x is None:
        return []
    old = plain_code(base.x)
    new = plain_code(champion.x)
    if max(len(old), len(new)) > _MAX_LINES:
        return []
    language = language_of(show_x(champion.x))
    colored = highlighted(new, language)
    shown: list[Text] = []
    for mark, place in _marked(old, new):
        match mark:
            case "@" if shown:
                shown.append(Text("⋯", style="dim"))
            case "-":
                shown.append(Text("- " + old[place], style="red"))
            case "+":
                shown.append(Text.assemble(("+ ", "bold green"), colored[place]))
            case " ":
                shown.append(Text(f"  {new[place]}", style="dim"))
    return shown


def _marked(
    old: Sequence[str],
    new: Sequence[str],
) -> Iterator[tuple[str, int]]:
    """Yield the lines of a difference, each as a mark and the index of the line.

    "@" begins a group of changes, "-" is a line of old, "+" and " " are lines of new.
    """
    matcher = difflib.SequenceMatcher(None, old, new)
    for group in matcher.get_grouped_opcodes(_CONTEXT_LINES):
        if len(group) == 1 and group[0][0] == "equal":
            continue
        yield "@", 0
        for tag, old_from, old_to, new_from, new_to in group:
            if tag == "equal":
                yield from ((" ", place) for place in range(new_from, new_to))
                continue
            yield from (("-", place) for place in range(old_from, old_to))
            yield from (("+", place) for place in range(new_from, new_to))


def plain_code(x: X) -> list[str]:
    """Return x in lines that may be sent to a terminal."""
    lines = []
    for line in show_x(x).splitlines():
        shown = visible(line).expandtabs(4)
        lines.append(shown[:_MAX_LINE_CHARS])
    return lines


def highlighted(
    lines: Sequence[str],
    language: str,
) -> list[Text]:
    """Return as many lines as were given, with the colors of their language."""
    from rich.syntax import Syntax
    from rich.text import Text

    if language == "text":
        return [Text(line) for line in lines]
    syntax = Syntax("", language, theme="ansi_dark", background_color="default")
    colored = syntax.highlight("\n".join(lines))
    found = list(colored.split("\n", allow_blank=True))
    del found[len(lines) :]
    # A lexer may drop blank lines at the ends: then colors would be off by some lines.
    if [line.plain for line in found] != list(lines):
        return [Text(line) for line in lines]
    return found
