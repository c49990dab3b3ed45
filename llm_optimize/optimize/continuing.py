"""How a stored run goes on: as the same call, with the same f, and only if something is left.

A changed f is noticed by its hashes (see `func_hash`). Scores of two different f must not be
compared, so such a run goes on only where that is asked for, and then the champion is scored anew
before anything else happens: `promotion.Promotion.anew`. The scores that are lower stay as they
are, below that of the champion; `RunSettings.old_scores` says which they are.
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import closing
from dataclasses import replace
from typing import Any

from ..errors import FunctionChanged, InPython, OptionName, UsageError
from ..propose import language
from ..records import Cap, Result, Task, usage_of
from ..settings import RunSettings, options
from ..space import as_space
from ..stop import as_rule
from ..store import Run, Store
from .build import Func, where
from .func_hash import changed_parts, hashes_of
from .results import result_of
from .state import RunState
from .warm_start import refuse_unknown_pairs

_log = logging.getLogger("llm_optimize")
_SHOWN_CHARS = 60  # of a value in a sentence


# The same call again.


def is_stored(name: str | None, store: str | os.PathLike[str]) -> bool:
    """Whether a store has a run of this name. Raises UsageError where there is no name."""
    if name is None:
        raise UsageError(
            InPython("load_if_exists", shell="--resume"),
            " goes on with the run of a name, and there is none: give ",
            InPython("name=...", shell="--name NAME"),
        )
    with closing(Store(store)) as opened:
        return name in opened.names()


def changes_of(run: Run, asked: RunSettings) -> dict[str, Any]:
    """Return the options in which a call differs that is to go on with a stored run.

    An option at its default changes nothing.

    Args:
        run: that the call names.
        asked: the settings of the call.

    Raises UsageError for an option that cannot change, with both values.
    """
    stored = RunSettings.from_json(run.settings)
    before = _beginning(stored, stored.space)
    now = _beginning(asked, stored.space)
    task = Task("", "", language.SYSTEM_PROMPT, language.HUMAN_PROMPT)
    usual = _by_name(RunSettings(task))
    given = _by_name(asked)
    changes = {}
    for name, option in options().items():
        if given[name] == usual[name]:
            continue
        if name == "known":
            refuse_unknown_pairs(run, asked)
        elif not option.no_resume:
            changes[name] = given[name]
        elif now[name] != before[name]:
            was, is_ = _apart(before[name], now[name])
            raise UsageError(
                OptionName(name),
                f" is {is_}, and the run {run.name!r} has {was}: {option.no_resume}",
            )
    return changes


def _beginning(settings: RunSettings, space: Any) -> dict[str, Any]:
    """Return as plain data the options with which a run begins; an x0 as its space writes it."""
    x0: list[Any] = list(settings.x0)
    if space is not None:
        x0 = [as_space(space).check(x) for x in x0]
    found = {**_by_name(settings), "x0": x0}
    if settings.space is not None:
        found["space"] = as_space(settings.space).to_json()
    begins = {}
    for name, option in options().items():
        if option.no_resume:
            text = json.dumps(found[name])
            begins[name] = json.loads(text)
    return begins


def _by_name(settings: RunSettings) -> dict[str, Any]:
    """Return the values of all options by their names."""
    values = {name: getattr(settings, name, None) for name in options()}
    for name, value in vars(settings.task).items():
        if name not in values:
            name = f"task_{name}"
        values[name] = value
    return values


def _apart(before: Any, now: Any) -> tuple[str, str]:
    """Return two different values for a sentence; long ones from where they begin to differ."""
    texts = repr(before), repr(now)
    same = 0
    for one, other in zip(*texts, strict=False):
        if one != other:
            break
        same += 1
    start = max(0, same - _SHOWN_CHARS // 2)
    shown = []
    for text in texts:
        part = text[start : start + _SHOWN_CHARS]
        if start:
            part = f"...{part}"
        if len(text) > start + _SHOWN_CHARS:
            part = f"{part}..."
        shown.append(part)
    return shown[0], shown[1]


# The same f.


def hashed(settings: RunSettings, func: Func) -> RunSettings:
    """Return the settings with the hashes of f. Raises UsageError for an f that is none."""
    hashes = hashes_of(func, settings.limits.readable, settings.examples)
    return replace(settings, func_hashes=hashes)


def with_func(
    run: Run, settings: RunSettings, func: Func, func_changed: str = ""
) -> RunSettings:
    """Return the settings with which a run goes on with this f.

    Args:
        run: as it is stored.
        settings: with the changes of this call.
        func: that is to score from here on.
        func_changed: "ok" where a changed f is meant.

    Raises FunctionChanged where f is another one than before, and that is not meant.
    """
    if func_changed not in ("", "ok"):
        raise UsageError(
            InPython("func_changed", shell="--func-changed"),
            f" is {func_changed!r}: give 'ok' to go on with a changed f, or nothing",
        )
    before = settings.func_hashes or {}
    now = hashes_of(func, settings.limits.readable, settings.examples)
    same_place = replace(settings, func=where(func) or settings.func)
    changed = changed_parts(before, now)
    if not changed:
        return replace(same_place, func_hashes={**before, **now})
    moved = replace(settings, func=where(func), func_hashes=now)
    seen = run.seen_now()
    moved = replace(moved, old_scores=(seen.finished, seen.again))
    if not run.has_scores():
        return moved  # nothing that could be mixed
    if not func_changed:
        raise FunctionChanged(run.name, changed)
    same_version = settings.func_version in (None, run.func_version)
    if run.func_version is not None and same_version:
        raise UsageError(
            "f has changed, and ",
            OptionName("func_version"),
            f" {run.func_version!r} still names the one before, whose scores other runs share: "
            "give another one",
        )
    _log.warning(
        "f of the run %s has changed (%s): its champion is scored anew",
        run.name,
        ", ".join(changed),
    )
    return moved


# Nothing left to do.


def finished(run: Run, stored: RunSettings, settings: RunSettings) -> Result | None:
    """Return the result of a run that has nothing left to do; None for any other.

    Args:
        run: of which nothing needs to be written.
        stored: the settings that it had.
        settings: those with which it is to go on.
    """
    if settings.old_scores != stored.old_scores:
        return None
    if not _ended_at_a_cap(run.stop_reason or "", stored, settings):
        return None
    rule = None
    if settings.stop is not None:
        rule = as_rule(settings.stop)
    state = RunState(settings, rule)
    for trial in settings.direction.trials(run.history()):
        state.observe(trial)
    inherited, used = usage_of(state.trials.values(), run.last_inherited)
    for reply in run.unused_replies().values():
        used += reply.usage
    state.counts.take_over(inherited, used, run.answered_calls())
    stop = state.why_stop()
    examples = settings.examples
    waits_for_test = examples is not None and examples.test is not None
    if waits_for_test and state.untested(run.test_scores):
        return None
    if stop is None:
        return None
    reason = f"finished: {stop.reason}"
    for cap in state.caps():
        if cap.stop_reason == stop.reason:
            reason = f"finished: {_used_up(cap)}"
    if stop.reason == "stop_score":
        reason = f"finished: the best score reaches stop_score={settings.stop_score:g}"
    return result_of(run, state, reason)


def _ended_at_a_cap(reason: str, stored: RunSettings, settings: RunSettings) -> bool:
    """Whether a run ended at a cap that is no other one now."""
    if reason == "max_steps":
        return settings.max_steps <= stored.max_steps
    if reason == "stop_score":
        return settings.stop_score == stored.stop_score
    if reason.startswith("budget: "):
        return settings.budget == stored.budget
    return reason.startswith("stop: ")


def _used_up(cap: Cap) -> str:
    """Return what is used of a cap, and how to have more."""
    used, most = cap.used, cap.cap or 0
    twice = 2 * max(used, most, 1)
    if cap.name == "max_steps":
        more = f"max_steps={twice:g} (--steps {twice:g})"
        return f"{used:g} of {most:g} steps; give {more} for more"
    what = cap.name.replace("_", " ")
    flag = f"--max-{cap.name}"
    if cap.name == "stale_steps":
        flag = "--stale-steps"
    budget = {cap.name: round(twice, 6)}
    more = f"budget={budget} ({flag} {twice:g})"
    return f"{used:g} of {most:g} {what}; give {more} for more"
