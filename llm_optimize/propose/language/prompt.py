"""The prompt: messages that ask for the next x, and that ask again after an unusable reply.

What seldom changes stands first, so that providers' caches serve it; what is left out for want of
room is the least useful first, and no x is ever cut. A whole prompt, with a note on the left:

    system
      never      | You improve a candidate x step by step. An automatic judge scores each x ...
      changes    |
      in a run   | The task:
                 | Decrease the value of f(x). x is two numbers in [-10, 10].
                 |
                 | How to answer: think first, in a few sentences: ... Then write the complete
                 | next x, ready to be judged as it is, in one fenced code block at the very end.
      also       | x is a set of parameters. Answer with one JSON object ...      with a space
      answer     | x is several named texts. ...                                  with named texts
      formats    | Only what stands between a line with EVOLVE-BLOCK-START ...    with regions
                 | A line of x that sets a plain value may declare it as a knob   with `tune`
    user
      context    | Trials that are worth knowing, each with its x and what the judge ...
      of the     |
      plan,      | Trial 3:
      grows at   | ```
      its end    | [2, 1]
                 | ```
                 | score -5
                 | a * a is 4, b * b is 1
      failures   | These were tried and failed; do not repeat them:
                 | - failed: ValueError: could not convert 'two' (2 times); tried: [two, 1]
      lessons    | Lessons from earlier trials:
                 | - trial 4: x must hold numbers, not words.
      differs    | By score: 1. trial 5 (the x to improve); 2. trial 3, 4 less.
      from       | x is long. Instead of the complete x you may answer with edits    above 200 lines
      message    | Try a larger step.                                                the plan's hint
      to message |
                 | The x to improve:
                 | ```
                 | [1, 0]
                 | ```
                 |
                 | What the judge said of it:
                 | score -1
                 | a * a is 1, b * b is 0
                 | It is the best so far.
                 |
                 | What x makes f(x) smaller?

In a `chat` search each x is an answer of the assistant instead (`conversation.py`). After a reply
that cannot be used the same messages follow, with the reply and why it cannot be used.

Pure functions of a task, a plan and what is remembered; nothing here asks a model.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...records import Direction, Message, Plan, Task
from .conversation import conversation
from .sections import sections
from .templates import AGAIN, AGAIN_UNSEEN, KNOBS, WHOLE_ANSWER, directed, fill
from .trial_text import Known, Request, answer_format

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
    direction: Direction = Direction.MAXIMIZE,
) -> list[Message]:
    """Return the messages that ask for the next x.

    Args:
        task: what the user wants, in words.
        plan: what to build on and what to show. The trials of its context are shown in its order:
            one that only grows at its end lets successive prompts begin alike.
        max_prompt_tokens: how long the prompt may be. Sections and whole trials are left out until
            it fits; the parent is always there, even where it alone is too long.
        chars_per_token: what the length in tokens is estimated by.
        parameters: what `Space.describe` returns, where x is a set of parameters.
        known: lessons, changes and configurations beyond those of the plan.
        knobs: whether x may declare values that are tuned without the model.
        direction: whether a higher or a lower score is better; the plan has the scores of f.
    """
    request = Request(task, plan, parameters, known, direction)
    system = fill(
        directed(task.system_prompt, direction),
        task_description=task.description,
        task_question=task.question,
        x="",
        fx="",
    )
    rules = [system, answer_format(request), KNOBS if knobs else ""]
    content = "\n\n".join(filter(None, rules))
    first = Message(role="system", content=content)
    room = int(max_prompt_tokens * chars_per_token) - len(content)
    if plan.transcript:
        return [first, *conversation(request, room)]
    return [first, Message(role="user", content=sections(request, room))]


def size_of(messages: Sequence[Message]) -> int:
    """Return the length of messages, in characters."""
    return sum(len(message["content"]) for message in messages)


def ask_again(
    messages: Sequence[Message], reply: str, problem: str, how: str = WHOLE_ANSWER
) -> list[Message]:
    """Return the messages that ask once more after a reply that cannot be used.

    Args:
        messages: that were sent.
        reply: what came, to be quoted; empty to leave it out, so that the note stands at the end
            of the last message.
        problem: why the reply cannot be used.
        how: the form in which to answer.
    """
    problem = problem.rstrip().removesuffix(".")
    if reply:
        note = fill(AGAIN, problem=problem, how=how)
        answer = Message(role="assistant", content=reply)
        return [*messages, answer, Message(role="user", content=note)]
    *before, last = messages
    note = fill(AGAIN_UNSEEN, problem=problem, how=how)
    content = f"{last['content']}\n\n{note}"
    return [*before, Message(role=last["role"], content=content)]
