"""The command `llm-optimize mcp`: runs as tools for coding agents, by the Model Context Protocol on stdio.

Runs go on in the background, each in a process of its own; they end with the server, and everything is kept, so that
`resume_run` goes on with them.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import llm_optimize

from ._cli_common import DEFAULT_STORE, StoreOption
from ._cli_jobs import Jobs
from .errors import LlmOptimizeError, MissingExtra, UsageError
from .records import Budget, Limits, Trial, rank
from .text import clip, one_line, visible

if TYPE_CHECKING:
    from mcp.server import MCPServer

    from .store import RunInfo, Store

_INSTRUCTIONS = """\
Optimize a text, a program or parameters: a chat model (or random mutation) writes candidates x, and a Python function f
of the user's scores them; higher is better. Begin with start_run, look with follow_run until the state is "ended", take
the result with best_of_run. Runs go on in the background, are stored, and can be resumed."""
STOPPED = ("interrupted", "stopped by a watcher")  # why a run ended that somebody stopped
_MAX_TRIALS = 30  # in one answer
_MAX_FEEDBACK_CHARS = 300
_MAX_X_CHARS = 100_000
_MAX_RUNS = 50
_MAX_WAIT_SECS = 60.0
_LOOK_EVERY_SECS = 0.25


@dataclass(frozen=True)
class Options:
    """What a run may be told besides; as for `optimize.run`."""

    question: str = "What is a better x?"
    base_url: str | None = None
    stop_score: float | None = None
    search: str = "best"
    workers: int = 1
    timeout_secs: float = 600.0
    sandbox: str = "process"
    limits: Limits | None = None
    space: dict[str, Any] | None = None
    seed: int | None = None


class Tools:
    """The tools; each answers with plain data of bounded size, or with one sentence that says what is wrong."""

    def __init__(self, store: str) -> None:
        """Take the database of the runs."""
        self._url = store
        self.jobs = Jobs()

    async def start_run(
        self,
        func: str,
        task: str,
        x0: str | dict[str, Any] | list[str | dict[str, Any]] | None = None,
        steps: int = 10,
        model: str | None = None,
        name: str | None = None,
        budget: Budget | None = None,
        options: Options | None = None,
    ) -> dict[str, Any]:
        """Start a run in the background and return its name.

        Args:
            func: f, as FILE.py:NAME or MODULE:NAME. f(x) returns a number, higher is better, or (number, feedback).
            task: what is wanted, in words, for the model to read.
            x0: the first candidate, or a list of several; a text, or an object of parameters.
            steps: how many candidates are proposed beyond x0.
            model: a chat model's name, or "mutation" for random changes without any model, key or cost.
            name: of the run; one is made up.
            budget: caps besides steps: scorings, seconds, calls, tokens, usd, stale_steps.
            options: question, base_url, stop_score, search (best, chat), workers, timeout_secs (of one f(x)), sandbox
                (process, namespace, auto, inline), limits, seed, and space: parameters by name, each like
                {"kind": "float", "low": 0.001, "high": 1, "log": true}, {"kind": "int", "low": 1, "high": 9} or
                {"kind": "choice", "options": ["a", "b"]}.
        """
        told = asdict(options or Options())
        job = {"verb": "run", "store": self._url, "func": func, "task": task, "x0": x0, "steps": steps, "model": model}
        with _in_a_sentence():
            told["space"] = _complete(told["space"])
            given = {"name": name, "budget": asdict(budget) if budget else None, "options": told}
            return {"name": await self.jobs.start({**job, **given}), "state": "running"}

    async def resume_run(
        self, name: str, steps: int | None = None, model: str | None = None, func: str | None = None
    ) -> dict[str, Any]:
        """Go on with a run that was stopped, or give one that ended more steps; nothing paid for is done again.

        Args:
            name: of the run.
            steps: all steps of the run, those done included; None leaves it as it was.
            model: another one than before.
            func: where f is now, where it has moved.
        """
        job = {"verb": "resume", "store": self._url, "name": name, "steps": steps, "model": model, "func": func}
        with _in_a_sentence():
            return {"name": await self.jobs.start(job), "state": "running"}

    async def follow_run(self, name: str, since: int = 0, wait_secs: float = 0.0) -> dict[str, Any]:
        """Say how a run stands: its state, its best trial, and the trials that were finished since the last look.

        Args:
            name: of the run.
            since: next_since of the last answer; 0 shows all from the first, at most 30 in an answer.
            wait_secs: wait until there is something new, at most so long (60 at the most).
        """
        until = time.monotonic() + min(wait_secs, _MAX_WAIT_SECS)
        with _in_a_sentence():
            while True:
                info = self._standing(name)
                state = self._state(name, info.stop_reason)
                if info.trials > since or state != "running" or time.monotonic() >= until:
                    break
                await asyncio.sleep(_LOOK_EVERY_SECS)
            trials = self._trials(name)
        best = max((trial for trial in trials if trial.scored), key=rank, default=None)
        new = trials[max(0, since) :][:_MAX_TRIALS]
        job = self.jobs.get(name)
        return {
            "name": name,
            "state": state,
            "stop_reason": one_line(info.stop_reason or "", 400),
            "error": job.error if job else "",
            "finished_trials": len(trials),
            "best": _line_of(best) if best else None,
            "trials": [_line_of(trial) for trial in new],
            "next_since": max(0, since) + len(new),
        }

    async def best_of_run(self, name: str) -> dict[str, Any]:
        """Return the best x of a run with its score, feedback and trial number."""
        with _in_a_sentence():
            trials = self._trials(name)
            best = max((trial for trial in trials if trial.scored), key=rank, default=None)
            if best is None:
                raise LlmOptimizeError(f"no trial of the run {name!r} has a score yet: look with follow_run")
        x = best.x if not isinstance(best.x, str) else clip(best.x, _MAX_X_CHARS)
        if len(json.dumps(x, default=repr)) > 6 * _MAX_X_CHARS:  # of a dict
            x = clip(json.dumps(x, default=repr), _MAX_X_CHARS)
        return {**_line_of(best), "x": x, "metrics": dict(best.metrics)}

    async def stop_run(self, name: str, at_once: bool = False) -> dict[str, Any]:
        """Stop a run; it is kept, and resume_run goes on with it.

        Args:
            name: of the run.
            at_once: do not wait for the trials in flight; they are done again by resume_run. Only for runs that were
                started or resumed by this server.
        """
        with _in_a_sentence(), self._store() as store:
            store.steer(name, "stop")
        job = self.jobs.get(name)
        if at_once:
            with _in_a_sentence():
                if job is None:
                    raise UsageError(f"the run {name!r} was not started here: stop it without at_once")
            job.interrupt()
            await asyncio.to_thread(job.wait)
            return {"name": name, "state": "stopped"}
        return {"name": name, "state": "stopping: it ends after the trials in flight; look with follow_run"}

    async def list_runs(self) -> dict[str, Any]:
        """List the last 50 runs of the store, newest first."""
        with _in_a_sentence():
            with self._store() as store:
                runs = store.runs()
        return {"runs": [self._info(info) for info in reversed(runs[-_MAX_RUNS:])]}

    def _info(self, info: RunInfo) -> dict[str, Any]:
        return {
            "name": info.name,
            "state": self._state(info.name, info.stop_reason),
            "finished_trials": info.trials,
            "best_score": info.best_score,
            "task": one_line(info.settings["task"]["description"], 100),
        }

    @contextmanager
    def _store(self) -> Iterator[Store]:
        with closing(llm_optimize.store.Store(self._url, create=False)) as store:
            yield store

    def _standing(self, name: str) -> RunInfo:
        with self._store() as store:
            store.run(name)  # raises where there is none
            return next(info for info in store.runs() if info.name == name)

    def _trials(self, name: str) -> list[Trial]:
        """Return the finished trials in the order in which they were finished."""
        with self._store() as store:
            return store.run(name).trials()

    def _state(self, name: str, stop_reason: str | None) -> str:
        job = self.jobs.get(name)
        if job is not None and job.running:
            return "running"
        if job is not None and job.error:
            return "failed"
        if stop_reason is not None:
            return "stopped" if stop_reason in STOPPED else "ended"
        return "stopped" if job is not None else "not ended: it runs elsewhere, or was interrupted"


def _line_of(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "status": trial.status.value,
        "score": trial.score,
        "source": one_line(trial.source, 80),
        "parent": trial.parent,
        "feedback": clip(visible(trial.feedback), _MAX_FEEDBACK_CHARS),
    }


def _complete(space: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return a space in the form that is stored. Raises UsageError for what is none."""
    if space is None:
        return None
    try:
        whole = {name: {"description": "", **parameter} for name, parameter in space.items()}
        return llm_optimize.space.as_space(whole).to_json()
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"the space cannot be read ({error!r}): each parameter is like "
            '{"kind": "float", "low": 0.1, "high": 1}, {"kind": "int", ...} or {"kind": "choice", "options": [...]}'
        ) from error


