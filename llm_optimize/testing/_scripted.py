"""Scripted model: its replies are known in advance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from ..errors import ScriptExhausted
from ..records import Message, Reply, Usage

Answer: TypeAlias = "str | Reply | BaseException | Callable[[Sequence[Message]], str]"
_CHARS_PER_TOKEN = 4


class ScriptedChat:
    """A model that gives these replies in turn, and raises ScriptExhausted when there is none left.

    A reply is a text, a `records.Reply`, an exception to raise, or a function from messages to
    text. `asked` holds the messages of every call.

    Args:
        replies: in the order in which they are given.
        name: of the model, in its replies.

    >>> import asyncio
    >>> model = ScriptedChat("hello")
    >>> asyncio.run(model.reply([{"role": "user", "content": "hi"}])).text
    'hello'
    """

    def __init__(self, *replies: Answer, name: str = "scripted") -> None:
        self.name = name
        self.asked: list[list[Message]] = []
        self._replies = list(replies)

    async def reply(self, messages: Sequence[Message]) -> Reply:
        """Return the next reply, or raise it. Raises ScriptExhausted when there is none left."""
        self.asked.append(list(messages))
        if not self._replies:
            raise ScriptExhausted(
                f"the scripted model has no reply left at call {len(self.asked)}: give it more"
            )
        answer = self._replies.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, Reply):
            return replace(answer, model=self.name)
        text = answer if isinstance(answer, str) else answer(messages)
        prompt = sum(len(message["content"]) for message in messages)
        return Reply(
            text,
            Usage(1, prompt // _CHARS_PER_TOKEN, len(text) // _CHARS_PER_TOKEN),
            self.name,
        )

    async def aclose(self) -> None:
        """Do nothing: nothing is open."""
