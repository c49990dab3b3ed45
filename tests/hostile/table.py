"""The table of docs/sandbox.md: recorded results, and the page's lines made of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from .matrix import THE_END, Cell, Result
from .programs import LEVELS, USERS, WAYS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "sandbox.md"
RECORD = ROOT / "tests" / "data" / "hostile.json"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->"
HEAD = ("| program | `process` | `namespace` |", "|---|---|---|")
_PLACES = tuple((way, who) for way in WAYS for who in USERS)

Words = dict[str, dict[str, dict[str, str]]]  # program -> level -> "way user" -> word


def cells() -> list[Cell]:
    """Return every cell of the matrix."""
    return [Cell(level, way, who) for level in LEVELS for way, who in _PLACES]


def record(results: Iterable[Result]) -> None:
    """Write down what was found; what else is recorded stays."""
    words = recorded() if RECORD.exists() else {}
    for one in results:
        if one.program != THE_END:
            levels = words.setdefault(one.program, {})
            levels.setdefault(one.cell.level, {})[f"{one.cell.way} {one.cell.who}"] = (
                one.word
            )
    RECORD.write_text(
        json.dumps(words, indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )


def recorded() -> Words:
    """Return what was found last."""
    return dict(json.loads(RECORD.read_text(encoding="utf-8")))


def lines(words: Words) -> list[str]:
    """Return the lines of the table."""
    rows = [
        f"| `{name}` | {' | '.join(text(words[name][level]) for level in LEVELS)} |"
        for name in sorted(words)
    ]
    return [*HEAD, *rows]


def text(places: dict[str, str]) -> str:
    """Return one cell of the page: the commonest word, then where it is another.

    >>> text({"one user": "contained", "one root": "contained", "split user": "contained"})
    'contained'
    >>> one = {"one user": "not promised", "one root": "not promised"}
    >>> text({**one, "split user": "contained", "split root": "works"})
    'not promised; split: contained; split as root: works'
    """
    counts = [
        (list(places.values()).count(word), word)
        for word in dict.fromkeys(places.values())
    ]
    common = max(counts, key=lambda pair: pair[0])[1]
    said = [common]
    for way in WAYS:
        there = {
            who: places[f"{way} {who}"] for who in USERS if f"{way} {who}" in places
        }
        if len(set(there.values())) == 1 and common not in there.values():
            said.append(f"{way}: {next(iter(there.values()))}")
        elif len(set(there.values())) > 1:
            said += [
                f"{way}{' as root' if who == 'root' else ''}: {word}"
                for who, word in there.items()
                if word != common
            ]
    return "; ".join(said)


def table_in(page: str) -> list[str]:
    """Return the lines of the table that stands in a page."""
    inside = page[page.index(BEGIN) + len(BEGIN) : page.index(END)]
    return [line for line in inside.splitlines() if line]


def with_table(page: str, table: list[str]) -> str:
    """Return a page with this table in the place of its own."""
    begin, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    return page[:begin] + "\n" + "\n".join(table) + "\n\n" + page[end:]
