"""One run in MLflow, written by the thread of a `watch.mlflow.Tracker`.

A run is found again by a digest of its store, name and time of creation, kept in a tag: so a
resumed run goes on in its old one, and trials that MLflow has are not written twice.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from ..llm import Chat
from ..records import (
    CallFailed,
    Counts,
    Event,
    RunEnded,
    RunStarted,
    Trial,
    TrialFinished,
)
from ..redaction import without_credentials
from ..store import Store
from ..text import clip, one_line, show_x, storable
from .run_view import RunView

ARTIFACTS = ("champions", "all", "none")
_MAX_PARAM_CHARS = 500  # what every version of MLflow takes
_MAX_BATCH = 900  # metrics at once; MLflow takes 1,000
_MAX_PARAM_BATCH = 90
_NOT_IN_A_NAME = re.compile(r"[^\w\-. /]", re.ASCII)
_KEY_TAG = "llm_optimize.key"
_RUN_TAG = "llm_optimize.run"
_STORE_TAG = "llm_optimize.store"
_PARENT_TAG = "llm_optimize.parent"
_STOP_TAG = "llm_optimize.stop_reason"
_BEST_TAG = "llm_optimize.best_trial"
_NESTED_TAG = "mlflow.parentRunId"  # MLflow's own
_NO_PARAMS = ("x0", "task.system_prompt", "task.human_prompt", "is_chat", "old_scores")


@dataclass(frozen=True)
class Target:
    """Where a Tracker writes, and what."""

    experiment: str
    tracking_uri: str
    parent: str | None
    parent_id: str | None
    experiment_id: str | None  # of the parent that is active
    artifacts: str
    params: Mapping[str, object] = field(default_factory=dict)

    @property
    def shown_uri(self) -> str:
        """The address without a password."""
        return without_credentials(self.tracking_uri)


class MlflowRun:
    """A run in MLflow: an old one of the same key, or a new one.

    Every method may raise whatever MLflow raises.

    Args:
        target: where to write.
        event: the start of the run; all trials so far are written at once.
    """

    def __init__(self, target: Target, event: RunStarted) -> None:
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(target.tracking_uri)
        self._target = target
        self._view = RunView(direction=event.direction)
        experiment = target.experiment_id
        self._experiment = experiment or self._experiment_named(target.experiment)
        self._parent = target.parent_id
        if self._parent is None and target.parent:
            value = _digest(target.parent)  # a filter of MLflow cannot quote every name
            found = self._reopened(_PARENT_TAG, value)
            self._parent = found or self._created(target.parent, {_PARENT_TAG: value})

        settings, created_at = _stored(event)
        key = _digest(f"{event.store} {event.name} {created_at}")
        self._id, known = self._run_of(event, key)
        self._write_params({**_params(event, settings), **target.params})
        if target.artifacts != "none":
            text = json.dumps(settings, indent=2)
            self._client.log_text(self._id, text, "settings.json")
        self._catch_up(event.trials, known)

    def _catch_up(
        self,
        trials: Sequence[Trial],
        known: Collection[int],
    ) -> None:
        """Learn from the trials of earlier sessions, and write those that MLflow does not have."""
        counts = Counts(0, self._view.direction)
        for trial in trials:
            counts.observe(trial)
            usage = self._view.usage + trial.usage
            is_champion = counts.champion is trial
            self._view.update(TrialFinished(trial, is_champion, usage))
            if trial.number not in known:
                self._write_trial(trial)

    # Finding and making runs.

    def _experiment_named(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name))
            except MlflowException:  # another program has made it meanwhile
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return str(found.experiment_id)

    def _run_of(
        self,
        event: RunStarted,
        key: str,
    ) -> tuple[str, set[int]]:
        """Return the id of the run, and the numbers of the trials that it has."""
        found = self._reopened(_KEY_TAG, key)
        if found is not None:
            history = self._client.get_metric_history(found, "seconds")
            return found, {metric.step for metric in history}
        tags = {
            _KEY_TAG: key,
            _RUN_TAG: one_line(event.name, 250),
            _STORE_TAG: without_credentials(event.store),
        }
        if self._parent:
            tags[_NESTED_TAG] = self._parent
        return self._created(event.name, tags), set()

    def _reopened(self, tag: str, value: str) -> str | None:
        """Return the id of the run with this tag, running again; None without one."""
        runs = self._client.search_runs(
            [self._experiment], f"tags.`{tag}` = '{value}'", max_results=1
        )
        if not runs:
            return None
        run_id = str(runs[0].info.run_id)
        self._client.update_run(run_id, status="RUNNING")
        return run_id

    def _created(
        self,
        name: str,
        tags: dict[str, str],
    ) -> str:
        shown = one_line(name, 250)
        run = self._client.create_run(self._experiment, run_name=shown, tags=tags)
        return str(run.info.run_id)

    # Writing.

    def log(self, event: Event) -> None:
        """Write an event."""
        self._view.update(event)
        match event:
            case TrialFinished():
                self._write_trial(event.trial)
            case CallFailed():
                failed = float(self._view.failed_calls)
                self._write_metrics({"failed_calls": failed}, event.number)
            case RunEnded():
                self._end(event.result.stop_reason)

    def _write_trial(self, trial: Trial) -> None:
        best, usage = self._view.champion, self._view.usage
        numbers = {
            "score": trial.score,
            "best": None if best is None else best.score,
            "seconds": trial.seconds,
            "failures": float(self._view.failures),
            "calls": float(usage.calls),
            "tokens": float(usage.tokens),
            "cost_usd": usage.cost_usd,
        }
        for name, value in trial.metrics.items():
            numbers[f"metric/{name}"] = value
        self._write_metrics(numbers, trial.number, trial.finished_at)
        is_champion = best is not None and best.number == trial.number
        self._write_x(trial, is_champion)

    def _write_x(self, trial: Trial, is_champion: bool) -> None:
        wanted = self._target.artifacts
        if trial.x is None or wanted == "none":
            return
        if wanted == "champions" and not is_champion:
            return
        folder = "champions" if is_champion else "others"
        file = f"{folder}/trial_{trial.number:05d}.txt"
        text = storable(show_x(trial.x))
        self._client.log_text(self._id, text, file)

    def _write_metrics(
        self,
        numbers: Mapping[str, float | None],
        step: int,
        at: float = 0.0,
    ) -> None:
        from mlflow.entities import Metric

        now_ms = int(1000 * (at or time.time()))
        metrics = []
        for name, value in numbers.items():
            if value is not None:
                metric = Metric(_name(name), float(value), now_ms, step)
                metrics.append(metric)
        for batch in _batches(metrics, _MAX_BATCH):
            self._client.log_batch(self._id, metrics=batch)

    def _write_params(self, values: Mapping[str, object]) -> None:
        """Write params that are not there yet: MLflow lets none be changed."""
        from mlflow.entities import Param

        there = self._client.get_run(self._id).data.params
        new = {}
        for key, value in values.items():
            name = _name(key)
            if name not in there:
                text = clip(storable(str(value)), _MAX_PARAM_CHARS)
                new[name] = Param(name, text)
        for batch in _batches(list(new.values()), _MAX_PARAM_BATCH):
            self._client.log_batch(self._id, params=batch)

    def _end(self, stop_reason: str) -> None:
        self._client.set_tag(self._id, _STOP_TAG, one_line(stop_reason, 400))
        best = self._view.champion
        if best is not None:
            self._client.set_tag(self._id, _BEST_TAG, str(best.number))
        status = "FAILED" if stop_reason.startswith("error") else "FINISHED"
        self._client.set_terminated(self._id, status)
        if self._parent is not None and self._target.parent_id is None:
            self._client.set_terminated(self._parent, "FINISHED")


def _stored(event: RunStarted) -> tuple[Mapping[str, Any], float]:
    """Return the settings of a run, and when it was made."""
    with closing(Store(event.store, create=False)) as store:
        settings = store.run(event.name).settings
        info = next(info for info in store.runs() if info.name == event.name)
    return settings, info.created_at


def _params(
    event: RunStarted,
    settings: Mapping[str, Any],
) -> dict[str, object]:
    """Return what is to be compared between runs: settings with a value, and the model's price."""
    params: dict[str, object] = {}
    shown = {**settings, "max_steps": event.max_steps, "func_hashes": None}
    for name, value in _flat(shown):
        if value not in (None, "", [], ()) and name not in _NO_PARAMS:
            params[name] = value
    model = settings.get("model")
    if not model or not settings.get("is_chat", True):
        return params
    price = Chat(model, base_url=settings.get("base_url")).price
    if price is not None:
        for name, value in vars(price).items():
            if value is not None:
                params[f"price.{name}"] = value
    return params


def _flat(
    value: Any,
    name: str = "",
) -> Iterator[tuple[str, object]]:
    """Yield the leaves of nested mappings, each with its dotted name."""
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, part in value.items():
        inner = f"{name}.{key}" if name else str(key)
        yield from _flat(part, inner)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _name(text: str) -> str:
    """Return a name that MLflow takes."""
    return _NOT_IN_A_NAME.sub("_", text)[:240].strip("/. ") or "_"


def _batches(
    items: list[Any],
    size: int,
) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
