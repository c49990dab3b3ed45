"""Writing a run beside an event loop, which never waits for a disk.

One thread takes all writes that wait and commits them in one transaction. It begins at once when it is idle; whatever
arrives during a commit is the next group. So one waiting write costs one commit, and so do a hundred.

A write goes this way: a method of Writer makes the row and puts it in line (on the loop), the thread executes and
commits it, and asks the loop to wake those who wait for the group. The line is guarded by one lock, which is held for
a few bytecodes only, never during a statement. Whatever happens in the thread ends in an answer for each write that
it took: nobody waits for ever.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, cast

from ..errors import StoreError
from ..records import Message, Plan, Proposal, Reply, Trial
from . import _writes as writes
from ._writes import Write

if TYPE_CHECKING:
    from . import Store
    from ._run import Run

_log = logging.getLogger("llm_optimize")
_MAX_GROUP = (
    256  # rows of one transaction: those of 256 trials are written within some 10 ms
)
_SWITCH_SECS = 0.0005  # Python's own is 0.005

Outcome = int | BaseException | None


class Writer:
    """The writing methods of a run, as awaitables: each is done when its row survives a loss of power.

    A write is in line as soon as its method is called, and rows are written in the order of the calls. Whoever is
    cancelled while it waits does not take its write back. All methods may raise StoreError when awaited, as those of
    Run do, and at once when the run may not be written here (any more). They are called inside a running event loop.

    >>> async def begin(run: Run) -> int:
    ...     writer = run.writer()
    ...     await writer.plan(0, Plan(None))
    ...     return await writer.sent(0, 0, "gpt", [{"role": "user", "content": "hello"}])
    """

    def __init__(self, run: Run) -> None:
        """Take the run, which must be held."""
        self._run = run
        self._key = run.key
        self._line = _Line(run.store, run.name)
        self._close = weakref.finalize(
            self, self._line.close
        )  # a forgotten one writes what waits, too

    def close(self) -> None:
        """Write what waits, and end the thread; after that nothing can be written here. A second time does nothing."""
        self._line.close()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._line.closed

    def plan(self, number: int, plan: Plan) -> Awaitable[None]:
        """Write that trial `number` is begun, and what it builds on."""
        return self._put(writes.plan(self._key, number, plan), alone=False)

    def sent(
        self, trial: int, index: int, model: str, messages: Sequence[Message]
    ) -> Awaitable[int]:
        """Write a model call that is about to be sent; return its key."""
        key = self._put(writes.sent(self._key, trial, index, model, messages))
        return cast(Awaitable[int], key)

    def received(self, call: int, reply: Reply) -> Awaitable[None]:
        """Write the reply of a call, before anybody reads it."""
        return self._put(writes.received(call, reply))

    def call_failed(self, call: int, error: str) -> Awaitable[None]:
        """Write that a call ended without a reply."""
        return self._put(writes.call_failed(call, error))

    def propose(self, number: int, proposal: Proposal) -> Awaitable[None]:
        """Write the x of a trial, not yet scored."""
        return self._put(writes.propose(self._key, number, proposal))

    def judge(self, trial: Trial) -> Awaitable[None]:
        """Write what f said of a trial that is not finished yet, so that f need not be called again after a kill."""
        return self._put(writes.judge(self._key, trial))

    def finish(self, trial: Trial, order: int) -> Awaitable[None]:
        """Write a finished trial; `order` counts the finished ones, and is the order in which others learn of it.

        Raises UsageError at once when the trial's seed does not fit into 63 bits.
        """
        return self._put(writes.finish(self._key, self._run.func_version, trial, order))

    def score_again(self, trial: Trial, after: int) -> Awaitable[None]:
        """Write what further scorings of a finished trial came to, when `after` trials were finished."""
        return self._put(writes.score_again(self._key, trial, after))

    def end(self, stop_reason: str | None) -> Awaitable[None]:
        """Write why the run ended; None says that it goes on."""
        return self._put(writes.end(self._key, stop_reason))

    def test(self, scores: Mapping[int, float]) -> Awaitable[None]:
        """Write the scores of some trials on examples that no model has seen."""
        done = self._put(writes.test(self._key, scores))
        self._run.test_scores = dict(scores)
        return done

    def _put(self, write: Write, *, alone: bool = True) -> Awaitable[None]:
        self._run.check_held()
        return cast(Awaitable[None], self._line.put(write, alone))


class _Job(NamedTuple):
    """A write that waits, and who waits for it."""

    write: Write
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[int | None]


class _Line:
    """The writes that wait, and the thread that takes them; it knows no Writer, so that one can be forgotten."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._pid = os.getpid()
        self._changed = threading.Condition(threading.Lock())
        self._waiting: deque[_Job] = deque()
        self._taken: list[_Job] = []
        self._closing = False
        self._thread = threading.Thread(
            target=self._work, name=f"store of {name}", daemon=True
        )
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether nothing is taken any more; so it is in a forked child, where there is no thread."""
        return self._closing or os.getpid() != self._pid

    def put(self, write: Write, alone: bool) -> asyncio.Future[int | None]:
        """Put a write in line; one that is not to go alone waits for this turn of the loop to end.

        Raises StoreError when the line is closed.
        """
        loop = asyncio.get_running_loop()
        job = _Job(write, loop, loop.create_future())
        if self.closed:
            raise self._closed_error()
        with self._changed:
            if self._closing:
                raise self._closed_error()
            self._waiting.append(job)
            if alone:
                self._changed.notify()
        if not alone:
            loop.call_soon(self._wake)
        return job.done

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def _closed_error(self) -> StoreError:
        return StoreError(
            f"the writer of the run {self._name!r} is closed: write before close"
        )

    def close(self) -> None:
        """Write what waits, and end the thread. In a forked child nothing happens: the parent writes."""
        if os.getpid() != self._pid:
            return
        with self._changed:
            self._closing = True
            self._changed.notify()
        if (
            self._thread is not threading.current_thread()
        ):  # as when the garbage collector runs in it
            self._thread.join()

    # In the thread.

    def _work(self) -> None:
        while True:
            try:
                if not self._take():
                    return
                self._write_taken()
            except (
                BaseException
            ) as error:  # it reaches all who wait, and the next write tries anew
                self._fail(error)

    def _take(self) -> bool:
        """Wait for writes and take them; return whether there are any, or it was closed."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            while self._waiting and len(self._taken) < _MAX_GROUP:
                self._taken.append(self._waiting.popleft())
        return bool(self._taken)

    def _write_taken(self) -> None:
        with _switches.quick():
            outcomes = self._store.write_all([job.write for job in self._taken])
            _answer(self._taken, outcomes)
        self._taken = []

    def _fail(self, error: BaseException) -> None:
        """Give up all that waits: what the database refuses to one it refuses to all."""
        with self._changed:
            failed = [*self._taken, *self._waiting]
            self._taken = []
            self._waiting.clear()
        _answer(failed, [_for_waiters(error)] * len(failed))


