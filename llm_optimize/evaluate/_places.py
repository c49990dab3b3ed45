"""Where f is called: in a sandbox of this machine, or by the workers of an executor."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import LlmOptimizeError, SandboxUnavailable, UnknownName, UsageError
from ..records import Limits
from ..sandbox import (
    LEVELS,
    Call,
    Outcome,
    OutcomeStatus,
    call_there,
    make_parcel,
    open_sandbox,
)

_MARGIN_SECS = (
    300.0  # for a worker to come up and to load f, besides the deadline that it keeps
)
_LOST_IN_A_ROW = 3  # scorings, after which the executor is given up


@dataclass(frozen=True)
class Where:
    """How a place is opened."""

    level: str  # of the sandbox
    limits: Limits
    hidden: tuple[str, ...]
    workers: int
    executor: Executor | None = None


class Place(Protocol):
    """Where f is called."""

    async def run(
        self, x: Any, timeout_secs: float, seed: int, on_loop: bool
    ) -> Outcome:
        """Return what becomes of f(x); whoever cancels this ends the call. `on_loop`: f is async, and runs inline."""

    def close(self) -> None:
        """End all calls in flight."""


def open_place(func: Callable[..., Any], where: Where) -> Place:
    """Return the place that calls func.

    Raises UnknownName for an unknown level, UsageError for an executor that is none, FunctionUnusable for a func that
    cannot be sent, and SandboxUnavailable.
    """
    executor = where.executor
    if executor is None or type(executor) is ThreadPoolExecutor:
        return Here(func, where)
    if not isinstance(executor, Executor):
        raise UsageError(
            f"executor is a {type(executor).__name__}: give a concurrent.futures.Executor (of Dask: "
            "client.get_executor())"
        )
    if where.level not in LEVELS:
        raise UnknownName("sandbox", where.level, LEVELS)
    return Elsewhere(func, where, executor)


class Here:
    """A sandbox of this machine, and threads that wait for it: own ones, or those of the user's thread pool."""

    def __init__(self, func: Callable[..., Any], where: Where) -> None:
        """Open the sandbox."""
        self._func = func
        self._sandbox = open_sandbox(where.level, func, where.limits, where.hidden)
        self._is_inline = where.level == "inline"
        self._own = (
            None
            if where.executor
            else ThreadPoolExecutor(where.workers, thread_name_prefix="scoring")
        )
        self._threads = self._own or where.executor

    async def run(
        self, x: Any, timeout_secs: float, seed: int, on_loop: bool
    ) -> Outcome:
        """Call f in the sandbox, or on this loop where it is async and needs no sandbox."""
        if on_loop and self._is_inline and self._own is not None:
            return await self._run_on_loop(x, timeout_secs)
        call = Call(x, timeout_secs, seed)
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._sandbox.run, call
            )
        except asyncio.CancelledError:
            call.stop.give()
            raise

    async def _run_on_loop(self, x: Any, timeout_secs: float) -> Outcome:
        """Await an async f on the loop that the caller owns, so that it may share clients with its surroundings."""
        begun = time.monotonic()
        try:
            async with asyncio.timeout(timeout_secs) as deadline:
                value = await self._func(x)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return _raised(error, begun)  # by f itself
        except Exception as error:  # whatever f raises is a failed trial
            if deadline.expired():
                return Outcome(OutcomeStatus.TIMEOUT, seconds=time.monotonic() - begun)
            return _raised(error, begun)
        return Outcome(OutcomeStatus.OK, value=value, seconds=time.monotonic() - begun)

    def close(self) -> None:
        """End all calls in flight and the sandbox; a pool of the user's stays open."""
        self._sandbox.close()
        if self._own is not None:
            self._own.shutdown(wait=False, cancel_futures=True)


def _raised(error: BaseException, begun: float) -> Outcome:
    return Outcome(
        OutcomeStatus.RAISED,
        message=f"{type(error).__name__}: {error}",
        traceback=traceback.format_exc(limit=-5),
        seconds=time.monotonic() - begun,
    )


