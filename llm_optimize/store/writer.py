"""Writer of a run beside an event loop, which never waits for a disk.

One thread takes all writes that wait and commits them in one transaction (a group commit). It
begins as soon as there is one; what arrives during a commit is the next group. So one waiting write
costs one commit, and so do a hundred.

A write goes this way:

1. On the event loop, a method of Writer makes the row and puts it into the queue.
2. The thread takes the queue, executes its statements and commits them.
3. The thread schedules one callback on the event loop, which resolves the futures of the group.

One lock guards the queue. It is held for a few bytecodes, never during a statement. Whatever
happens in the thread resolves the future of each write that it took: no task waits for ever.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

from ..errors import StoreError
from ..records import Message, Plan, Proposal, Reply, Trial
from . import writes
from .writes import Write

if TYPE_CHECKING:
    from . import Store
    from .run import Run

_log = logging.getLogger("llm_optimize")
_MAX_GROUP = 256  # rows of one transaction; those of 256 trials take some 10 ms

Outcome = int | BaseException | None


class Writer:
    """The writing methods of a run as awaitables, each done when its row survives a loss of power.

    A write is in the queue as soon as its method is called, and rows are written in the order of
    the calls. To cancel the awaiting task does not take the write back. All methods may raise
    StoreError when awaited, as those of Run do, and at once when the run may not be written here
    (any more). They are called inside a running event loop. The run must be open for writing.

    >>> async def begin(run: Run) -> int:
    ...     writer = run.writer()
    ...     await writer.plan(0, Plan(None))
    ...     return await writer.sent(0, 0, "gpt", [{"role": "user", "content": "hello"}])
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._key = run.key
        self._queue = _Queue(run.store, run.name)
        # A writer that is garbage collected writes what waits, too.
        self._close = weakref.finalize(self, self._queue.close)

    def close(self) -> None:
        """Write what waits, and end the thread; after that nothing can be written here.

        A second time does nothing.
        """
        self._queue.close()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._queue.closed

    def plan(self, number: int, plan: Plan) -> Awaitable[None]:
        """Write that trial `number` is begun, and what it builds on."""
        write = writes.plan(self._key, number, plan)
        return self._put(write, alone=False)

    def sent(
        self,
        trial: int,
        index: int,
        model: str,
        messages: Sequence[Message],
    ) -> Awaitable[int]:
        """Write a model call that is about to be sent; return its key."""
        write = writes.sent(self._key, trial, index, model, messages)
        return cast(Awaitable[int], self._put(write))

    def received(self, call: int, reply: Reply) -> Awaitable[None]:
        """Write the reply of a call, before anybody reads it."""
        return self._put(writes.received(call, reply))

    def call_failed(self, call: int, error: str) -> Awaitable[None]:
        """Write that a call ended without a reply."""
        return self._put(writes.call_failed(call, error))

    def propose(self, number: int, proposal: Proposal) -> Awaitable[None]:
        """Write the x of a trial, not yet scored."""
        write = writes.propose(self._key, number, proposal)
        return self._put(write)

    def judge(self, trial: Trial) -> Awaitable[None]:
        """Write the evaluation of a trial that is not finished yet.

        f need not be called again for it after a kill.
        """
        write = writes.judge(self._key, trial)
        return self._put(write)

    def finish(self, trial: Trial, order: int) -> Awaitable[None]:
        """Write a finished trial.

        `order` counts the finished ones, and is the order in which others learn of it.

        Raises UsageError at once when the trial's seed does not fit into 63 bits.
        """
        func_version = self._run.func_version
        write = writes.finish(self._key, func_version, trial, order)
        return self._put(write)

    def score_again(self, trial: Trial, after: int) -> Awaitable[None]:
        """Write further scorings of a finished trial, when `after` trials were finished."""
        write = writes.score_again(self._key, trial, after)
        return self._put(write)

    def end(self, stop_reason: str | None) -> Awaitable[None]:
        """Write why the run ended; None means that it goes on."""
        return self._put(writes.end(self._key, stop_reason))

    def test(self, scores: Mapping[int, float]) -> Awaitable[None]:
        """Write the scores of some trials on examples that no model has seen."""
        done = self._put(writes.test(self._key, scores))
        self._run.test_scores = dict(scores)
        return done

    def _put(self, write: Write, *, alone: bool = True) -> Awaitable[None]:
        self._run.check_held()
        done = self._queue.put(write, alone)
        return cast(Awaitable[None], done)


