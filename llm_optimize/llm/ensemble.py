"""Ensemble: several models as one, and what each call of a model may cost."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from ..errors import EndpointRests, ModelUnavailable, UnknownName, UsageError
from ..records import Message, Reply, Trial, Usage
from ..token_estimate import CAUTIOUS_CHARS_PER_TOKEN
from .bandit import Bandit
from .chat import Chat, sharing_endpoints
from .models import Model, as_one_model, reply_of
from .price import Price

_WAYS = ("bandit", "weights")
_FIRST_REPLY_TOKENS = 4_000  # what a reply may have, before the first has come; by hand
_SPREAD = 2.0  # how much longer than the longest so far a reply may be; by hand


def as_model(model: Any, *, seed: int = 0) -> Model:
    """Return the model for a name, a Model, a callable, a list of these, or None for the default.

    Args:
        model: what the user gave.
        seed: of the choices among a list.

    Raises:
        UsageError: it is anything else.
    """
    if isinstance(model, list | tuple):
        return Ensemble(model, seed=seed)
    return as_one_model(model)


class Ensemble:
    """Several models; each call goes to one of them.

    A model whose endpoint is not available (its circuit is open, or it asked for a pause) is left
    out while another is available; when none is, a call waits within its deadline.

    Args:
        models: models, or (model, weight) pairs. Chats with the same address and key share their
            connections and their limit of requests at a time (the lowest that one of them has).
        choose: "weights" goes by these; "bandit" by what each model has earned (UCB1 on improvement
            per dollar, or per call where a price is unknown; see `observe`), and by weight among
            equals.
        seed: of the choices. With the same seed, one call at a time and the same trials observed,
            they repeat.

    Raises:
        UsageError: there is no model, a weight is not positive, or an ensemble is among them.
        UnknownName: `choose` is neither word.
    """

    def __init__(
        self, models: Sequence[Any], *, choose: str = "weights", seed: int = 0
    ) -> None:
        weights: list[float] = []
        arms: list[Model] = []
        for one in models:
            model, weight = _with_weight(one)
            weights.append(weight)
            arms.append(model)
        if not weights or min(weights) <= 0:
            raise UsageError(
                f"an ensemble needs models with weights above 0, not {models!r}"
            )
        if choose not in _WAYS:
            raise UnknownName("way to choose a model", choose, _WAYS)
        arms = [as_one_model(model) for model in arms]
        if any(isinstance(arm, Ensemble) for arm in arms):
            raise UsageError(
                "an ensemble is among the models of an ensemble: list its models instead"
            )
        names = _unique([arm.name for arm in arms])
        chats = [arm for arm in arms if isinstance(arm, Chat)]
        sharing_chats = iter(sharing_endpoints(chats))
        self._arms: dict[str, Model] = {}
        for name, arm in zip(names, arms, strict=True):
            self._arms[name] = next(sharing_chats) if isinstance(arm, Chat) else arm
        self._weights = dict(zip(names, weights, strict=True))
        self._bandit: Bandit | None = None
        if choose == "bandit":
            prices = {name: price_of(arm) for name, arm in self._arms.items()}
            self._bandit = Bandit(prices)
        self._in_flight: Counter[str] = Counter()
        self._seed = seed
        self._chosen = 0  # calls, in this session
        self._observed = 0  # calls of trials that were observed
        self.name = "+".join(names)

    @property
    def price(self) -> Price | None:
        """The highest price among the models, for estimates; None when one is unknown."""
        per_prompt, per_completion = 0.0, 0.0
        for arm in self._arms.values():
            price = price_of(arm)
            if price is None:
                return None
            per_prompt = max(per_prompt, price.prompt_per_million)
            per_completion = max(per_completion, price.completion_per_million)
        return Price(per_prompt, per_completion)

    @property
    def changes(self) -> tuple[str, ...]:
        """What endpoints refused so far, and how models are asked instead: a sentence each."""
        found: list[str] = []
        for arm in self._arms.values():
            found += changes_of(arm)
        return tuple(found)

    def check(self) -> None:
        """Raise MissingKey when one of the models needs a key and has none."""
        for arm in self._arms.values():
            if isinstance(arm, Chat):
                arm.check()

    def observe(self, trial: Trial) -> None:
        """Learn from a finished trial.

        On resume, let it observe the stored trials in their order: the choices then go on as if
        there had been no break.
        """
        arm: str | None = None
        name = trial.source.removeprefix("model:")
        if name != trial.source and name in self._arms:
            arm = name
            self._observed += trial.usage.calls
        if self._bandit:
            self._bandit.observe(arm, trial)

    async def reply(
        self, messages: Sequence[Message], schema: Mapping[str, Any] | None = None
    ) -> Reply:
        """Return the answer of one of the models; `Reply.model` names it. Raises what it raises.

        It is JSON of this schema where the model accepts a schema.
        """
        started_at = time.monotonic()
        uncertain_calls = 0
        while True:
            name = await self._next_arm(started_at, uncertain_calls)
            self._in_flight[name] += 1
            try:
                reply = await self._ask(self._arms[name], messages, schema, started_at)
            except EndpointRests as error:
                uncertain_calls += error.uncertain_calls
                continue
            finally:
                self._in_flight[name] -= 1
            uncertain_calls += reply.usage.uncertain_calls
            usage = replace(reply.usage, uncertain_calls=uncertain_calls)
            seconds = time.monotonic() - started_at
            return replace(reply, usage=usage, model=name, seconds=seconds)

    async def _ask(
        self,
        arm: Model,
        messages: Sequence[Message],
        schema: Mapping[str, Any] | None,
        started_at: float,
    ) -> Reply:
        if not isinstance(arm, Chat):
            return await reply_of(arm, messages, schema)
        left_secs = min(arm.deadline_secs, self._left_secs(started_at))
        left_secs = max(0.001, left_secs)
        return await arm.reply_within(left_secs, messages, patient=False, schema=schema)

    async def _next_arm(self, started_at: float, uncertain_calls: int) -> str:
        """Return the model to ask; wait while none is available.

        Raises:
            ModelUnavailable: none was available before the deadline.
        """
        while True:
            waits: dict[str, float] = {}
            for name, arm in self._arms.items():
                waits[name] = arm.rest_secs() if isinstance(arm, Chat) else 0.0
            available = [name for name, secs in waits.items() if secs <= 0]
            if available:
                return self._choose(available)
            left_secs = self._left_secs(started_at)
            if left_secs <= 0:
                raise ModelUnavailable(
                    f"no model of {self.name} is available after failures: "
                    "look at their endpoints",
                    uncertain_calls=uncertain_calls,
                )
            await asyncio.sleep(min(left_secs, *waits.values()))

    def _left_secs(self, started_at: float) -> float:
        """Return what is left of the deadline of a call: the longest that one of the models has."""
        chats = [arm for arm in self._arms.values() if isinstance(arm, Chat)]
        longest = max((chat.deadline_secs for chat in chats), default=0.0)
        return longest - (time.monotonic() - started_at)

    def _choose(self, available: Sequence[str]) -> str:
        names = list(available)
        if self._bandit:
            names = self._bandit.best(available, self._in_flight)
        place = max(self._chosen, self._observed)
        self._chosen = place + 1
        # Nothing but the place seeds the choice, so that a resumed run repeats it.
        rng = random.Random(f"{self._seed}/{place}")
        weights = [self._weights[name] for name in names]
        return rng.choices(names, weights)[0]

    async def aclose(self) -> None:
        """Close all of the models."""
        for arm in self._arms.values():
            await arm.aclose()


def _with_weight(one: Any) -> tuple[Any, float]:
    """Return a model and its weight; a model without one has 1."""
    if isinstance(one, tuple) and len(one) == 2 and isinstance(one[1], int | float):
        model, weight = one
        return model, float(weight)
    return one, 1.0


def _unique(names: Sequence[str]) -> list[str]:
    """Return the names, later ones of the same name with a number: `m`, `m#2`."""
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return unique


@runtime_checkable
class Priced(Protocol):
    """A model that knows what it costs."""

    @property
    def price(self) -> Price | None:
        """What its tokens cost; None when that is unknown."""


def price_of(model: Model) -> Price | None:
    """Return what a model's tokens cost; None when that is unknown.

    >>> price_of(as_model(lambda messages: "")) is None
    True
    """
    return model.price if isinstance(model, Priced) else None


def changes_of(model: Model) -> tuple[str, ...]:
    """Return what the endpoints of a model refused so far, and how it is asked instead.

    >>> changes_of(as_model(lambda messages: ""))
    ()
    """
    return model.changes if isinstance(model, Chat | Ensemble) else ()


@dataclass(frozen=True)
class Seen:
    """What the replies so far say about the next one.

    Args:
        longest_reply: in tokens; None before the first.
        tokens_per_char: the highest of all prompts.
    """

    longest_reply: int | None = None
    tokens_per_char: float = 1 / CAUTIOUS_CHARS_PER_TOKEN


def expected_usage(model: Model, messages: Sequence[Message], seen: Seen) -> Usage:
    """Return what one more call may use, rather too much than too little.

    Nothing is assumed to be cached, and the reply to be twice as long as the longest so far, but
    not longer than a limit that the model has. The cost is None for an unknown price. Meant for
    calls in flight, whose usage is not known yet.

    >>> from llm_optimize.llm import Chat
    >>> model = Chat("m", price=Price(1.0, 2.0), max_tokens=500)
    >>> expected_usage(model, [{"role": "user", "content": "x" * 3000}], Seen()).cost_usd
    0.002
    """
    chars = sum(len(message["content"]) for message in messages)
    prompt_tokens = math.ceil(chars * seen.tokens_per_char)
    reply_tokens = _FIRST_REPLY_TOKENS
    if seen.longest_reply is not None:
        reply_tokens = round(_SPREAD * seen.longest_reply)
    if isinstance(model, Chat) and model.max_tokens is not None:
        reply_tokens = min(reply_tokens, model.max_tokens)
    usage = Usage(1, prompt_tokens, reply_tokens)
    price = price_of(model)
    if price is None:
        return usage
    return replace(usage, cost_usd=price.cost(usage))
