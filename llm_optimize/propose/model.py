"""The model writes the next x: prompt, reply, and the x in it; an unusable reply is asked again with what was wrong."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from ..errors import BudgetSpent, ContextTooLong, UsageError
from ..records import Ask, Message, Plan, Proposal, Reply, Task, Trial, Usage
from ..space import Space
from .language import ask_again, lay_out, size_of
from .language.answer import Answer, how_to_answer, is_edited, read
from .language.memory import Memory
from .language.token_estimate import TokenEstimate

_log = logging.getLogger("llm_optimize")
_MAX_ASKS = 3  # the first and two more with what was wrong
_MAX_QUOTED_CHARS = 20_000  # of a reply that is answered; a longer one is not quoted
_PROMPT_SHARE = 0.75  # of what a model reads; the rest is for its answer
_LEAST_SHRUNK = (
    0.9  # a prompt that was too long is made shorter by a tenth at the least
)
_MOST_SHRUNK = 16  # by which all further prompts are at most made shorter, whatever an endpoint says


class ModelProposer:
    """Asks the model of the run, and reminds it of what was tried.

    What it shows beyond a plan is learnt from the trials that it is told, so that it goes on after a resume as if
    there had been no break. Only two things begin anew with each process, both about the length of prompts: the
    characters per token that the endpoint reports, and how much it said that it reads.

    Args:
        task: in words.
        space: the parameters, when x is a set of these.
        max_prompt_tokens: how long a prompt may be, estimated without a tokenizer. Only the parent is shown even
            where it alone is longer; that is logged once.
        lessons_shown: how many of the last lessons are shown.
        knobs: whether x may declare values that are tuned without the model; it is told so.

    Raises:
        UsageError: a number is below 1, or that of the lessons below 0.
    """

    def __init__(
        self,
        task: Task,
        space: Space | None = None,
        *,
        max_prompt_tokens: int = 16_000,
        lessons_shown: int = 8,
        knobs: bool = False,
    ) -> None:
        if max_prompt_tokens < 1:
            raise UsageError(
                f"max_prompt_tokens is {max_prompt_tokens}: a prompt needs at least 1"
            )
        if lessons_shown < 0:
            raise UsageError(f"lessons_shown is {lessons_shown}: give 0 (none) or more")
        self._task = task
        self._knobs = knobs
        self._space = space
        self._max_prompt_tokens = max_prompt_tokens
        self._least_prompt_tokens = max(1, max_prompt_tokens // _MOST_SHRUNK)
        self._memory = Memory(lessons_shown, configurations=space is not None)
        self._estimate = TokenEstimate()
        self._said_too_long = False

    async def propose(self, plan: Plan, ask: Ask, rng: Random) -> Proposal:
        """Return the x in the model's reply, or why there is none after two more tries.

        What the first `ask` raises goes up, and so does what a later one raises, unless the budget is spent.
        """
        talk = _Talk(plan, ask, self._space.schema() if self._space else None)
        parent = plan.parent.x if plan.parent else None
        answer, failed_edits, repeated = Answer(None), 0, False
        for place in range(_MAX_ASKS):
            try:
                reply = await self._ask(talk)
            except BudgetSpent:
                if not place:
                    raise
                break
            answer = read(reply, parent, self._space)
            problem = answer.problem or (
                "" if repeated else self._why_not_again(answer)
            )
            if not problem:
                break
            repeated = repeated or answer.x is not None
            failed_edits += is_edited(reply)
            quoted = (
                reply.text
                if answer.whole and len(reply.text) <= _MAX_QUOTED_CHARS
                else ""
            )
            talk.again = (
                quoted,
                problem,
                how_to_answer(parent, self._space, failed_edits),
            )
        return Proposal(
            answer.x,
            f"model:{talk.model}",
            talk.usage,
            answer.problem,
            note=answer.note,
        )

    def observe(self, trial: Trial) -> None:
        """Learn from a finished trial what to remind the model of."""
        self._memory.observe(trial)

    def _why_not_again(self, answer: Answer) -> str:
        """Return that a configuration was tried before; nothing where it is new."""
        first = (
            self._memory.tried_as(answer.x)
            if self._space and answer.x is not None
            else None
        )
        return (
            ""
            if first is None
            else f"this configuration was tried already, as trial {first}: give a new one"
        )

    async def _ask(self, talk: _Talk) -> Reply:
        """Return the reply to the prompt; one that is too long for the model is made smaller once."""
        messages = self._messages(talk)
        try:
            reply = await talk.say(messages)
        except ContextTooLong as error:
            self._shrink(talk, size_of(messages), error)
            messages = self._messages(talk)
            reply = await talk.say(messages)
        self._estimate.learn(size_of(messages), reply.usage)
        return reply

    def _messages(self, talk: _Talk) -> list[Message]:
        max_chars = (
            talk.max_chars or self._max_prompt_tokens * self._estimate.chars_per_token
        )
        messages = lay_out(
            self._task,
            talk.plan,
            max_prompt_tokens=self._max_prompt_tokens,
            chars_per_token=max_chars / self._max_prompt_tokens,
            parameters=self._space.describe() if self._space else "",
            known=self._memory.known,
            knobs=self._knobs,
        )
        size = size_of(messages)
        if size > max_chars and not self._said_too_long:
            self._said_too_long = True
            said = "the task and the x to improve alone have %d characters; max_prompt_tokens=%d allows %d; they are sent"
            _log.warning(said, size, self._max_prompt_tokens, max_chars)
        return ask_again(messages, *talk.again) if talk.again else messages

    def _shrink(self, talk: _Talk, chars: int, error: ContextTooLong) -> None:
        """Make the prompt smaller, to what the model reads where it said so, else to half; remember what it said."""
        limit, prompt = error.limit_tokens, error.prompt_tokens
        ratio = chars / prompt if prompt else self._estimate.chars_per_token
        fitting = _PROMPT_SHARE * limit * ratio if limit else chars
        talk.max_chars = int(fitting if fitting < _LEAST_SHRUNK * chars else chars / 2)
        _log.info(
            "the prompt of %d characters is made smaller, at most %d: %s",
            chars,
            talk.max_chars,
            error,
        )
        if talk.again:
            talk.again = ("", *talk.again[1:])
        if limit:
            fitting_tokens = max(self._least_prompt_tokens, int(_PROMPT_SHARE * limit))
            self._max_prompt_tokens = min(self._max_prompt_tokens, fitting_tokens)
        if prompt:
            self._estimate.learn(chars, Usage(1, prompt_tokens=prompt))


class _Talk:
    """The calls for one x."""

    def __init__(self, plan: Plan, ask: Ask, schema: Mapping[str, Any] | None) -> None:
        self.plan = plan
        self.usage = Usage()
        self.model = ""  # who answered last
        self.again: tuple[str, str, str] | None = (
            None  # the reply that cannot be used, why, and how to answer
        )
        self.max_chars: int | None = (
            None  # of a prompt, where the model has refused a longer one
        )
        self._ask = ask
        self._schema = schema

    async def say(self, messages: Sequence[Message]) -> Reply:
        """Return the reply, and count it."""
        reply = await (
            self._ask(messages)
            if self._schema is None
            else self._ask(messages, self._schema)
        )
        self.usage += reply.usage
        self.model = reply.model
        return reply
