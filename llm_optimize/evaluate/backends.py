"""Backends: where f is called, in a sandbox on this machine or by the workers of an executor.

A backend takes one call of f and returns its outcome; what f returned is judged elsewhere
(`evaluation`). With stages or examples there are several functions to call, but one warm sandbox
process should serve them all. So they are packed into one `Dispatch`, and the x that is sent is an
encoded `Order`: x, which function, which example.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import LlmOptimizeError, SandboxUnavailable, UnknownName, UsageError
from ..records import Limits
from ..sandbox import (
    LEVELS,
    Call,
    Outcome,
    OutcomeStatus,
    call_in_worker,
    fault_of,
    make_parcel,
    open_sandbox,
)

# Time beyond its deadline that a scoring may be silent: for a worker to come up and to load f.
_MARGIN_SECS = 300.0
_MAX_LOST_IN_A_ROW = 3  # scorings, after which the executor is given up


@dataclass(frozen=True)
class Order:
    """What a `Dispatch` is to call: function number `stage` on x, or on x and an example."""

    x: Any
    stage: int
    part: str = ""  # of the examples; empty for a call without an example
    index: int = 0  # of the example in its part

    def encoded(self) -> list[Any]:
        """Return this as plain data, which a sandbox takes: it sends no objects."""
        if not self.part:
            return [self.x, self.stage]
        return [self.x, self.stage, self.part, self.index]


class Dispatch:
    """One function made of several; examples travel with it, once.

    Args:
        funcs: f(x), or f(x, example).
        parts: the examples by the name of their part.

    >>> dispatch = Dispatch([len, lambda x, example: x + example], {"train": ["!"]})
    >>> dispatch(Order("ab", 0).encoded()), dispatch(Order("ab", 1, "train", 0).encoded())
    (2, 'ab!')
    """

    def __init__(
        self, funcs: Sequence[Callable[..., Any]], parts: Mapping[str, Sequence[Any]]
    ) -> None:
        self._funcs = tuple(funcs)
        self._parts = dict(parts)
        self.__wrapped__ = self._funcs[-1]  # whose imports the sandbox looks for
        names = []
        for func in self._funcs:
            names.append(getattr(func, "__qualname__", type(func).__name__))
        self.__qualname__ = " and ".join(names)

    def __call__(self, encoded: Sequence[Any]) -> Any:
        order = Order(*encoded)
        func = self._funcs[order.stage]
        if not order.part:
            return func(order.x)
        example = self._parts[order.part][order.index]
        return func(order.x, example)


@dataclass(frozen=True)
class BackendOptions:
    """How a backend is opened."""

    level: str  # of the sandbox
    limits: Limits
    hidden: tuple[str, ...]  # files that the sandbox does not show
    workers: int  # calls of f at a time
    executor: Executor | None = None


class Backend(Protocol):
    """Where f is called."""

    async def run(
        self, x: Any, timeout_secs: float, seed: int, on_loop: bool
    ) -> Outcome:
        """Return the outcome of f(x); cancelling this ends the call.

        With `on_loop`, f is async and may run on this event loop where no sandbox is wanted.
        """

    def close(self) -> None:
        """End all calls in flight."""


def open_backend(func: Callable[..., Any], options: BackendOptions) -> Backend:
    """Return the backend that calls func.

    Raises:
        UnknownName: there is no such level.
        UsageError: the executor is not an executor.
        FunctionUnusable: func cannot be sent to a process.
        SandboxUnavailable: this machine cannot isolate at that level.
    """
    executor = options.executor
    if executor is None or type(executor) is ThreadPoolExecutor:
        return LocalSandbox(func, options)
    if not isinstance(executor, Executor):
        raise UsageError(
            f"executor is a {type(executor).__name__}: give a concurrent.futures.Executor "
            "(with Dask: client.get_executor())"
        )
    if options.level not in LEVELS:
        raise UnknownName("sandbox", options.level, LEVELS)
    return ExecutorBackend(func, options, executor)


class LocalSandbox:
    """A sandbox on this machine, and threads that wait for it: its own or the user's pool."""

    def __init__(self, func: Callable[..., Any], options: BackendOptions) -> None:
        self._func = func
        self._sandbox = open_sandbox(
            options.level, func, options.limits, options.hidden
        )
        self._is_inline = options.level == "inline"
        self._own_threads: ThreadPoolExecutor | None = None
        self._threads = options.executor
        if not options.executor:
            self._own_threads = ThreadPoolExecutor(
                options.workers, thread_name_prefix="scoring"
            )
            self._threads = self._own_threads

    async def run(
        self, x: Any, timeout_secs: float, seed: int, on_loop: bool
    ) -> Outcome:
        """Call f in the sandbox, or on this loop where f is async and runs inline."""
        if on_loop and self._is_inline and self._own_threads is not None:
            return await self._run_on_loop(x, timeout_secs)
        call = Call(x, timeout_secs, seed)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, self._sandbox.run, call)
        except asyncio.CancelledError:
            call.stop.give()
            raise

    async def _run_on_loop(self, x: Any, timeout_secs: float) -> Outcome:
        """Await an async f on the caller's loop, so that it may share clients with its caller."""
        started_at = time.monotonic()
        try:
            async with asyncio.timeout(timeout_secs) as deadline:
                value = await self._func(x)
        except asyncio.CancelledError as error:
            # Either this task was cancelled, which must go on, or f raised it by itself.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return _raised(error, x, started_at)
        except Exception as error:  # whatever f raises is a failed trial
            if deadline.expired():
                seconds = time.monotonic() - started_at
                return Outcome(OutcomeStatus.TIMEOUT, seconds=seconds)
            return _raised(error, x, started_at)
        seconds = time.monotonic() - started_at
        return Outcome(OutcomeStatus.OK, value=value, seconds=seconds)

    def close(self) -> None:
        """End all calls in flight and the sandbox; a thread pool of the user's stays open."""
        self._sandbox.close()
        if self._own_threads is not None:
            self._own_threads.shutdown(wait=False, cancel_futures=True)