class _Job(NamedTuple):
    """A write that waits, and the future of the task that waits for it."""

    write: Write
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[int | None]


class _Queue:
    """The writes that wait, and the thread that takes them.

    It has no reference to its Writer, since the thread would keep that alive for ever.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._pid = os.getpid()
        self._changed = threading.Condition(threading.Lock())
        self._waiting: deque[_Job] = deque()
        self._taken: list[_Job] = []
        self._closing = False
        title = f"store of {name}"
        self._thread = threading.Thread(target=self._work, name=title, daemon=True)
        self._thread.start()

    # A fork copies this object, but not the thread. In the child it is closed: nothing is taken,
    # and `close` must not wait for the lock, which the parent's thread may have held at the fork.

    @property
    def closed(self) -> bool:
        """Whether no more writes are taken."""
        return self._closing or os.getpid() != self._pid

    def put(self, write: Write, alone: bool) -> asyncio.Future[int | None]:
        """Put a write into the queue.

        The thread is woken at once, or, where the write is not to go alone, at the end of this turn
        of the loop: trials are begun several at a time, and then share a commit.

        Raises StoreError when the queue is closed.
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
        """Write what waits, and end the thread. In a forked child nothing happens."""
        if os.getpid() != self._pid:
            return
        with self._changed:
            self._closing = True
            self._changed.notify()
        # The garbage collector may run in the thread itself, which cannot wait for its own end.
        if self._thread is not threading.current_thread():
            self._thread.join()

    # In the thread.

    def _work(self) -> None:
        while True:
            try:
                if not self._take():
                    return
                self._write_taken()
            # All that wait for a write get the error, and the next write tries anew.
            except BaseException as error:
                self._fail(error)

    def _take(self) -> bool:
        """Wait for writes and take them; return False when there are none left and it is closed."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            while self._waiting and len(self._taken) < _MAX_GROUP:
                self._taken.append(self._waiting.popleft())
        return bool(self._taken)

    def _write_taken(self) -> None:
        group = [job.write for job in self._taken]
        outcomes = self._store.write_all(group)
        _resolve_all(self._taken, outcomes)
        self._taken = []

    def _fail(self, error: BaseException) -> None:
        """Give up all that waits: an error of the database would meet the next group as well."""
        with self._changed:
            failed = [*self._taken, *self._waiting]
            self._taken = []
            self._waiting.clear()
        outcome = _for_waiters(error)
        _resolve_all(failed, [outcome] * len(failed))


def _for_waiters(error: BaseException) -> Exception:
    """Return an exception that a future can hold.

    A KeyboardInterrupt would end the event loop, and a CancelledError would look like the
    cancellation of the waiting task.
    """
    if isinstance(error, Exception):
        return error
    ended = StoreError(
        f"the thread that writes the store was interrupted ({error!r}): resume the run"
    )
    ended.__cause__ = error
    return ended


def _resolve_all(jobs: Sequence[_Job], outcomes: Sequence[Outcome]) -> None:
    """Resolve the futures of a group: each event loop is woken once, however many tasks it has."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Job, Outcome]]] = {}
    for job, outcome in zip(jobs, outcomes, strict=True):
        ended = by_loop.setdefault(job.loop, [])
        ended.append((job, outcome))
    for loop, ended in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, ended)
        except RuntimeError:  # the loop is closed, and no task waits any more
            for job, outcome in ended:
                _log_failure(job, outcome)


def _resolve(ended: Sequence[tuple[_Job, Outcome]]) -> None:
    for job, outcome in ended:
        if job.done.cancelled():
            _log_failure(job, outcome)
        elif job.done.done():
            continue  # it was resolved before the thread was interrupted
        elif isinstance(outcome, BaseException):
            job.done.set_exception(outcome)
        else:
            job.done.set_result(outcome)


def _log_failure(job: _Job, outcome: Outcome) -> None:
    """Log that a row is not written, where no task is left that could get the exception."""
    if isinstance(outcome, BaseException):
        table = job.write.table
        _log.error("a row of the table %s was not written: %s", table, outcome)
