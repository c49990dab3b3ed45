"""Every sentence that is said to a model, as data, and the laying-out of messages."""

from __future__ import annotations

from collections.abc import Sequence

from ...records import Message, Plan, Task
from ._conversation import conversation
from ._lines import what_changed
from ._reflection import look_back
from ._sections import sections
from ._shown import Known, Request, answer_format, is_long
from ._words import (
    AGAIN,
    AGAIN_UNSEEN,
    EDITS_ANSWER,
    HUMAN_PROMPT,
    JSON_ANSWER,
    KNOBS,
    PARTS_ANSWER,
    SYSTEM_PROMPT,
    WHOLE_ANSWER,
    fill,
)

__all__ = [
    "EDITS_ANSWER",
    "HUMAN_PROMPT",
    "JSON_ANSWER",
    "PARTS_ANSWER",
    "SYSTEM_PROMPT",
    "WHOLE_ANSWER",
    "Known",
    "ask_again",
    "fill",
    "is_long",
    "lay_out",
    "look_back",
    "size_of",
    "what_changed",
]

_NOTHING_KNOWN = Known()


def lay_out(
    task: Task,
    plan: Plan,
    *,
    max_prompt_tokens: int = 16_000,
    chars_per_token: float = 4.0,
    parameters: str = "",
    known: Known = _NOTHING_KNOWN,
    knobs: bool = False,
) -> list[Message]:
    """Return the messages that ask for the next x: what seldom changes first, so that providers' caches serve it.

    Args:
        task: in words.
        plan: what to build on and what to show. The trials of its context are shown in its order: one that only
            grows at its end lets successive prompts begin alike.
        max_prompt_tokens: how long the prompt may be. Sections and whole trials are left out until it fits, the
            least useful first, and no x is ever cut; the parent is always there, even where it alone is too long.
        chars_per_token: what the length in tokens is estimated by.
        parameters: what `Space.describe` says, where x is a set of parameters.
        known: lessons, changes and configurations beyond those of the plan.
        knobs: whether x may declare values that are tuned without the model.
    """
    request = Request(task, plan, parameters, known)
    system = fill(
        task.system_prompt,
        task_description=task.description,
        task_question=task.question,
        x="",
        fx="",
    )
    first = Message(
        role="system",
        content="\n\n".join(
            filter(None, [system, answer_format(request), KNOBS if knobs else ""])
        ),
    )
    room = int(max_prompt_tokens * chars_per_token) - len(first["content"])
    if plan.transcript:
        return [first, *conversation(request, room)]
    return [first, Message(role="user", content=sections(request, room))]


def size_of(messages: Sequence[Message]) -> int:
    """Return the length of messages, in characters."""
    return sum(len(message["content"]) for message in messages)


def ask_again(
    messages: Sequence[Message], reply: str, problem: str, how: str = WHOLE_ANSWER
) -> list[Message]:
    """Return the messages that ask once more after a reply that cannot be used, and say how to answer.

    An empty `reply` is not quoted: the note then stands at the end of the last message.
    """
    problem = problem.rstrip().removesuffix(".")
    if not reply:
        *before, last = messages
        note = fill(AGAIN_UNSEEN, problem=problem, how=how)
        return [
            *before,
            Message(role=last["role"], content=f"{last['content']}\n\n{note}"),
        ]
    note = fill(AGAIN, problem=problem, how=how)
    return [
        *messages,
        Message(role="assistant", content=reply),
        Message(role="user", content=note),
    ]