def _raised(error: BaseException, x: Any, started_at: float) -> Outcome:
    return Outcome(
        OutcomeStatus.RAISED,
        message=f"{type(error).__name__}: {error}",
        traceback=traceback.format_exc(limit=-5),
        fault=fault_of(error, x),
        seconds=time.monotonic() - started_at,
    )


class ExecutorBackend:
    """The workers of an executor; each opens a sandbox, keeps it warm, and keeps the deadline.

    f is sent with a call until some worker has it. From then on calls go out without f, and a
    worker that does not know it answers None; that call is repeated with f.

    A worker that dies may take its scoring with it. Nobody reports that, so a scoring is given up
    when it is over its deadline by a margin and no worker has answered for that long either. (In a
    long queue, an answer to another call is the sign that the executor still works.)

    Args:
        func: f.
        options: with the level of the sandbox that each worker opens.
        executor: it is not shut down here.
        margin_secs: how long beyond its deadline a scoring may be silent while all others are, too.
    """

    def __init__(
        self,
        func: Callable[..., Any],
        options: BackendOptions,
        executor: Executor,
        margin_secs: float = _MARGIN_SECS,
    ) -> None:
        self._parcel = make_parcel(func, options.level, options.limits, options.hidden)
        self._executor = executor
        self._margin_secs = margin_secs
        self._last_answer_at = time.monotonic()
        self._known = False  # whether some worker has f
        self._lost_in_a_row = 0  # scorings
        self._flying: set[asyncio.Future[Outcome | None]] = set()

    async def run(
        self,
        x: Any,
        timeout_secs: float,
        seed: int,
        on_loop: bool = False,
    ) -> Outcome:
        """Let a worker call f. A lost scoring is an outcome, a third in a row an error.

        Raises:
            SandboxUnavailable: the executor takes no work, or lost three scorings in a row.
            FunctionUnusable: a worker cannot load f.
        """
        parcels = [self._parcel]
        if self._known:
            parcels.insert(0, self._parcel.empty())
        for parcel in parcels:
            call = (parcel, x, timeout_secs, seed)
            try:
                outcome = await self._answer(call, timeout_secs)
            except _LostScoring as error:
                return self._count_lost(error)
            if outcome is not None:
                self._known = True
                self._lost_in_a_row = 0
                return outcome
        raise SandboxUnavailable(
            "a worker of the executor does not keep f: does it run this version of llm_optimize?"
        )

    async def _answer(
        self, call: tuple[Any, ...], timeout_secs: float
    ) -> Outcome | None:
        """Return a worker's answer, None when it does not know f; raise _LostScoring for none."""
        future = asyncio.wrap_future(self._submit(call))
        self._flying.add(future)
        submitted_at = time.monotonic()
        silence_secs = timeout_secs + self._margin_secs
        try:
            while not future.done():
                last_sign = max(submitted_at, self._last_answer_at)
                left_secs = last_sign + silence_secs - time.monotonic()
                if left_secs <= 0:
                    raise _LostScoring(f"no worker has answered for {silence_secs:g} s")
                await asyncio.wait([future], timeout=left_secs)
            self._last_answer_at = time.monotonic()
            return _result_of(future)
        finally:
            self._flying.discard(future)
            future.cancel()

    def _submit(self, call: tuple[Any, ...]) -> Future[Outcome | None]:
        try:
            return self._executor.submit(call_in_worker, open_sandbox, *call)
        except RuntimeError as error:  # broken or shut down; x is not to blame
            raise SandboxUnavailable(
                f"the executor takes no more scorings ({type(error).__name__}: {error}): "
                "resume the run with a new one"
            ) from error

    def _count_lost(self, error: _LostScoring) -> Outcome:
        self._lost_in_a_row += 1
        if self._lost_in_a_row >= _MAX_LOST_IN_A_ROW:
            raise SandboxUnavailable(
                f"the executor lost {self._lost_in_a_row} scorings in a row, the last because: "
                f"{error}; check its workers, then resume the run"
            ) from error
        message = f"the executor lost this scoring: {error}; what x did may have ended its worker"
        return Outcome(OutcomeStatus.KILLED, message=message)

    def close(self) -> None:
        """Cancel calls that wait; one that has begun ends at its deadline at the latest."""
        for future in list(self._flying):
            loop = future.get_loop()
            loop.call_soon_threadsafe(future.cancel)


class _LostScoring(Exception):
    """No worker reports what became of a scoring."""


def _result_of(future: asyncio.Future[Outcome | None]) -> Outcome | None:
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
