"""Plain lines about a run: for files, pipes, dumb terminals and narrow ones.

Also the words that the terminal and the notebook share. No line holds a control character,
whatever a trial, an error or a name holds.
"""

from __future__ import annotations

import textwrap

from ..records import (
    CallFailed,
    Event,
    Noticed,
    RunEnded,
    RunStarted,
    Status,
    Trial,
    TrialFinished,
    describe_failure,
)
from ..store import command_line
from ..text import clip, counted, one_line, show_number, show_x, visible
from .amounts import signed
from .run_view import RunView

_MAX_X_CHARS = 4_000  # of the best x; `llm-optimize best` prints all of it
_BLOCKS = "▁▂▃▄▅▆▇█"


def plain_lines(
    run: RunView,
    event: Event,
    columns: int | None = None,
) -> list[str]:
    """Return lines that describe an event, each of at most `columns` characters; None: no limit.

    `run` has learned from the event already.
    """
    lines = _lines(run, event, columns)
    if columns is None:
        return [*_best_lines(run, event), *lines]
    if not isinstance(event, RunEnded):
        return [one_line(line, columns) for line in lines]
    wrapped = []
    for line in lines:  # the last lines are never cut
        wrapped += textwrap.wrap(line, columns, break_on_hyphens=False)
    best = []
    for line in _best_lines(run, event):
        for begin in range(0, max(1, len(line)), columns):
            best.append(line[begin : begin + columns])
    return [*best, *wrapped]


def _lines(
    run: RunView,
    event: Event,
    columns: int | None,
) -> list[str]:
    match event:
        case RunStarted():
            task = one_line(event.task.description, 100)
            line = f"run {visible(event.name)}: {task}"
            if event.trials:
                line += f", {counted(len(event.trials), 'trial')} so far"
            return [line]
        case TrialFinished() if columns is None:
            return [_trial_line(run, event.trial)]
        case TrialFinished():
            return [_short_line(run, event.trial)]
        case CallFailed():
            return [failure_line(event)]
        case Noticed():
            return [f"note: {one_line(event.text, 400)}"]
        case RunEnded():
            return _last_lines(run, event)
    return []


def _last_lines(run: RunView, event: RunEnded) -> list[str]:
    best = run.champion
    found = "no trial has a score"
    if best is not None:
        found = f"best {score_of(best)} in trial {best.number}"
    counts = (
        counted(run.finished, "trial"),
        counted(run.usage.calls, "model call"),
        counted(run.usage.tokens, "token"),
        f"{run.seconds:.1f} s",
    )
    end = f"{found}; {', '.join(counts)}"
    reason = one_line(event.result.stop_reason, 400)
    if not reason.startswith("error"):
        return [f"{reason}: {end}", look_line(run)]
    lines = [reason, f"ended by this error: {end}", look_line(run)]
    said = run.failure.error if run.failure else None
    if said is not None and said in event.result.stop_reason:
        del lines[0]  # the line before has the error
    return lines


def _best_lines(run: RunView, event: Event) -> list[str]:
    """Return the best x of a run that ends; nothing where there is none."""
    if not isinstance(event, RunEnded) or run.champion is None:
        return []
    best = run.champion
    x = clip(visible(show_x(best.x or "")), _MAX_X_CHARS)
    return [f"best x, of trial {best.number}:", *x.splitlines()]


def look_line(run: RunView) -> str:
    """Return the command that shows more of a run."""
    command = command_line("show", run.name, store=run.store)
    return visible(f"look at it: {command}")


def doing(run: RunView) -> str:
    """Return what is in flight, or why the run ended."""
    if run.stop_reason is not None:
        return f"ended: {run.stop_reason}"
    in_flight = sorted(run.in_flight.items())
    waiting = [f"trial {number} {what}" for number, what in in_flight]
    return f"in flight: {', '.join(waiting) or 'nothing'}"


def failure_line(failure: CallFailed) -> str:
    """Return a line about a model call that ended without a reply."""
    model = one_line(failure.model, 40)
    error = one_line(failure.error, 400)
    return f"no reply for trial {failure.number} from {model}: {error}"


def _trial_line(run: RunView, trial: Trial) -> str:
    """Return a trial in aligned columns."""
    why = ""
    if trial.status is not Status.COMPLETE:
        why = one_line(describe_failure(trial), 80)
    cells = (
        f"{trial.number:4d}",
        f"{_mark(run, trial):4}",
        f"{verdict(trial):>10}",
        f"{_change(run, trial):>10}",
        f"{one_line(trial.source, 24):24}",
        f"{trial.seconds:7.2f} s",
        why,
    )
    return "  ".join(cells).rstrip()


def _short_line(run: RunView, trial: Trial) -> str:
    shown, why = "", describe_failure(trial)
    if trial.status is Status.COMPLETE:
        shown, why = score_of(trial), one_line(trial.source, 24)
    mark, change = _mark(run, trial), _change(run, trial)
    words = (str(trial.number), mark, shown, change, why)
    return " ".join(word for word in words if word)


def _mark(run: RunView, trial: Trial) -> str:
    if run.champion is not None and run.champion.number == trial.number:
        return "best"
    return ""


def _change(run: RunView, trial: Trial) -> str:
    for known, change in reversed(run.last):
        if known.number == trial.number:
            return "" if change is None else signed(change)
    return ""


def verdict(trial: Trial) -> str:
    """Return the score of a trial, or its status where it has none."""
    return score_of(trial) or trial.status.value


def score_of(trial: Trial) -> str:
    """Return the formatted score of a trial, or nothing where there is none."""
    return "" if trial.score is None else show_number(trial.score)


def sparkline(values: list[float], width: int) -> str:
    """Return values as a row of blocks, at most `width` of them.

    >>> sparkline([0, 1, 2, 3], 4)
    '▁▃▆█'
    """
    values = list(values)  # a copy: another thread may append
    if not values or width < 1:
        return ""
    count = min(width, len(values))
    # Halves, since the difference of two floats may be too large for a float.
    halves = []
    for place in range(1, count + 1):
        last = int(place * len(values) / count) - 1
        halves.append(values[last] / 2)
    low = min(halves)
    span = max(halves) - low
    if not span:
        return _BLOCKS[0] * count
    top = len(_BLOCKS) - 1
    heights = [round(top * ((half - low) / span)) for half in halves]
    return "".join(_BLOCKS[height] for height in heights)
