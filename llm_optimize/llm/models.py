"""Models that are no endpoint: the protocol of a model, a callable, a program."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from ..errors import ModelError, ModelRefused, ModelUnavailable, UsageError
from ..records import Message, Reply
from ..text import one_line
from .answer import estimated
from .chat import Chat, get_default_llm


@runtime_checkable
class Model(Protocol):
    """What answers messages."""

    name: str

    async def reply(self, messages: Sequence[Message]) -> Reply:
        """Return one answer. Raises a ModelError when there is none."""

    async def aclose(self) -> None:
        """Close what is held on the running event loop."""


async def reply_of(
    model: Any, messages: Sequence[Message], schema: Mapping[str, Any] | None = None
) -> Reply:
    """Return a model's answer; in JSON of this schema where its `reply` takes a `schema`.

    Raises what the model raises.
    """
    reply: Reply
    if schema is not None and "schema" in inspect.signature(model.reply).parameters:
        reply = await model.reply(messages, schema=schema)
    else:
        reply = await model.reply(messages)
    return reply


def as_one_model(model: Any) -> Model:
    """Return the model for a name, a Model, a callable, or None for the default.

    Raises:
        UsageError: it is anything else.
    """
    if model is None:
        return get_default_llm()
    if isinstance(model, str):
        return Chat(model)
    if isinstance(model, Model):
        return model
    if callable(model):
        return Function(model)
    raise UsageError(
        f"model is {model!r}: give a name, an llm.Chat, or a callable from messages to text"
    )


class Function:
    """Any callable from messages to text, sync or async.

    Args:
        function: it is called in a thread unless it is async.
    """

    def __init__(self, function: Callable[[Sequence[Message]], Any]) -> None:
        self.name = getattr(function, "__name__", type(function).__name__)
        self._function = function

    async def reply(self, messages: Sequence[Message]) -> Reply:
        """Return what the callable returns; its tokens are estimated.

        Raises:
            ModelUnavailable: the callable raised anything but a ModelError, which is its cause.
            ModelRefused: it returned no text.
        """
        started_at = time.monotonic()
        try:
            if self._is_async():
                text = await self._function(messages)
            else:
                text = await asyncio.to_thread(self._in_thread, messages)
        except ModelError:
            raise
        except Exception as error:
            message = one_line(str(error), 300)
            raise ModelUnavailable(
                f"the model {self.name} raised {type(error).__name__}: {message}"
            ) from error
        if not isinstance(text, str):
            raise ModelRefused(
                f"the model {self.name} returned {one_line(repr(text), 100)}: "
                "return the reply as text"
            )
        seconds = time.monotonic() - started_at
        return Reply(text, estimated(messages, text), self.name, seconds)

    def _is_async(self) -> bool:
        """Whether the function, or the `__call__` of an object, is async."""
        call = getattr(self._function, "__call__", None)  # noqa: B004
        return inspect.iscoroutinefunction(
            self._function
        ) or inspect.iscoroutinefunction(call)

    def _in_thread(self, messages: Sequence[Message]) -> Any:
        # A future takes no StopIteration: the coroutine that awaits it would never wake up.
        try:
            return self._function(messages)
        except StopIteration as error:
            raise RuntimeError("StopIteration: it has no further reply") from error

    async def aclose(self) -> None:
        """Do nothing: a callable holds nothing of ours."""


class Command:
    """Any program that reads a prompt on standard input and writes its answer to standard output.

    Args:
        command: the program with its arguments.
        deadline_secs: how long one answer may take.

    Raises:
        UsageError: the command is empty.
    """

    def __init__(self, command: Sequence[str], *, deadline_secs: float = 300.0) -> None:
        if not command:
            raise UsageError("the command is empty: give a program and its arguments")
        self.name = os.path.basename(command[0])
        self._command = list(command)
        self._deadline_secs = deadline_secs

    async def reply(self, messages: Sequence[Message]) -> Reply:
        """Return what the program prints.

        Raises:
            ModelRefused: the program is missing, or failed.
            ModelUnavailable: it was killed at the deadline.
        """
        started_at = time.monotonic()
        prompt = "\n\n".join(message["content"] for message in messages)
        process = await self._start()
        try:
            async with asyncio.timeout(self._deadline_secs):
                out, err = await process.communicate(prompt.encode())
        except TimeoutError:
            raise ModelUnavailable(
                f"{self.name} did not answer within {self._deadline_secs:g} s"
            ) from None
        finally:
            await _kill(process)
        if process.returncode != 0:
            end = err.decode("utf-8", "replace")[-500:]
            raise ModelRefused(
                f"{self.name} ended with exit code {process.returncode}: {one_line(end, 200)}"
            )
        text = out.decode("utf-8", "replace")
        seconds = time.monotonic() - started_at
        return Reply(text, estimated(messages, text), self.name, seconds)

    async def _start(self) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        try:
            return await asyncio.create_subprocess_exec(
                *self._command,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                start_new_session=True,  # so that its descendants can be killed with it
            )
        except OSError as error:
            raise ModelRefused(
                f"the program {self._command[0]!r} cannot be started: {error}"
            ) from error

    async def aclose(self) -> None:
        """Do nothing: each answer has a process of its own."""


async def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill a program that still runs, with its process group, and wait for it."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    await process.wait()
