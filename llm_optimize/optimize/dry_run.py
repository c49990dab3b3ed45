"""Dry run: the first prompt and what a run may use, with nothing sent, scored or stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from ..blocking import wait_for
from ..errors import ModelError
from ..llm import price_of
from ..records import Evaluation, Message, Plan, Proposal, Reply, Status, Trial, Usage
from ..settings import RunSettings
from ..text import show_x
from ..token_estimate import CHARS_PER_TOKEN
from .build import Parts, choose
from .prompt_size import notice_of_size

_OVERHEAD_TOKENS = 500  # of a reply, beside the x that it holds; by hand


@dataclass(frozen=True)
class DryRun:
    """What a run would send first, and what it may use; printed, it is a page of text.

    Args:
        model: its name; None where none is asked.
        messages: the first prompt, with a placeholder for the score of x0; none where the first
            proposal asks no model.
        prompt_tokens: of that prompt; all tokens are estimated.
        calls: how many model calls are expected.
        tokens: of all calls: the least where prompts stay as short as the first, and the most where
            they grow to `max_prompt_tokens`.
        usd: the same in dollars; None for an unknown price.
        parts: how many characters each part of x0 has, such as the files of a folder.
        notice: what should be known before the run begins; empty for nothing.
    """

    model: str | None
    messages: tuple[Message, ...]
    prompt_tokens: int = 0
    calls: int = 0
    tokens: tuple[int, int] = (0, 0)
    usd: tuple[float, float] | None = None
    parts: Mapping[str, int] = field(default_factory=dict)
    notice: str = ""

    def __str__(self) -> str:
        lines = []
        for message in self.messages:
            lines += [f"--- {message['role']} ---", message["content"], ""]
        for name, chars in self.parts.items():
            lines.append(f"x0: {name}, {chars:,} characters")
        if self.notice:
            lines.append(f"note: {self.notice}")
        if self.model is None:
            lines.append("no model is asked: the run costs no tokens")
            return "\n".join(lines)
        least, most = self.tokens
        lines.append(
            f"{self.model}: the first prompt has about {self.prompt_tokens:,} tokens; "
            f"{self.calls} calls have about {least:,} to {most:,}"
        )
        price = "its price is unknown: the costs are not estimated"
        if self.usd is not None:
            price = "they cost about ${:.4f} to ${:.4f}".format(*self.usd)
        lines.append(f"{price}; nothing was sent, scored or stored")
        return "\n".join(lines)


def first_prompt(settings: RunSettings) -> DryRun:
    """Return what a run with these settings would send first, and what it may use.

    Raises what `run` raises for them, but needs no key.
    """
    parts = choose(settings, needs_key=False)
    sizes = {}
    for x in parts.settings.x0:
        if isinstance(x, dict) and settings.space is None:
            sizes.update({name: len(show_x(part)) for name, part in x.items()})
    notice = ""
    if parts.model is not None:
        notice = notice_of_size(parts.settings)
    messages = wait_for(_messages(parts))
    if parts.model is None or not messages:
        return DryRun(None, messages, parts=sizes, notice=notice)
    chars = sum(len(message["content"]) for message in messages)
    prompt_tokens = chars // CHARS_PER_TOKEN
    x0_chars = max((len(show_x(x)) for x in parts.settings.x0), default=0)
    reply_tokens = x0_chars // CHARS_PER_TOKEN + _OVERHEAD_TOKENS
    calls = settings.max_steps
    if settings.budget.calls is not None:
        calls = min(calls, settings.budget.calls)
    price = price_of(parts.model)
    usages = []
    for each in (prompt_tokens, max(prompt_tokens, settings.max_prompt_tokens)):
        usages.append(Usage(calls, calls * each, calls * reply_tokens))
    least, most = usages
    usd = None
    if price is not None:
        usd = (price.cost(least), price.cost(most))
    return DryRun(
        model=parts.model.name,
        messages=messages,
        prompt_tokens=prompt_tokens,
        calls=calls,
        tokens=(least.tokens, most.tokens),
        usd=usd,
        parts=sizes,
        notice=notice,
    )


class _Unsent(ModelError):
    """A prompt was made, and is not sent."""


async def _messages(parts: Parts) -> tuple[Message, ...]:
    """Return the messages of the first call; none where the first proposal asks no model."""
    made: list[Message] = []

    async def ask(
        messages: Sequence[Message], /, schema: Mapping[str, Any] | None = None
    ) -> Reply:
        made.extend(messages)
        raise _Unsent("a dry run sends nothing")

    if parts.model is None:
        return ()
    try:
        await parts.proposer.propose(_first_plan(parts), ask, Random(0))
    except _Unsent:
        return tuple(made)
    return tuple(made)


def _first_plan(parts: Parts) -> Plan:
    """Return the plan of the first step, in which the score of x0 is left open."""
    settings, search = parts.settings, parts.search
    open_trials = {}
    for number, x in enumerate(settings.x0):
        proposal = Proposal(x, "x0")
        scored = Evaluation(
            Status.COMPLETE, 0.0
        )  # a search learns only what has a score
        search.observe(Trial(number, proposal, scored))
        open_trials[number] = Trial(number, proposal, Evaluation.open())
    for number, (x, score, feedback) in enumerate(settings.known, len(settings.x0)):
        known = Trial.of(number, x, Status.COMPLETE, "known", score, feedback)
        search.observe(settings.direction.trial(known))
        open_trials[number] = known
    plan = search.ask(Random(0), [])
    if plan.parent is None:
        return plan
    context = tuple(open_trials[trial.number] for trial in plan.context)
    return replace(plan, parent=open_trials[plan.parent.number], context=context)