@contextmanager
def _in_a_sentence() -> Iterator[None]:
    """Make of an error of ours what the agent is told."""
    from mcp.server.mcpserver.exceptions import ToolError

    try:
        yield
    except LlmOptimizeError as error:
        raise ToolError(visible(str(error))) from error


def server(tools: Tools) -> MCPServer[None]:
    """Return the server with its tools; at its end the runs that it started are stopped."""
    from mcp.server import MCPServer

    @asynccontextmanager
    async def lifespan(_: MCPServer[None]) -> AsyncIterator[None]:
        try:
            yield
        finally:
            tools.jobs.close()

    made = MCPServer(
        "llm-optimize",
        instructions=_INSTRUCTIONS,
        version=llm_optimize.__version__,
        log_level="WARNING",
        lifespan=lifespan,
    )
    for tool in (
        tools.start_run,
        tools.follow_run,
        tools.stop_run,
        tools.resume_run,
        tools.best_of_run,
        tools.list_runs,
    ):
        made.add_tool(tool)
    return made


def mcp(store: StoreOption = DEFAULT_STORE) -> None:
    """Serve runs to coding agents by the Model Context Protocol, on standard input and output."""
    tools = Tools(store)
    try:
        made = server(tools)
    except ImportError as error:
        raise MissingExtra('llm-optimize mcp needs the SDK: pip install "llm_optimize[mcp]"') from error

    def terminated(number: int, frame: object) -> None:
        tools.jobs.interrupt()
        os._exit(128 + number)

    signal.signal(signal.SIGTERM, terminated)
    made.run("stdio")
