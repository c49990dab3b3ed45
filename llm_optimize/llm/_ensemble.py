"""Several models as one, and what each call of a model may cost."""

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
from ._bandit import Bandit
from ._chat import Chat, sharing_endpoints
from ._others import Model, as_one_model, reply_of
from ._price import Price

_WAYS = ("bandit", "weights")
_CHARS_PER_TOKEN = 3  # rather too many tokens than too few
_FIRST_REPLY_TOKENS = 4_000  # what a reply may have, before the first has come
_SPREAD = 2.0  # how much longer than the longest so far a reply may be


def as_model(model: Any, *, seed: int = 0) -> Model:
    """Return a model for whatever names or is one: None, a name, a Model, a callable, or a list of these.

    The seed is that of the choices among a list. Raises UsageError for anything else.
    """
    return (
        Ensemble(model, seed=seed)
        if isinstance(model, list | tuple)
        else as_one_model(model)
    )


class Ensemble:
    """Several models; each call goes to one of them.

    Args:
        models: models, or (model, weight) pairs. Chats with the same address and key share their connections and
            their limit of requests at a time (the lowest that one of them has).
        choose: "weights" goes by these; "bandit" by what each model has earned (UCB1 on improvement per dollar, or
            per call where a price is unknown; see `observe`), and by weight among equals.
        seed: of the choices. With the same seed, one call at a time and the same trials told, they repeat.

    A model whose endpoint rests is left out while another is awake; when all rest, a call waits within its deadline.

    Raises:
        UsageError: there is no model, a weight is not positive, or an ensemble is among them.
        UnknownName: `choose` is neither word.
    """

    def __init__(
        self, models: Sequence[Any], *, choose: str = "weights", seed: int = 0
    ) -> None:
        pairs = [one if _is_pair(one) else (one, 1.0) for one in models]
        if not pairs or any(weight <= 0 for _, weight in pairs):
            raise UsageError(
                f"an ensemble needs models with weights above 0, not {models!r}"
            )
        if choose not in _WAYS:
            raise UnknownName("way to choose a model", choose, _WAYS)
        arms = [as_one_model(model) for model, _ in pairs]
        if any(isinstance(arm, Ensemble) for arm in arms):
            raise UsageError(
                "an ensemble is among the models of an ensemble: list its models instead"
            )
        shared = iter(sharing_endpoints([arm for arm in arms if isinstance(arm, Chat)]))
        names = _different([arm.name for arm in arms])
        self._arms = {
            name: next(shared) if isinstance(arm, Chat) else arm
            for name, arm in zip(names, arms, strict=True)
        }
        self._weights = {
            name: float(weight) for name, (_, weight) in zip(names, pairs, strict=True)
        }
        self._bandit = (
            Bandit({name: price_of(arm) for name, arm in self._arms.items()})
            if choose == "bandit"
            else None
        )
        self._in_flight: Counter[str] = Counter()
        self._seed = seed
        self._chosen = self._told = 0  # calls, in this session and of stored trials
        self.name = "+".join(names)

    @property
    def price(self) -> Price | None:
        """The highest price among the models, for estimates; None when one is unknown."""
        prices = [price_of(arm) for arm in self._arms.values()]
        known = [price for price in prices if price is not None]
        if len(known) < len(prices):
            return None
        return Price(
            max(one.prompt_per_million for one in known),
            max(one.completion_per_million for one in known),
        )

    def check(self) -> None:
        """Raise MissingKey when one of the models needs a key and has none."""
        for arm in self._arms.values():
            if isinstance(arm, Chat):
                arm.check()

    def observe(self, trial: Trial) -> None:
        """Learn from a finished trial.

        On resume, tell the stored trials in their order: the choices then go on as if there had been no break.
        """
        name = trial.source.removeprefix("model:")
        arm = name if name in self._arms and name != trial.source else None
        self._told += trial.usage.calls if arm else 0
        if self._bandit:
            self._bandit.observe(arm, trial)

    async def reply(
        self, messages: Sequence[Message], schema: Mapping[str, Any] | None = None
    ) -> Reply:
        """Return the answer of one of the models; `Reply.model` says whose. Raises what that raises.

        It is to be JSON of this schema where the model can be told so.
        """
        begun_at, uncertain_calls = time.monotonic(), 0
        while True:
            name = await self._awake(begun_at, uncertain_calls)
            arm = self._arms[name]
            self._in_flight[name] += 1
            try:
                reply = await self._ask(arm, messages, schema, begun_at)
            except EndpointRests as rests:
                uncertain_calls += rests.uncertain_calls
                continue
            finally:
                self._in_flight[name] -= 1
            usage = replace(
                reply.usage,
                uncertain_calls=reply.usage.uncertain_calls + uncertain_calls,
            )
            return replace(
                reply, usage=usage, model=name, seconds=time.monotonic() - begun_at
            )

    async def _ask(
        self,
        arm: Model,
        messages: Sequence[Message],
        schema: Mapping[str, Any] | None,
        begun_at: float,
    ) -> Reply:
        if not isinstance(arm, Chat):
            return await reply_of(arm, messages, schema)
        left_secs = max(0.001, min(arm.deadline_secs, self._left_secs(begun_at)))
        return await arm.reply_within(left_secs, messages, patient=False, schema=schema)

    async def _awake(self, begun_at: float, uncertain_calls: int) -> str:
        """Return the model to ask. Waits while all rest; raises ModelUnavailable when the deadline ends first."""
        while True:
            rests = {
                name: arm.rest_secs() if isinstance(arm, Chat) else 0.0
                for name, arm in self._arms.items()
            }
            awake = [name for name, rest_secs in rests.items() if rest_secs <= 0]
            if awake:
                return self._choice(awake)
            left_secs = self._left_secs(begun_at)
            if left_secs <= 0:
                said = f"all the models of {self.name} rest after failures: look at their endpoints"
                raise ModelUnavailable(said, uncertain_calls=uncertain_calls)
            await asyncio.sleep(min(left_secs, *rests.values()))

    def _left_secs(self, begun_at: float) -> float:
        """Return what is left of the deadline of a call: the longest that one of the models has."""
        longest = max(
            (arm.deadline_secs for arm in self._arms.values() if isinstance(arm, Chat)),
            default=0.0,
        )
        return longest - (time.monotonic() - begun_at)

    def _choice(self, awake: Sequence[str]) -> str:
        names = (
            self._bandit.best(awake, self._in_flight) if self._bandit else list(awake)
        )
        place = max(self._chosen, self._told)
        self._chosen = place + 1
        dice = random.Random(
            f"{self._seed}/{place}"
        )  # nothing but the place, so that a resumed run throws the same
        return dice.choices(names, [self._weights[name] for name in names])[0]

    async def aclose(self) -> None:
        """Close all of the models."""
        for arm in self._arms.values():
            await arm.aclose()


