"""One run of MLflow, written by the thread of a `watch.mlflow.Tracker`."""

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
_MAX_BATCH = 900  # metrics at a time; MLflow takes 1,000
_MAX_PARAM_BATCH = 90
_NOT_IN_A_NAME = re.compile(r"[^\w\-. /]", re.ASCII)
_KEY_TAG, _RUN_TAG, _STORE_TAG = (
    "llm_optimize.key",
    "llm_optimize.run",
    "llm_optimize.store",
)
_PARENT_TAG = "llm_optimize.parent"
_NESTED_TAG = "mlflow.parentRunId"  # MLflow's own


@dataclass(frozen=True)
class Wanted:
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
    """A run as MLflow has it; every method may raise whatever MLflow raises."""

    def __init__(self, wanted: Wanted, event: RunStarted) -> None:
        """Find the run that this one goes on with, or make a new one; write what is known so far."""
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(wanted.tracking_uri)
        self._wanted = wanted
        self._view = RunView()
        self._experiment = wanted.experiment_id or self._experiment_named(
            wanted.experiment
        )
        self._parent = wanted.parent_id or (
            self._parent_named(wanted.parent) if wanted.parent else None
        )
        settings, created_at = _stored(event)
        key = f"{event.store} {event.name} {created_at}"
        self._id, known = self._run_of(
            event, hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
        )
        self._write_params({**_params(event, settings), **wanted.params})
        if wanted.artifacts != "none":
            self._client.log_text(
                self._id, json.dumps(settings, indent=2), "settings.json"
            )
        self._catch_up(event.trials, known)

    def _catch_up(self, trials: Sequence[Trial], known: Collection[int]) -> None:
        """Learn from the trials of earlier sessions, and write those that MLflow does not have."""
        counts = Counts(first_trials=0)
        for trial in trials:
            counts.observe(trial)
            self._view.update(
                TrialFinished(
                    trial, counts.champion is trial, self._view.usage + trial.usage
                )
            )
            if trial.number not in known:
                self._write_trial(trial)

    # Runs of MLflow.

    def _experiment_named(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name))
            except MlflowException:  # another program was faster
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return str(found.experiment_id)

    def _found(self, tag: str, value: str) -> str | None:
        runs = self._client.search_runs(
            [self._experiment], f"tags.`{tag}` = '{value}'", max_results=1
        )
        return str(runs[0].info.run_id) if runs else None

    def _parent_named(self, name: str) -> str:
        value = hashlib.blake2b(
            name.encode(), digest_size=16
        ).hexdigest()  # a filter has no quoting
        return self._again(self._found(_PARENT_TAG, value)) or self._new(
            name, {_PARENT_TAG: value}
        )

    def _again(self, run_id: str | None) -> str | None:
        if run_id is not None:
            self._client.update_run(run_id, status="RUNNING")
        return run_id

    def _new(self, name: str, tags: Mapping[str, str]) -> str:
        run = self._client.create_run(
            self._experiment, run_name=one_line(name, 250), tags=dict(tags)
        )
        return str(run.info.run_id)

    def _run_of(self, event: RunStarted, key: str) -> tuple[str, set[int]]:
        """Return the run of MLflow, and the trials that it has."""
        found = self._again(self._found(_KEY_TAG, key))
        if found is not None:
            return found, {
                metric.step
                for metric in self._client.get_metric_history(found, "seconds")
            }
        tags = {
            _KEY_TAG: key,
            _RUN_TAG: one_line(event.name, 250),
            _STORE_TAG: without_credentials(event.store),
        }
        nested = {_NESTED_TAG: self._parent} if self._parent else {}
        return self._new(event.name, {**tags, **nested}), set()

    # What is written.

    def log(self, event: Event) -> None:
        """Write an event."""
        self._view.update(event)
        match event:
            case TrialFinished():
                self._write_trial(event.trial)
            case CallFailed():
                self._write_metrics(
                    {"failed_calls": float(self._view.failed_calls)}, event.number
                )
            case RunEnded():
                self._end(event.result.stop_reason)

    def _write_trial(self, trial: Trial) -> None:
        best, usage = self._view.champion, self._view.usage
        numbers = {
            "score": trial.score,
            "best": best.score if best is not None else None,
            "seconds": trial.seconds,
            "failures": float(self._view.failures),
            "calls": float(usage.calls),
            "tokens": float(usage.tokens),
            "cost_usd": usage.cost_usd,
            **{f"metric/{name}": value for name, value in trial.metrics.items()},
        }
        self._write_metrics(numbers, trial.number, trial.finished_at)
        champion = best is not None and best.number == trial.number
        if trial.x is not None and (
            self._wanted.artifacts == "all"
            or (champion and self._wanted.artifacts != "none")
        ):
            folder = "champions" if champion else "others"
            self._client.log_text(
                self._id,
                storable(show_x(trial.x)),
                f"{folder}/trial_{trial.number:05d}.txt",
            )

    def _write_metrics(
        self, numbers: Mapping[str, float | None], step: int, at: float = 0.0
    ) -> None:
        from mlflow.entities import Metric

        now = int(1000 * (at or time.time()))
        known = ((name, value) for name, value in numbers.items() if value is not None)
        metrics = [
            Metric(_name(name), float(value), now, step) for name, value in known
        ]
        for batch in _parts(metrics, _MAX_BATCH):
            self._client.log_batch(self._id, metrics=batch)

    def _write_params(self, values: Mapping[str, object]) -> None:
        """Write params that are not there yet: MLflow lets none be changed."""
        from mlflow.entities import Param

        there = self._client.get_run(self._id).data.params
        named = {
            _name(name): clip(storable(str(value)), _MAX_PARAM_CHARS)
            for name, value in values.items()
        }
        params = [
            Param(name, value) for name, value in named.items() if name not in there
        ]
        for batch in _parts(params, _MAX_PARAM_BATCH):
            self._client.log_batch(self._id, params=batch)

    def _end(self, stop_reason: str) -> None:
        self._client.set_tag(
            self._id, "llm_optimize.stop_reason", one_line(stop_reason, 400)
        )
        best = self._view.champion
        if best is not None:
            self._client.set_tag(self._id, "llm_optimize.best_trial", str(best.number))
        self._client.set_terminated(
            self._id, "FAILED" if stop_reason.startswith("error") else "FINISHED"
        )
        if self._parent is not None and self._wanted.parent_id is None:
            self._client.set_terminated(self._parent, "FINISHED")


