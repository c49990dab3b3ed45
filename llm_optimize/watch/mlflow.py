"""MLflow watcher: metrics by step, candidates as artifacts, settings and prices as params.

MLflow may be slow, far away or down. So a thread of its own talks to it, behind a queue of bounded
length: the run never waits, except for `wait_secs` at its end until the queue is empty. MLflow's
own asynchronous logging would not do: it covers metrics, params and tags, while a run still waits
for the server when it is made, found, nested, ended, or logs an artifact.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Mapping
from types import TracebackType

from ..errors import UnknownName, require
from ..records import Event, RunEnded, RunStarted
from ..redaction import without_credentials
from ..text import one_line
from ._mlflow_run import ARTIFACTS, MlflowRun, Target

__all__ = ["Tracker"]

_log = logging.getLogger("llm_optimize")
_MAX_WAITING = 10_000  # events


class Tracker:
    """A watcher that writes runs to MLflow, one after another, not two at a time.

    Each run is a run of MLflow. It is nested below the run that is active where the Tracker is
    made, or else below one named `parent`, so that all runs of a comparison stand together. A
    resumed run goes on in its old one. When MLflow fails, that is logged once, and the rest of the
    run is not tracked.

    with Tracker("primes", parent="model against mutation") as tracker:
        for model in ("gpt-5-mini", "mutation"):
            optimize.run(..., model=model, callbacks=[tracker])

    Args:
        experiment: its name; it is made when it does not exist.
        tracking_uri: of MLflow; None takes MLflow's own settings.
        parent: name of the run below which the runs are nested; made when it does not exist.
        artifacts: which x become artifacts: "champions", "all" or "none".
        params: more of them, for example {"price": "0.25 and 2 dollars a million"}.
        wait_secs: how long the end of a run waits until all is written.

    Raises MissingExtra where MLflow is not installed, and UnknownName for other artifacts.
    """

    def __init__(
        self,
        experiment: str = "llm_optimize",
        *,
        tracking_uri: str | None = None,
        parent: str | None = None,
        artifacts: str = "champions",
        params: Mapping[str, object] | None = None,
        wait_secs: float = 30.0,
    ) -> None:
        require("mlflow", needed_by="Tracker")
        import mlflow

        if artifacts not in ARTIFACTS:
            raise UnknownName("choice of artifacts", artifacts, ARTIFACTS)
        parent_id = experiment_id = None
        active = mlflow.active_run()
        if active is not None:
            parent_id = active.info.run_id
            experiment_id = active.info.experiment_id
        self._target = Target(
            experiment=experiment,
            tracking_uri=tracking_uri or mlflow.get_tracking_uri(),
            parent=parent,
            parent_id=parent_id,
            experiment_id=experiment_id,
            artifacts=artifacts,
            params=dict(params or {}),
        )
        self._wait_secs = wait_secs
        # A threading.Event in the queue is set by the thread as soon as it arrives there.
        self._events: queue.Queue[Event | threading.Event] = queue.Queue(_MAX_WAITING)
        self._thread: threading.Thread | None = None
        self._was_full = False

    def __call__(self, event: Event) -> None:
        """Put an event into the queue; at the end of a run, wait until the queue is empty."""
        self._put(event)
        if isinstance(event, RunEnded):
            self._flush()

    def _put(self, event: Event | threading.Event) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._work, name="llm_optimize mlflow", daemon=True
            )
            self._thread.start()
        try:
            self._events.put_nowait(event)
        except queue.Full:
            if not self._was_full:
                _log.warning(
                    "MLflow is too slow: %d events wait for it, further ones are dropped",
                    _MAX_WAITING,
                )
            self._was_full = True

    def _flush(self) -> None:
        done = threading.Event()
        self._put(done)
        if not done.wait(self._wait_secs):
            _log.warning(
                "MLflow has not taken everything within %g s; the run goes on without it",
                self._wait_secs,
            )

    def close(self) -> None:
        """Wait until all is written. May be called again."""
        if self._thread is not None:
            self._flush()

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()

    def _work(self) -> None:
        """Write events until the program ends; a run for which MLflow fails is given up."""
        run: MlflowRun | None = None
        while True:
            event = self._events.get()
            if isinstance(event, threading.Event):
                event.set()
                continue
            try:
                if isinstance(event, RunStarted):
                    run = MlflowRun(self._target, event)
                elif run is not None:
                    run.log(event)
            # MLflow, its database and its server raise exceptions of many kinds.
            except Exception as error:
                _log.error(
                    "this run is no longer tracked: MLflow at %s failed: %s",
                    self._target.shown_uri,
                    one_line(without_credentials(str(error)), 500),
                )
                run = None