def _is_pair(one: Any) -> bool:
    return isinstance(one, tuple) and len(one) == 2 and isinstance(one[1], int | float)


def _different(names: Sequence[str]) -> list[str]:
    """Return the names, later ones of the same name with a number: `m`, `m#2`."""
    seen: Counter[str] = Counter()
    different = []
    for name in names:
        seen[name] += 1
        different.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return different


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


@dataclass(frozen=True)
class Seen:
    """What the replies so far tell of the next one."""

    longest_reply: int | None = None  # in tokens; None before the first
    tokens_per_char: float = 1 / _CHARS_PER_TOKEN  # the highest of all prompts


def expected_usage(model: Model, messages: Sequence[Message], seen: Seen) -> Usage:
    """Return what one more call may use, rather too much than too little; its cost is None for an unknown price.

    Nothing is taken to be cached, and the reply to be twice as long as the longest so far, but not longer than a limit
    that the model has. Meant for calls in flight, whose usage nobody knows yet.

    >>> from llm_optimize.llm import Chat
    >>> model = Chat("m", price=Price(1.0, 2.0), max_tokens=500)
    >>> expected_usage(model, [{"role": "user", "content": "x" * 3000}], Seen()).cost_usd
    0.002
    """
    prompt = math.ceil(
        sum(len(message["content"]) for message in messages) * seen.tokens_per_char
    )
    reply = (
        _FIRST_REPLY_TOKENS
        if seen.longest_reply is None
        else round(_SPREAD * seen.longest_reply)
    )
    if isinstance(model, Chat) and model.max_tokens is not None:
        reply = min(reply, model.max_tokens)
    price, usage = price_of(model), Usage(1, prompt, reply)
    return usage if price is None else replace(usage, cost_usd=price.cost(usage))
