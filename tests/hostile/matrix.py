"""Programs by level, way and user: what each comes to, as words of the table."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .jail import JailEnded, run_jail
from .programs import HONEST, NOT_FINITE, Program, declared

AT_A_TIME = 2
# The name under which stands what was left when the sandbox was closed.
THE_END = "the end"
# After the deadline, on a busy machine; the programs go on for thirty seconds.
LATE_SECS = 5.0
SETTLE_SECS = 2.0  # for all that a program started to be gone


@dataclass(frozen=True)
class Cell:
    """Where a program runs."""

    level: str
    way: str
    who: str


@dataclass(frozen=True)
class Result:
    """Result of a program in a cell: works, contained, stopped: ..., not promised, or broken."""

    program: str
    cell: Cell
    word: str
    reason: str = ""

    @property
    def held(self) -> bool:
        """Whether nothing came through."""
        return self.word in ("works", "contained") or self.word.startswith("stopped")


def run_cell(
    cell: Cell,
    programs: Iterable[Program],
    late_secs: float = LATE_SECS,
    settle_secs: float = SETTLE_SECS,
) -> list[Result]:
    """Return the result of each program, all in one sandbox; if the jail dies, in another one."""
    todo, found = list(programs), []
    order = {
        "level": cell.level,
        "way": cell.way,
        "late_secs": late_secs,
        "settle_secs": settle_secs,
    }
    while todo:
        begun = ""
        try:
            for message in run_jail(
                cell.who, {**order, "programs": [one.order() for one in todo]}
            ):
                if "begin" in message:
                    begun = message["begin"]
                    continue
                found.append(_result(cell, message, {one.name: one for one in todo}))
                todo = [one for one in todo if one.name != message["name"]]
        except JailEnded as error:
            # All, where not even the first began.
            dead = [one for one in todo if begun in ("", one.name)]
            found += [
                Result(
                    one.name, cell, "broken", f"all in the jail died or hung: {error}"
                )
                for one in dead
            ]
            todo = [one for one in todo if one not in dead]
    return found


def _result(
    cell: Cell, message: dict[str, Any], programs: dict[str, Program]
) -> Result:
    """Judge what the jail says."""
    name, breaches = message["name"], list(message["breaches"])
    program = programs.get(name)
    if program is not None and message["status"] != "dead":
        breaches += _odd(program, message)
    kinds, why = declared(name, cell.level, cell.way, cell.who)
    undeclared = [said for said in breaches if said.partition(":")[0] not in kinds]
    if undeclared:
        return Result(name, cell, "broken", "; ".join(undeclared))
    if kinds:  # even where it was held this time
        return Result(name, cell, "not promised", why)
    if name in HONEST:
        return Result(name, cell, "works")
    if message["status"] == "ok":
        return Result(name, cell, "contained")
    return Result(name, cell, f"stopped: {message['status']}")


def _odd(program: Program, message: dict[str, Any]) -> list[str]:
    """Return what is wrong with status and value alone."""
    status, value = message["status"], message["value"]
    if status not in program.statuses and not (
        status == "ok" and "invalid" in program.statuses
    ):
        return [
            f"status: {status}, expected {' or '.join(program.statuses)}: "
            f"{message['message'][:500]}"
        ]
    if status != "ok":
        return []
    if program.name in HONEST:
        return (
            []
            if value == HONEST[program.name]
            else [f"status: an honest program gave {value}"]
        )
    if program.name in NOT_FINITE:
        return (
            []
            if isinstance(value, float) and not math.isfinite(value)
            else [f"status: gave {value}"]
        )
    odd = (
        isinstance(value, int | float) and value != 0.0 and not 600 <= value < math.inf
    )
    return [f"status: gave {value}"] if odd else []