class Elsewhere:
    """The workers of an executor. Each opens a sandbox of its own, keeps it warm, and keeps the deadline."""

    def __init__(
        self,
        func: Callable[..., Any],
        where: Where,
        executor: Executor,
        margin_secs: float = _MARGIN_SECS,
    ) -> None:
        """Pack f; `margin_secs` is how long beyond its deadline a scoring may be silent while all others are, too."""
        self._parcel = make_parcel(func, where.level, where.limits, where.hidden)
        self._executor = executor
        self._margin_secs = margin_secs
        self._heard_at = time.monotonic()
        self._known = False  # whether some worker has f
        self._lost = 0  # scorings in a row
        self._flying: set[asyncio.Future[Outcome | None]] = set()

    async def run(
        self, x: Any, timeout_secs: float, seed: int, on_loop: bool = False
    ) -> Outcome:
        """Let a worker call f; f itself is sent where it is not known yet.

        A scoring that a worker lost is an outcome, the third in a row an error.

        Raises SandboxUnavailable then, and for an executor that takes no work; the FunctionUnusable of a worker.
        """
        for parcel in [*([self._parcel.empty()] if self._known else []), self._parcel]:
            try:
                outcome = await self._answer(
                    (parcel, x, timeout_secs, seed), timeout_secs
                )
            except _LostScoring as error:
                return self._count(error)
            if outcome is not None:
                self._known, self._lost = True, 0
                return outcome
        raise SandboxUnavailable(
            "a worker of the executor does not keep f: does it run this version of llm_optimize?"
        )

    async def _answer(
        self, words: tuple[Any, ...], timeout_secs: float
    ) -> Outcome | None:
        """Return what a worker says; None when it does not know f. Raises _LostScoring when none says anything."""
        future = asyncio.wrap_future(self._submitted(words))
        self._flying.add(future)
        begun = time.monotonic()
        try:
            while not future.done():
                silent_until = (
                    max(begun, self._heard_at) + timeout_secs + self._margin_secs
                )
                left = silent_until - time.monotonic()
                if left <= 0:
                    raise _LostScoring(
                        f"no worker has answered for {timeout_secs + self._margin_secs:g} s"
                    )
                await asyncio.wait([future], timeout=left)
            self._heard_at = time.monotonic()
            return _said(future)
        finally:
            self._flying.discard(future)
            future.cancel()

    def _submitted(self, words: tuple[Any, ...]) -> Any:
        try:
            return self._executor.submit(call_there, open_sandbox, *words)
        except (
            RuntimeError
        ) as error:  # it is broken, or was shut down; x is not to blame
            raise SandboxUnavailable(
                f"the executor takes no more scorings ({type(error).__name__}: {error}): resume the run with a new one"
            ) from error

    def _count(self, error: _LostScoring) -> Outcome:
        self._lost += 1
        if self._lost >= _LOST_IN_A_ROW:
            raise SandboxUnavailable(
                f"the executor lost {self._lost} scorings in a row, the last so: {error}; see to its workers, then "
                "resume the run"
            ) from error
        message = f"the executor lost this scoring: {error}; what x did may have ended its worker"
        return Outcome(OutcomeStatus.KILLED, message=message)

    def close(self) -> None:
        """Give up what waits; what a worker has begun ends there, at its deadline at the latest."""
        for future in list(self._flying):
            future.get_loop().call_soon_threadsafe(future.cancel)


class _LostScoring(Exception):
    """No worker says what became of a scoring."""


def _said(future: asyncio.Future[Outcome | None]) -> Outcome | None:
    if future.cancelled():
        raise _LostScoring("it was cancelled, as by a shutdown of the executor")
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, LlmOptimizeError):
        raise error
    if not isinstance(error, Exception):  # Ctrl-C reached the worker, too
        raise SandboxUnavailable(
            f"a worker was interrupted ({type(error).__name__}): resume the run"
        ) from error
    raise _LostScoring(f"{type(error).__name__}: {error}") from error
