"""Bars: measured numbers and the limits that they must hold; a table, a file, an exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Bar:
    """One measurement. `value` is None where it could not be made; `note` then says why."""

    name: str
    value: float | None
    limit: float
    unit: str = ""
    at_least: bool = False  # the limit is a floor; else it is a ceiling
    note: str = ""

    @property
    def verdict(self) -> str:
        """held, missed, or skipped."""
        if self.value is None:
            return "skipped"
        return (
            "held"
            if (self.value >= self.limit if self.at_least else self.value <= self.limit)
            else "missed"
        )


def zero(name: str, count: int, note: str = "") -> Bar:
    """Return the bar of something that must not happen."""
    return Bar(name, count, 0, note=note)


def measure(
    benchmarks: Mapping[str, Callable[[], Iterable[Bar]]], only: Sequence[str] = ()
) -> list[Bar]:
    """Run the benchmarks, or `only` some of them, one after the other; say on stderr which."""
    unknown = set(only) - set(benchmarks)
    if unknown:
        sys.exit(
            f"no benchmark is named {', '.join(sorted(unknown))}: "
            f"choose among {', '.join(benchmarks)}"
        )
    bars: list[Bar] = []
    for name, benchmark in benchmarks.items():
        if not only or name in only:
            print(f"measuring: {name}", file=sys.stderr, flush=True)
            bars += benchmark()
    return bars


def report(bars: Sequence[Bar], output: str | None = None) -> int:
    """Print the table, write it as JSON to `output`, and return the exit code, 1 for a miss."""
    rows = [("what", "bar", "measured", "", "")]
    for bar in bars:
        sign = ">=" if bar.at_least else "<="
        limit = f"{sign} {bar.limit:g} {bar.unit}".rstrip()
        measured = "-" if bar.value is None else f"{bar.value:.4g} {bar.unit}".rstrip()
        rows.append((bar.name, limit, measured, bar.verdict, bar.note))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print(
            "  ".join(
                [
                    *(
                        cell.ljust(width)
                        for cell, width in zip(row, widths, strict=False)
                    ),
                    row[4],
                ]
            ).rstrip()
        )
    if output:
        Path(output).write_text(
            json.dumps(
                [{**asdict(bar), "verdict": bar.verdict} for bar in bars], indent=1
            )
            + "\n"
        )
    return int(any(bar.verdict == "missed" for bar in bars))
