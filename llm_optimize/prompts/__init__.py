"""Every sentence that is said to a model, as data, and the laying-out of messages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .records import Message, Plan, Task, Trial, rank
from .text import clip, fence, one_line, show_number, show_x

SYSTEM_PROMPT = """\
You improve a candidate x step by step. An automatic judge scores each x that you write; a higher score is better. \
You see what was tried, how it scored and what the judge said about it.

The task:
{task_description}

How to answer: think first, in a few sentences: what do the scores teach, and what is worth trying next? Then write \
the complete next x, ready to be judged as it is, in one fenced code block at the very end. Nothing but x goes into \
that block, and never an x that was tried before."""

HUMAN_PROMPT = """\
The x to improve:
{x}

What the judge said of it:
{fx}

{task_question}"""

_FIRST_PROMPT = """\
Nothing was tried yet: write the first x.

{task_question}"""

_OTHERS = "Other x that are worth knowing:"
_FAILURES = "These were tried and failed; do not repeat them:"
_EARLIER = "Earlier attempts, in a line each:"
_AGAIN = """\
That reply cannot be used: {problem}. Answer again: the complete next x in one fenced code block at the very end."""
_PARAMETERS = """\
x is a set of parameters. Answer with one JSON object in a fenced code block, with a value for each name:
{parameters}"""

_CHARS_PER_TOKEN = 4  # of English and of code, roughly; what the estimate is wrong by, the model's window absorbs
_MAX_FEEDBACK_CHARS = 4_000  # of the parent
_MAX_OTHER_FEEDBACK_CHARS = 600
_MAX_LINE_CHARS = 200
_FOLDED_PART = 8  # one part in eight of a conversation is for what is folded into lines
_PLACEHOLDER = re.compile(r"\{(task_description|task_question|x|fx)\}")


def fill(template: str, **values: str) -> str:
    """Fill the four placeholders in one pass; all other braces, and those inside the values, are left alone.

    >>> fill("{x} {y} {fx}", x="{fx}", fx="1")
    '{fx} {y} 1'
    """
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)


def lay_out(task: Task, plan: Plan, *, max_prompt_tokens: int = 16_000, x_format: str = "") -> list[Message]:
    """Return the messages that ask for the next x: what seldom changes first, so that providers' caches serve it.

    Sections are dropped, never cut in the middle of an x, until the estimate fits into `max_prompt_tokens`; the
    parent alone is always there.
    """
    room = max_prompt_tokens * _CHARS_PER_TOKEN
    system = fill(task.system_prompt, task_description=task.description, task_question=task.question, x="", fx="")
    first = _message("system", "\n\n".join(filter(None, [system, x_format])))
    room -= len(first["content"])
    if plan.transcript:
        return [first, *_transcript(task, plan, room)]
    return [first, _message("user", _sections(task, plan, room))]


def ask_again(messages: Sequence[Message], reply: str, problem: str) -> list[Message]:
    """Return the messages that ask once more after a reply that cannot be used."""
    return [*messages, _message("assistant", reply), _message("user", _AGAIN.replace("{problem}", problem))]


def parameters_format(parameters: str) -> str:
    """Return how to answer when x is a set of parameters; `parameters` describes them."""
    return _PARAMETERS.replace("{parameters}", parameters)


def describe_failure(trial: Trial) -> str:
    """Return in one line what was tried and why it has no score.

    >>> from llm_optimize.records import Status
    >>> describe_failure(Trial(3, "1/0", Status.FAILED, "x0", feedback="Traceback\\nZeroDivisionError: by zero"))
    'failed: ZeroDivisionError: by zero'
    """
    lines = trial.feedback.strip().splitlines()
    return one_line(f"{trial.status.value}: {lines[-1] if lines else 'no reason given'}", _MAX_LINE_CHARS)


def _message(role: str, content: str) -> Message:
    return Message(role=role, content=content)


# One user message with sections.


def _sections(task: Task, plan: Plan, room: int) -> str:
    shown = [trial for trial in (*plan.context, plan.parent) if trial]
    question = "\n\n".join(filter(None, [plan.hint, _question(task, plan.parent, shown)]))
    room -= len(question)
    others = _fitting(plan.context, shown, room)
    room -= len(others)
    failures = _failures(plan.failures)
    return "\n\n".join(filter(None, [others, failures if len(failures) <= room else "", question]))


def _question(task: Task, parent: Trial | None, shown: Sequence[Trial]) -> str:
    words = {"task_description": task.description, "task_question": task.question}
    if parent is None:
        return fill(_FIRST_PROMPT, **words)
    said = "\n".join(filter(None, [_said(parent, shown, _MAX_FEEDBACK_CHARS), _standing(parent, shown)]))
    return fill(task.human_prompt, **words, x=_shown_x(task, parent), fx=said)


def _shown_x(task: Task, trial: Trial) -> str:
    """Return x fenced, or bare where the prompt puts a fence around it itself."""
    x = show_x(trial.x if trial.x is not None else "")
    return x if re.search(r"^(```|~~~)", task.human_prompt, re.M) else fence(x)


def _fitting(context: Sequence[Trial], shown: Sequence[Trial], room: int) -> str:
    """Return the others that fit, the best ones first to get a place, in the given order."""
    ranked = sorted((trial for trial in shown if trial.scored), key=rank, reverse=True)
    texts = {trial.number: _other(trial, ranked) for trial in context}
    kept: set[int] = set()
    room -= len(_OTHERS)
    for trial in sorted(context, key=rank, reverse=True):
        room -= len(texts[trial.number]) + 2
        if room >= 0:
            kept.add(trial.number)
    parts = [texts[trial.number] for trial in context if trial.number in kept]
    return "\n\n".join([_OTHERS, *parts]) if parts else ""


def _other(trial: Trial, ranked: Sequence[Trial]) -> str:
    said = _said(trial, ranked, _MAX_OTHER_FEEDBACK_CHARS)
    return f"Trial {trial.number}:\n{fence(show_x(trial.x or ''))}\n{said}"


def _said(trial: Trial, shown: Iterable[Trial], max_chars: int) -> str:
    """Return the score, with digits enough to tell it from the others shown, and what f said."""
    feedback = clip(trial.feedback, max_chars)
    if trial.score is None:
        return f"no score ({trial.status.value})\n{feedback}".rstrip()
    scores = [other.score for other in shown if other.score is not None]
    return f"score {show_number(trial.score, scores)}\n{feedback}".rstrip()


def _standing(trial: Trial, shown: Sequence[Trial]) -> str:
    """Return how the parent compares with the best that is shown."""
    scored = [other for other in shown if other.scored]
    if trial.score is None or len(scored) < 2:
        return ""
    best = max(scored, key=rank)
    if best is trial:
        return "It is the best so far."
    return f"Trial {best.number} is better by {show_number((best.score or 0.0) - trial.score)}."


def _failures(trials: Sequence[Trial]) -> str:
    counts: dict[str, int] = {}
    for trial in trials:
        line = describe_failure(trial)
        counts[line] = counts.get(line, 0) + 1
    lines = [f"- {line}" + (f" ({count} times)" if count > 1 else "") for line, count in counts.items()]
    return "\n".join([_FAILURES, *lines]) if lines else ""


# A conversation.


def _transcript(task: Task, plan: Plan, room: int) -> list[Message]:
    """Return the exchanges so far, oldest first; those that do not fit are folded into a line each."""
    trials = [trial for trial in (*plan.context, plan.parent) if trial]
    if not trials:
        return [_message("user", _question(task, None, []))]
    champion = max(trials, key=rank)
    room_folded = room // _FOLDED_PART
    room -= room_folded
    questions = {trial.number: _question(task, trial, [trial]) for trial in trials}
    kept, room = {trials[-1].number}, room - len(questions[trials[-1].number]) - 4
    for trial in (champion, *reversed(trials[:-1])):
        size = len(questions[trial.number]) + len(fence(show_x(trial.x or ""))) + 4
        if trial.number in kept:
            continue
        if size > room:
            break
        kept.add(trial.number)
        room -= size
    folded = [trial for trial in trials if trial.number not in kept]
    return _exchanges(
        [trial for trial in trials if trial.number in kept], questions, _earlier(folded, room + room_folded), plan.hint
    )


def _exchanges(kept: Sequence[Trial], questions: dict[int, str], earlier: str, hint: str) -> list[Message]:
    messages: list[Message] = []
    for place, trial in enumerate(kept):
        if place:
            messages.append(_message("assistant", fence(show_x(trial.x or ""))))
        notes = [earlier if not place else "", hint if trial is kept[-1] else "", questions[trial.number]]
        messages.append(_message("user", "\n\n".join(filter(None, notes))))
    return messages


def _earlier(trials: Sequence[Trial], room: int) -> str:
    lines: list[str] = []
    for trial in reversed(trials):
        result = describe_failure(trial) if trial.score is None else f"score {show_number(trial.score)}"
        line = f"- {one_line(show_x(trial.x or ''), 80)} -> {result}"
        room -= len(line) + 1
        if room < len(_EARLIER):
            break
        lines.insert(0, line)
    return "\n".join([_EARLIER, *lines]) if lines else ""
