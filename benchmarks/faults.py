"""The fault campaign: a run against an endpoint that fails in all the ways that endpoints do.

python -m benchmarks.faults [--trials N] [--load N] [--rates 429=0.1 drip=0.03 ...]
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from tempfile import TemporaryDirectory
from typing import Any

from llm_optimize import llm, optimize
from llm_optimize.records import Reply, Result
from llm_optimize.store import Store

from .bars import Bar, report, zero
from .load import competitors
from .runs import WORDS
from .server import Server, start_server
from .subjects import closeness

RATES = {
    "429": 0.1,
    "500": 0.05,
    "drop": 0.03,
    "drip": 0.03,
    "truncated": 0.05,
    "garbage": 0.05,
    "context": 0.01,
}
# So that an answer in time is late for its own faults only.
_DEADLINE_SECS, _LOADED_DEADLINE_SECS = 6.0, 20.0
_LATE_SECS = 1.0  # that a call may outlive its deadline
_NAME = re.compile(r"Reply (\w+):")


class TimedChat(llm.Chat):
    """A chat model that notes how long each call took, answered or not."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Take what a chat model takes."""
        super().__init__(*args, **options)
        self.seconds: list[float] = []

    async def reply(self, *args: Any, **options: Any) -> Reply:
        """Return the model's answer, and raise what it raises."""
        begun = time.perf_counter()
        try:
            return await super().reply(*args, **options)
        finally:
            self.seconds.append(time.perf_counter() - begun)


def faults(
    trials: int = 300,
    workers: int = 8,
    deadline_secs: float = _DEADLINE_SECS,
    rates: Mapping[str, float] = RATES,
    seed: int = 0,
) -> list[Bar]:
    """Run trials through all the faults, and compare the store with the server's own log."""
    settings: dict[str, Any] = {f"rate_{name}": rate for name, rate in rates.items()}
    settings |= {"latency_secs": 0.05, "sigma": 0.3, "drip_secs": 0.2, "seed": seed}
    with start_server(**settings) as server, TemporaryDirectory() as folder:
        chat = TimedChat(
            "simulated",
            base_url=server.base_url,
            deadline_secs=deadline_secs,
            max_wait_secs=2.0,
        )
        options: dict[str, Any] = {
            "store": f"{folder}/runs.db",
            "name": "faults",
            "seed": 1,
            "workers": workers,
        }
        result = optimize.run(
            *WORDS, closeness, "[5, 3]", trials, chat, False, **options
        )
        late = max(chat.seconds) - deadline_secs
        return [
            Bar(
                "trials finished",
                len(result.trials),
                trials + 1,
                at_least=True,
                note=result.stop_reason,
            ),
            *_books(server, f"{folder}/runs.db", result),
            Bar(
                "longest call, beyond its deadline",
                late,
                _LATE_SECS,
                "s",
                note=f"{len(chat.seconds)} calls",
            ),
        ]


def _books(server: Server, store: str, result: Result) -> list[Bar]:
    """Compare what the server sent with what the store holds."""
    with closing(Store(store)) as opened:
        replies = [
            (call.trial, call.reply)
            for call in opened.run("faults").calls()
            if call.reply
        ]
    sent = server.log("answer")
    stored = Counter(name_of(reply.text) for _, reply in replies)
    lost = [line for line in sent if stored[name_of(line["text"])] == 0]
    twice = [name for name, count in stored.items() if count > 1]
    valid = {name_of(line["text"]) for line in sent if not line["fault"]}
    answered = Counter(
        trial for trial, reply in replies if name_of(reply.text) in valid
    )
    tokens = sum(line["usage"]["total_tokens"] for line in sent)
    met = Counter(line["fault"] or "none" for line in server.log("request"))
    return [
        zero(
            "replies lost",
            len(lost),
            ", ".join(f"{name} {count}" for name, count in sorted(met.items())),
        ),
        zero("replies stored twice", len(twice)),
        zero(
            "trials asked again after a valid reply",
            sum(count - 1 for count in answered.values()),
        ),
        zero(
            "tokens of the run, difference to the server's",
            abs(result.usage.tokens - tokens),
            f"of {tokens}",
        ),
        zero(
            "tokens of the stored replies, difference",
            abs(sum(r.usage.tokens for _, r in replies) - tokens),
        ),
    ]


def name_of(text: str) -> str:
    """Return what tells one reply of the simulated endpoint from all others."""
    found = _NAME.match(text)
    return found[1] if found else text


def _rate(word: str) -> tuple[str, float]:
    name, _, value = word.partition("=")
    if name not in RATES:
        raise argparse.ArgumentTypeError(
            f"no fault is named {name!r}: choose among {', '.join(RATES)}"
        )
    return name, float(value)


def main() -> int:
    """Run it, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument(
        "--deadline", type=float, help="of one call, in seconds: 6, or 20 with --load"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--rates",
        nargs="*",
        type=_rate,
        default=[],
        metavar="FAULT=RATE",
        help=", ".join(RATES),
    )
    parser.add_argument(
        "--load", type=int, default=0, help="busy processes of low priority beside it"
    )
    parser.add_argument("--output", help="write the numbers as JSON into this file")
    given = parser.parse_args()
    rates = {**RATES, **dict(given.rates)}
    with competitors(given.load):
        deadline_secs = given.deadline or (
            _LOADED_DEADLINE_SECS if given.load else _DEADLINE_SECS
        )
        bars = faults(
            given.trials, deadline_secs=deadline_secs, rates=rates, seed=given.seed
        )
    return report(bars, given.output)


if __name__ == "__main__":
    sys.exit(main())
