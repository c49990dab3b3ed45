"""What a model is, and those that are no endpoint: a callable, a program."""

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
from ._answer import estimated
from ._chat import Chat, get_default_llm


@runtime_checkable
class Model(Protocol):
    """What answers messages."""

    name: str

    async def reply(self, messages: Sequence[Message]) -> Reply:
        """Return one answer. Raises a ModelError when there is none."""

    async def aclose(self) -> None:
        """Give back what is held on the running event loop."""


async def reply_of(
    model: Any, messages: Sequence[Message], schema: Mapping[str, Any] | None = None
) -> Reply:
    """Return a model's answer, which is to be JSON of this schema where the model's `reply` takes a `schema`.

    Raises what the model raises.
    """
    shaped = (
        schema is not None and "schema" in inspect.signature(model.reply).parameters
    )
    reply: Reply = await (
        model.reply(messages, schema=schema) if shaped else model.reply(messages)
    )
    return reply


def as_one_model(model: Any) -> Model:
    """Return a model for whatever names or is one. Raises UsageError for anything else."""
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
    """Any callable from messages to text, sync or async."""

    def __init__(self, function: Callable[[Sequence[Message]], Any]) -> None:
        """Take the callable; it is called in a thread unless it is async."""
        self.name = getattr(function, "__name__", type(function).__name__)
        self._function = function

    async def reply(self, messages: Sequence[Message]) -> Reply:
        """Return what the callable says; its tokens are estimated.

        Raises ModelUnavailable when the callable raises anything but a ModelError, with that as its cause, and
        UsageError when it returns no text.
        """
        begun = time.monotonic()
        asynchronous = inspect.iscoroutinefunction(
            self._function
        ) or inspect.iscoroutinefunction(
            getattr(self._function, "__call__", None)  # noqa: B004, an object with an async __call__
        )
        try:
            if asynchronous:
                text = await self._function(messages)
            else:
                text = await asyncio.to_thread(self._in_thread, messages)
        except ModelError:
            raise
        except Exception as error:
            raise ModelUnavailable(
                f"the model {self.name} raised {type(error).__name__}: {one_line(str(error), 300)}"
            ) from error
        if not isinstance(text, str):
            raise UsageError(
                f"the model {self.name} returned {text!r}: return the reply as text"
            )
        return Reply(
            text, estimated(messages, text), self.name, time.monotonic() - begun
        )

    def _in_thread(self, messages: Sequence[Message]) -> Any:
        # A future takes no StopIteration, and whoever awaits it would wait for ever.
        try:
            return self._function(messages)
        except StopIteration as error:
            raise RuntimeError("StopIteration: it has no further reply") from error

    async def aclose(self) -> None:
        """Do nothing: a callable holds nothing of ours."""


class Command:
    """Any program that reads a prompt on its standard input and writes its answer, such as a local model's runner."""

    def __init__(self, command: Sequence[str], *, deadline_secs: float = 300.0) -> None:
        """Take the program with its arguments, and how long one answer may take, in seconds."""
        if not command:
            raise UsageError("the command is empty: give a program and its arguments")
        self.name = os.path.basename(command[0])
        self._command = list(command)
        self._deadline_secs = deadline_secs

    async def reply(self, messages: Sequence[Message]) -> Reply:
        """Return what the program prints.

        Raises ModelRefused when it is missing or fails, ModelUnavailable at the deadline; it is killed then.
        """
        begun = time.monotonic()
        prompt = "\n\n".join(message["content"] for message in messages)
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                start_new_session=True,
            )
        except OSError as error:
            raise ModelRefused(
                f"the program {self._command[0]!r} cannot be started: {error}"
            ) from error
        try:
            async with asyncio.timeout(self._deadline_secs):
                out, err = await process.communicate(prompt.encode())
        except TimeoutError:
            raise ModelUnavailable(
                f"{self.name} did not answer within {self._deadline_secs:g} s"
            ) from None
        finally:
            await _end(process)
        if process.returncode != 0:
            said = one_line(err.decode("utf-8", "replace")[-500:], 200)
            raise ModelRefused(
                f"{self.name} ended with exit code {process.returncode}: {said}"
            )
        text = out.decode("utf-8", "replace")
        return Reply(
            text, estimated(messages, text), self.name, time.monotonic() - begun
        )

    async def aclose(self) -> None:
        """Do nothing: each answer has a process of its own."""


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill a program with its process group, and wait for it."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    await process.wait()
