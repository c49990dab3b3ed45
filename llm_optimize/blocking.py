"""Coroutines called without await: from a plain program, and from inside a running event loop such as a notebook's."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def blocking(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Return `function` as one that waits for its result, with the same signature.

    >>> async def double(n: int) -> int:
    ...     return 2 * n
    >>> blocking(double)(4)
    8
    """

    @functools.wraps(function)
    def wait(*args: P.args, **kwargs: P.kwargs) -> T:
        return wait_for(function(*args, **kwargs))

    wait.__name__ = wait.__qualname__ = function.__name__.removeprefix("a")
    return wait


def wait_for(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; where a loop runs already in this thread, on a loop of another thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    return _in_other_thread(coroutine)


def _in_other_thread(coroutine: Coroutine[Any, Any, T]) -> T:
    """Wait in this thread; an interrupt of it cancels the coroutine and lets it clean up first."""
    loop: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = Future()
    result: Future[T] = Future()

    async def main() -> T:
        task = asyncio.ensure_future(coroutine)
        loop.set_result((asyncio.get_running_loop(), task))
        return await task

    def work() -> None:
        try:
            result.set_result(asyncio.run(main()))
        except BaseException as error:
            result.set_exception(error)
            if not isinstance(error, Exception | asyncio.CancelledError):
                raise

    thread = threading.Thread(target=work, name="llm_optimize", daemon=True)
    thread.start()
    try:
        return result.result()
    except KeyboardInterrupt:
        own_loop, task = loop.result()
        own_loop.call_soon_threadsafe(task.cancel)
        raise
    finally:
        thread.join()
