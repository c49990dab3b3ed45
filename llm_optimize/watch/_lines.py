"""A run as plain lines: for files, pipes, dumb terminals and narrow ones."""

from __future__ import annotations

import shlex
import textwrap

from ..records import CallFailed, Event, RunEnded, RunStarted, Status, Trial, TrialFinished, describe_failure
from ..store import option_of
from ..text import one_line, show_number, visible
from ._state import State

_BLOCKS = "▁▂▃▄▅▆▇█"


def plain_lines(state: State, event: Event, columns: int | None = None) -> list[str]:
    """Return what an event says in lines without any control character, of at most `columns` characters each.

    `state` has learnt from the event already. None sets no limit.
    """
    lines = _lines(state, event, columns)
    if columns is None:
        return lines
    if isinstance(event, RunEnded):
        return [part for line in lines for part in textwrap.wrap(line, columns, break_on_hyphens=False)]
    return [one_line(line, columns) for line in lines]


def _lines(state: State, event: Event, columns: int | None) -> list[str]:
    match event:
        case RunStarted():
            again = f", {len(event.trials)} trials so far" if event.trials else ""
            return [f"run {visible(event.name)}: {one_line(event.task.description, 100)}{again}"]
        case TrialFinished():
            return [_trial_line(state, event.trial) if columns is None else _short_line(state, event.trial)]
        case CallFailed():
            return [failure_line(event)]
        case RunEnded():
            return _last_lines(state, event)
    return []


def _last_lines(state: State, event: RunEnded) -> list[str]:
    best = state.champion
    found = f"best {score_of(best)} in trial {best.number}" if best else "no trial has a score"
    calls = f"{state.usage.calls} model calls, {state.usage.tokens} tokens"
    return [
        f"{one_line(event.result.stop_reason, 400)}: {found}; {state.finished} trials, {calls}, {state.seconds:.1f} s",
        look_line(state),
    ]


def look_line(state: State) -> str:
    """Return how to see more of a run; the URL of a server is left out, since it may hold a password."""
    where = option_of(state.store) if state.store.startswith("sqlite:") or "://" not in state.store else ""
    return visible(f"look at it: llm-optimize show {shlex.quote(state.name)}{where}")


def failure_line(failure: CallFailed) -> str:
    """Return what is to be said of a model call that ended without a reply."""
    return f"no reply for trial {failure.number} from {one_line(failure.model, 40)}: {one_line(failure.error, 200)}"


def _trial_line(state: State, trial: Trial) -> str:
    mark = "best" if _is_best(state, trial) else ""
    why = "" if trial.status is Status.COMPLETE else one_line(describe_failure(trial), 80)
    score, change, source = verdict(trial), _change(state, trial), one_line(trial.source, 24)
    return (
        f"{trial.number:4d}  {mark:4}  {score:>10}  {change:>10}  {source:24}  {trial.seconds:7.2f} s  {why}".rstrip()
    )


def _short_line(state: State, trial: Trial) -> str:
    mark = "best" if _is_best(state, trial) else ""
    why = one_line(trial.source, 24) if trial.status is Status.COMPLETE else describe_failure(trial)
    shown = score_of(trial) if trial.status is Status.COMPLETE else ""
    return " ".join(filter(None, [str(trial.number), mark, shown, _change(state, trial), why]))


def _is_best(state: State, trial: Trial) -> bool:
    return state.champion is not None and state.champion.number == trial.number


def _change(state: State, trial: Trial) -> str:
    change = next(change for known, change in reversed(state.last) if known.number == trial.number)
    return "" if change is None else f"{change or 0.0:+.4g}"


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
    shown = [values[int((place + 1) * len(values) / count) - 1] for place in range(count)]
    low, span = min(shown) / 2, max(shown) / 2 - min(shown) / 2  # halves: the difference may be too large for a float
    top = len(_BLOCKS) - 1
    return "".join(_BLOCKS[round(top * ((value / 2 - low) / span)) if span else 0] for value in shown)


def duration(seconds: float) -> str:
    """Return a time span for reading.

    >>> duration(0.05), duration(75), duration(4000)
    ('0.05 s', '1m15s', '1h06m')
    """
    if seconds < 59.5:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


LABELS = {
    "max_steps": "steps",
    "calls": "model calls",
    "tokens": "tokens",
    "usd": "cost",
    "seconds": "time",
    "scorings": "scorings",
    "stale_steps": "stale steps",
}


def amount(name: str, value: float) -> str:
    """Return what is used of a cap, or the cap, for reading.

    >>> amount("usd", 0.5), amount("tokens", 12_345), amount("seconds", 75)
    ('$0.50', '12,345', '1m15s')
    """
    if name == "seconds":
        return duration(value)
    if name == "usd":
        return f"${value:.2f}" if value >= 0.1 or not value else f"${value:.4f}"
    return f"{value:,.0f}"