def _stored(event: RunStarted) -> tuple[Mapping[str, Any], float]:
    """Return the settings of a run, and when it was made."""
    with closing(Store(event.store, create=False)) as store:
        settings = store.run(event.name).settings
        created_at = next(
            info.created_at for info in store.runs() if info.name == event.name
        )
    return settings, created_at


def _params(event: RunStarted, settings: Mapping[str, Any]) -> dict[str, object]:
    """Return what is to be compared between runs: settings that say something, and the price of the model."""
    flat = dict(_flat({**settings, "max_steps": event.max_steps}))
    left_out = ("x0", "task.system_prompt", "task.human_prompt", "is_chat")
    params = {
        name: value
        for name, value in flat.items()
        if value not in (None, "", [], ()) and name not in left_out
    }
    model, base_url = settings.get("model"), settings.get("base_url")
    price = (
        Chat(model, base_url=base_url).price
        if model and settings.get("is_chat", True)
        else None
    )
    if price is not None:
        params |= {
            f"price.{name}": value
            for name, value in vars(price).items()
            if value is not None
        }
    return params


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flat(part, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _name(text: str) -> str:
    """Return a name that MLflow takes."""
    return _NOT_IN_A_NAME.sub("_", text)[:240].strip("/. ") or "_"


def _parts(items: list[Any], size: int) -> Iterator[list[Any]]:
    yield from (items[at : at + size] for at in range(0, len(items), size))
