"""A run as plain lines: for files, pipes, dumb terminals and narrow ones."""

from __future__ import annotations

import shlex
import textwrap

from ..records import (
    CallFailed,
    Event,
    RunEnded,
    RunStarted,
    Status,
    Trial,
    TrialFinished,
    describe_failure,
)
from ..store import option_of
from ..text import one_line, show_number, visible
from .amounts import signed
from .run_view import RunView

_BLOCKS = "▁▂▃▄▅▆▇█"


def plain_lines(run: RunView, event: Event, columns: int | None = None) -> list[str]:
    """Return what an event says in lines without any control character, of at most `columns` characters each.

    `run` has learnt from the event already. None sets no limit.
    """
    lines = _lines(run, event, columns)
    if columns is None:
        return lines
    if isinstance(event, RunEnded):
        return [
            part
            for line in lines
            for part in textwrap.wrap(line, columns, break_on_hyphens=False)
        ]
    return [one_line(line, columns) for line in lines]


def _lines(run: RunView, event: Event, columns: int | None) -> list[str]:
    match event:
        case RunStarted():
            again = f", {len(event.trials)} trials so far" if event.trials else ""
            return [
                f"run {visible(event.name)}: {one_line(event.task.description, 100)}{again}"
            ]
        case TrialFinished():
            return [
                _trial_line(run, event.trial)
                if columns is None
                else _short_line(run, event.trial)
            ]
        case CallFailed():
            return [failure_line(event)]
        case RunEnded():
            return _last_lines(run, event)
    return []


def _last_lines(run: RunView, event: RunEnded) -> list[str]:
    best = run.champion
    found = (
        f"best {score_of(best)} in trial {best.number}"
        if best
        else "no trial has a score"
    )
    calls = f"{run.usage.calls} model calls, {run.usage.tokens} tokens"
    return [
        f"{one_line(event.result.stop_reason, 400)}: {found}; {run.finished} trials, {calls}, {run.seconds:.1f} s",
        look_line(run),
    ]


def look_line(run: RunView) -> str:
    """Return how to see more of a run; the URL of a server is left out, since it may hold a password."""
    where = (
        option_of(run.store)
        if run.store.startswith("sqlite:") or "://" not in run.store
        else ""
    )
    return visible(f"look at it: llm-optimize show {shlex.quote(run.name)}{where}")


def doing(run: RunView) -> str:
    """Return what is in flight, or why the run ended."""
    if run.stop_reason is not None:
        return f"ended: {run.stop_reason}"
    waiting = ", ".join(
        f"{number} {what}" for number, what in sorted(run.in_flight.items())
    )
    return f"in flight: {waiting or 'nothing'}"


def failure_line(failure: CallFailed) -> str:
    """Return what is to be said of a model call that ended without a reply."""
    return f"no reply for trial {failure.number} from {one_line(failure.model, 40)}: {one_line(failure.error, 200)}"


def _trial_line(run: RunView, trial: Trial) -> str:
    mark = "best" if _is_best(run, trial) else ""
    why = (
        "" if trial.status is Status.COMPLETE else one_line(describe_failure(trial), 80)
    )
    score, change, source = (
        verdict(trial),
        _change(run, trial),
        one_line(trial.source, 24),
    )
    return f"{trial.number:4d}  {mark:4}  {score:>10}  {change:>10}  {source:24}  {trial.seconds:7.2f} s  {why}".rstrip()


def _short_line(run: RunView, trial: Trial) -> str:
    mark = "best" if _is_best(run, trial) else ""
    why = (
        one_line(trial.source, 24)
        if trial.status is Status.COMPLETE
        else describe_failure(trial)
    )
    shown = score_of(trial) if trial.status is Status.COMPLETE else ""
    return " ".join(
        filter(None, [str(trial.number), mark, shown, _change(run, trial), why])
    )


def _is_best(run: RunView, trial: Trial) -> bool:
    return run.champion is not None and run.champion.number == trial.number


def _change(run: RunView, trial: Trial) -> str:
    change = next(
        change for known, change in reversed(run.last) if known.number == trial.number
    )
    return "" if change is None else signed(change)


def verdict(trial: Trial) -> str:
    """Return the score of a trial, or in a word why it has none."""
    return score_of(trial) or trial.status.value


def score_of(trial: Trial) -> str:
    """Return the score of a trial for reading; nothing where there is none."""
    return "" if trial.score is None else show_number(trial.score)


def sparkline(values: list[float], width: int) -> str:
    """Return values as a row of blocks, at most `width` of them.

    >>> sparkline([0, 1, 2, 3], 4)
    '▁▃▆█'
    """
    values = list(values)  # another thread may add to them
    if not values or width < 1:
        return ""
    count = min(width, len(values))
    shown = [
        values[int((place + 1) * len(values) / count) - 1] for place in range(count)
    ]
    low, span = (
        min(shown) / 2,
        max(shown) / 2 - min(shown) / 2,
    )  # halves: the difference may be too large for a float
    top = len(_BLOCKS) - 1
    return "".join(
        _BLOCKS[round(top * ((value / 2 - low) / span)) if span else 0]
        for value in shown
    )