def _for_waiters(error: BaseException) -> Exception:
    """Return what ends a task that waits, and neither its event loop nor, like a cancellation, the wrong thing."""
    if isinstance(error, Exception):
        return error
    ended = StoreError(
        f"the thread that writes the store was interrupted ({error!r}): resume the run"
    )
    ended.__cause__ = error
    return ended


def _answer(jobs: Sequence[_Job], outcomes: Sequence[Outcome]) -> None:
    """Wake those who wait: each event loop once, however many of its tasks there are."""
    of_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Job, Outcome]]] = {}
    for job, outcome in zip(jobs, outcomes, strict=True):
        of_loop.setdefault(job.loop, []).append((job, outcome))
    for loop, ended in of_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, ended)
        except RuntimeError:  # the loop is closed, nobody waits any more
            for job, outcome in ended:
                _log_untold(job, outcome)


def _resolve(ended: Sequence[tuple[_Job, Outcome]]) -> None:
    for job, outcome in ended:
        if job.done.cancelled():
            _log_untold(job, outcome)
        elif job.done.done():
            continue  # it was answered before the thread was interrupted
        elif isinstance(outcome, BaseException):
            job.done.set_exception(outcome)
        else:
            job.done.set_result(outcome)


def _log_untold(job: _Job, outcome: Outcome) -> None:
    """Say that a row is not written where nobody is left to be told by an exception."""
    if isinstance(outcome, BaseException):
        _log.error(
            "a row of the table %s was not written: %s", job.write.table, outcome
        )


# Python hands its lock (the GIL) from a busy thread to a waiting one after 5 ms, and SQLite's driver lets go of it
# several times a statement. Beside a busy event loop a group of twenty rows would so take hundreds of milliseconds.
# While a group is written it changes hands sooner. The interval is the process's, hence the count of groups: the first
# shortens it, the last one restores it, unless somebody else has changed it meanwhile.


class _Switches:
    """Who has shortened the interval."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as in a forked child, where no thread of the parent goes on."""
        self._lock = threading.Lock()
        self._groups = 0
        self._usual = self._short = 0.0

    @contextmanager
    def quick(self) -> Iterator[None]:
        with self._lock:
            if self._groups == 0:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(min(_SWITCH_SECS, self._usual))
                self._short = sys.getswitchinterval()
            self._groups += 1
        try:
            yield
        finally:
            with self._lock:
                self._groups -= 1
                if self._groups == 0 and sys.getswitchinterval() == self._short:
                    sys.setswitchinterval(self._usual)


_switches = _Switches()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_switches.forget)
