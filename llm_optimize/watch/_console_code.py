"""The code of a champion in a terminal: what changed against its parent, with syntax colours."""

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
_AROUND = 2  # unchanged lines shown around a change


class Code:
    """The lines that show a champion; computed once, since a view is drawn several times a second."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._shown: tuple[Trial, Trial | None] | None = None
        self._lines: list[Text] = []

    def lines(self, champion: Trial, base: Trial | None) -> list[Text]:
        """Return the difference of the champion to `base` in lines, or all of its x where there is nothing to compare.

        Each line has its control characters made visible, and is of bounded length.
        """
        if (
            self._shown is None
            or self._shown[0] is not champion
            or self._shown[1] is not base
        ):
            self._lines = _difference(champion, base) or [
                line for _, line in _whole(champion)
            ]
            self._shown = (champion, base)
        return self._lines


def _difference(champion: Trial, base: Trial | None) -> list[Text]:
    from rich.text import Text

    if base is None or base.x is None or champion.x is None:
        return []
    old, new = plain_code(base.x), plain_code(champion.x)
    if max(len(old), len(new)) > _MAX_LINES:
        return []
    colored = highlighted(new, language_of(show_x(champion.x)))
    shown: list[Text] = []
    for mark, place in _marked(old, new):
        if mark == "@":
            shown += [Text("⋯", style="dim")] if shown else []
        elif mark == "-":
            shown.append(Text("- " + old[place], style="red"))
        elif mark == "+":
            shown.append(Text.assemble(("+ ", "bold green"), colored[place]))
        else:
            shown.append(Text(f"  {new[place]}", style="dim"))
    return shown


def _marked(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield "@" before each group of changes, and its lines: "-" with a place in old, "+" or " " with one in new."""
    matcher = difflib.SequenceMatcher(None, old, new)
    for group in matcher.get_grouped_opcodes(_AROUND):
        if group[0][0] == "equal" and len(group) == 1:
            continue
        yield "@", 0
        for tag, old_from, old_to, new_from, new_to in group:
            if tag != "equal":
                yield from (("-", place) for place in range(old_from, old_to))
            yield from (
                (" " if tag == "equal" else "+", place)
                for place in range(new_from, new_to)
            )


def _whole(champion: Trial) -> list[tuple[str, Text]]:
    x = "" if champion.x is None else champion.x
    return [
        ("", line)
        for line in highlighted(plain_code(x)[:_MAX_LINES], language_of(show_x(x)))
    ]


def plain_code(x: X) -> list[str]:
    """Return x in lines that a terminal may be sent."""
    return [
        visible(line).expandtabs(4)[:_MAX_LINE_CHARS] for line in show_x(x).splitlines()
    ]


def highlighted(lines: Sequence[str], language: str) -> list[Text]:
    """Return lines with the colours of their language, as many as there were."""
    from rich.syntax import Syntax
    from rich.text import Text

    if language == "text":
        return [Text(line) for line in lines]
    syntax = Syntax("", language, theme="ansi_dark", background_color="default")
    found = list(syntax.highlight("\n".join(lines)).split("\n", allow_blank=True))
    if [line.plain for line in found[: len(lines)]] != list(
        lines
    ):  # a lexer may drop blank lines at the ends
        return [Text(line) for line in lines]
    return found[: len(lines)]
