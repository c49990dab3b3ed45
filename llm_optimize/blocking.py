"""Coroutines called without await, from a plain program or inside a running loop (a notebook)."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future, wait
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def blocking(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Return `function` as one that waits for its result, with the same parameters.

    >>> async def double(n: int) -> int:
    ...     return 2 * n
    >>> blocking(double)(4)
    8
    """

    @functools.wraps(function)
    def waiting(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            coroutine = function(*args, **kwargs)  # nothing of it runs yet
        except TypeError as error:
            # The arguments do not fit: name the function that was called.
            called, inner = waiting.__qualname__, function.__qualname__
            message = str(error).replace(f"{inner}()", f"{called}()", 1)
            raise TypeError(message) from None
        return wait_for(coroutine)

    waiting.__name__ = waiting.__qualname__ = function.__name__.removeprefix("a")
    return waiting


def wait_for(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, and return its result.

    Where a loop runs already in this thread, the coroutine runs on a loop of another thread.
    """
    if not _has_running_loop():
        return asyncio.run(coroutine)
    loop = BackgroundLoop()
    try:
        return loop.run(coroutine)
    finally:
        loop.close()


def _has_running_loop() -> bool:
    # A function of its own: what the coroutine raises must not be shown as raised "during handling
    # of" the RuntimeError that answers this question.
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and wait until they have ended; what they raise is dropped."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class BackgroundLoop:
    """An event loop in a thread of its own, for coroutines that live longer than one call.

    >>> loop = BackgroundLoop()
    >>> loop.run(asyncio.sleep(0, "done"))
    'done'
    >>> loop.close()
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._work, name="llm_optimize", daemon=True
        )
        self._thread.start()

    @property
    def is_closed(self) -> bool:
        """Whether nothing runs here any more."""
        return self._loop.is_closed()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine, and return the future of its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, and return its result or raise its exception.

        An interrupt of the thread that waits cancels the coroutine, and lets it clean up first; a
        second interrupt does not wait for that.
        """
        tasks: list[asyncio.Task[Any] | None] = []

        async def main() -> T:
            tasks.append(asyncio.current_task())
            return await coroutine

        future = self.submit(main())
        try:
            return future.result()
        except KeyboardInterrupt:
            for task in filter(None, tasks):
                self._loop.call_soon_threadsafe(task.cancel)
            wait([future])
            raise

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._cancel_all()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))

    def close(self) -> None:
        """Cancel what still runs, wait for it, and end the thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
