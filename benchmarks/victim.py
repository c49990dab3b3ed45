"""Program that the kill campaign kills: one run, begun or resumed, by its JSON argument."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from llm_optimize import llm, optimize
from llm_optimize.records import Event, Limits, TrialProposed

from .runs import WORDS
from .subjects import Noted, closeness


@dataclass(frozen=True)
class Order:
    """What to run."""

    name: str
    store: str
    notes: str  # a file that f writes into
    times: (
        str  # a file with the number of each proposed trial, and when it was committed
    )
    base_url: str
    workers: int
    search: str
    steps: int
    scoring_secs: float
    resume: bool = False


def limits(notes: Path) -> Limits:
    """Let f write into the folder of its notes, where this version asks for leave."""
    known = {field.name for field in fields(Limits)}
    leave: dict[str, Any] = (
        {"writable": (str(notes.parent),)} if "writable" in known else {}
    )
    return Limits(**leave)


def main(order: Order) -> None:
    """Do it."""

    def note(event: Event) -> None:
        if isinstance(event, TrialProposed):  # its x is on disk now
            with Path(order.times).open("a") as times:
                print(event.number, time.time(), file=times)

    f = Noted(closeness, Path(order.notes), order.scoring_secs)
    chat = llm.Chat("simulated", base_url=order.base_url)
    if order.resume:
        optimize.resume(
            order.name,
            f,
            store=order.store,
            model=chat,
            verbose=False,
            callbacks=[note],
        )
    else:
        options: dict[str, Any] = {
            "store": order.store,
            "name": order.name,
            "seed": 7,
            "search": order.search,
        }
        options |= {
            "workers": order.workers,
            "limits": limits(Path(order.notes)),
            "callbacks": [note],
        }
        optimize.run(*WORDS, f, "[5, 3]", order.steps, chat, False, **options)


if __name__ == "__main__":
    main(Order(**json.loads(sys.argv[1])))
