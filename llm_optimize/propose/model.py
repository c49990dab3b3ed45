"""Model proposer: a chat model writes the next x.

It lays out a prompt, asks the model through the `ask` that it is given, and reads the x in the
reply; an unusable reply is asked again with what was wrong. It keeps no state that a resume would
not rebuild, but for the length of prompts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from ..errors import BudgetSpent, ContextTooLong, UsageError
from ..records import Ask, Direction, Message, Plan, Proposal, Reply, Task, Trial, Usage
from ..space import Space
from ..token_estimate import TokenEstimate
from .language.answer import Answer, how_to_answer, is_edited, read
from .language.memory import Memory
from .language.prompt import ask_again, lay_out, size_of

_log = logging.getLogger("llm_optimize")

_MAX_ASKS = 3  # the first and two more with what was wrong
_MAX_QUOTED_CHARS = 20_000  # of a reply that is answered; a longer one is not quoted
_PROMPT_SHARE = 0.75  # of what a model reads; the rest is for its answer
_LEAST_SHRUNK = 0.9  # a prompt that was too long is made shorter by a tenth at least
# Later prompts keep this part of their length, whatever an endpoint reports.
_MOST_SHRUNK = 16


class ModelProposer:
    """Asks the model of the run, and reminds it of what was tried.

    What it shows beyond a plan is learned from the trials that it observes, so that it goes on
    after a resume as if there had been no break. Only two things begin anew with each process,
    both about the length of prompts: the characters per token that the endpoint reports, and the
    size of the context window that it names.

    Args:
        task: what the user wants, in words.
        space: the parameters, when x is a set of these.
        max_prompt_tokens: how long a prompt may be, estimated without a tokenizer. The parent is
            shown even where it alone is longer; that is logged once.
        lessons_shown: how many of the last lessons are shown.
        knobs: whether x may declare values that are tuned without the model; the prompt says so.
        direction: whether a higher or a lower score of f is better; the prompt has those of f.

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
        direction: Direction = Direction.MAXIMIZE,
    ) -> None:
        if max_prompt_tokens < 1:
            raise UsageError(
                f"max_prompt_tokens is {max_prompt_tokens}: a prompt needs at least 1"
            )
        if lessons_shown < 0:
            raise UsageError(f"lessons_shown is {lessons_shown}: give 0 (none) or more")
        self._task = task
        self._knobs = knobs
        self._direction = direction
        self._space = space
        self._max_prompt_tokens = max_prompt_tokens
        self._least_prompt_tokens = max(1, max_prompt_tokens // _MOST_SHRUNK)
        self._memory = Memory(lessons_shown, configurations=space is not None)
        self._estimate = TokenEstimate()
        self._warned_too_long = False

    async def propose(self, plan: Plan, ask: Ask, rng: Random) -> Proposal:
        """Return the x in the model's reply, or why there is none after two more tries.

        Raises what the first `ask` raises, and what a later one raises unless the budget is spent.
        """
        talk = _Talk(plan, ask, self._space.schema() if self._space else None)
        parent = plan.parent.x if plan.parent else None
        answer = Answer(None)
        failed_edits = 0
        repeated = False  # a configuration that was tried is asked again only once
        for place in range(_MAX_ASKS):
            try:
                reply = await self._ask(talk)
            except BudgetSpent:
                if place == 0:
                    raise
                break
            answer = read(reply, parent, self._space)
            problem = answer.problem
            if not problem and not repeated:
                problem = self._why_not_again(answer)
            if not problem:
                break
            repeated = repeated or answer.x is not None
            failed_edits += is_edited(reply)
            quoted = ""
            if answer.whole and len(reply.text) <= _MAX_QUOTED_CHARS:
                quoted = reply.text
            how = how_to_answer(parent, self._space, failed_edits)
            talk.again = (quoted, problem, how)
        source = f"model:{talk.model}"
        return Proposal(answer.x, source, talk.usage, answer.problem, note=answer.note)

    def observe(self, trial: Trial) -> None:
        """Learn from a finished trial what to remind the model of."""
        self._memory.observe(trial)

    def _why_not_again(self, answer: Answer) -> str:
        """Return that a configuration was tried before; nothing where it is new."""
        if self._space is None or answer.x is None:
            return ""
        first = self._memory.tried_as(answer.x)
        if first is None:
            return ""
        return f"this configuration was tried already, as trial {first}: give a new one"

    async def _ask(self, talk: _Talk) -> Reply:
        """Return the reply; a prompt that is too long for the model is made smaller once."""
        messages = self._messages(talk)
        try:
            reply = await talk.send(messages)
        except ContextTooLong as error:
            self._shrink(talk, size_of(messages), error)
            messages = self._messages(talk)
            reply = await talk.send(messages)
        self._estimate.observe(size_of(messages), reply.usage)
        return reply

    def _messages(self, talk: _Talk) -> list[Message]:
        allowed = self._max_prompt_tokens * self._estimate.chars_per_token
        max_chars = talk.max_chars or allowed
        messages = lay_out(
            self._task,
            self._direction.plan(talk.plan),
            max_prompt_tokens=self._max_prompt_tokens,
            chars_per_token=max_chars / self._max_prompt_tokens,
            parameters=self._space.describe() if self._space else "",
            known=self._memory.known.turned(self._direction),
            knobs=self._knobs,
            direction=self._direction,
        )
        size = size_of(messages)
        if size > max_chars and not self._warned_too_long:
            self._warned_too_long = True
            _log.warning(
                "the task and the x to improve alone have %d characters; "
                "max_prompt_tokens=%d allows %d; they are sent",
                size,
                self._max_prompt_tokens,
                max_chars,
            )
        if talk.again:
            return ask_again(messages, *talk.again)
        return messages

    def _shrink(self, talk: _Talk, chars: int, error: ContextTooLong) -> None:
        """Make the prompt smaller: to the limit that the error names, else to half.

        A named limit also holds for the prompts to come, and a named length of the prompt teaches
        how many characters a token has.
        """
        limit, prompt = error.limit_tokens, error.prompt_tokens
        ratio = chars / prompt if prompt else self._estimate.chars_per_token
        fitting = _PROMPT_SHARE * limit * ratio if limit else chars
        if fitting >= _LEAST_SHRUNK * chars:
            fitting = chars / 2
        talk.max_chars = int(fitting)
        _log.info(
            "the prompt of %d characters is made smaller, at most %d: %s",
            chars,
            talk.max_chars,
            error,
        )
        if talk.again:
            talk.again = ("", *talk.again[1:])
        if limit:
            tokens = max(self._least_prompt_tokens, int(_PROMPT_SHARE * limit))
            self._max_prompt_tokens = min(self._max_prompt_tokens, tokens)
        if prompt:
            self._estimate.observe(chars, Usage(1, prompt_tokens=prompt))


class _Talk:
    """The calls for one x."""

    def __init__(self, plan: Plan, ask: Ask, schema: Mapping[str, Any] | None) -> None:
        self.plan = plan
        self.usage = Usage()
        self.model = ""  # of the last reply
        # The reply that cannot be used, why, and how to answer instead.
        self.again: tuple[str, str, str] | None = None
        # Of a prompt, once the model has refused a longer one.
        self.max_chars: int | None = None
        self._ask = ask
        self._schema = schema

    async def send(self, messages: Sequence[Message]) -> Reply:
        """Return the reply, and count it."""
        if self._schema is None:
            reply = await self._ask(messages)
        else:
            reply = await self._ask(messages, self._schema)
        self.usage += reply.usage
        self.model = reply.model
        return reply
