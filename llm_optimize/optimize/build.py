"""From what users write to the parts that a run is made of."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from ..errors import UnknownName, UsageError
from ..evaluate import Evaluator, Examples, Judging, Repeats, Stage, TrialJudge
from ..llm import Chat, Ensemble, Model, as_model, price_of
from ..propose import classical, gates
from ..propose.gates import GateSpec
from ..propose.knobs import Tuned
from ..propose.language.protected import check_regions
from ..propose.model import ModelProposer
from ..propose.mutation import Mutation
from ..propose.policy_gradient import PolicyGradient
from ..propose.reflect import Reflection
from ..records import Budget, Evaluation, Proposer, Search, Task, Trial
from ..search import as_search
from ..space import Space, as_space
from ..stop import Progress, Rule, as_rule
from ..store import Store
from ._settings import Settings

Func = Callable[..., Any] | Stage | Sequence[Stage | Callable[..., Any] | tuple[Callable[..., Any], float]]
Writer = str | Proposer | GateSpec
_ASK_NOBODY = ("mutation", "policy_gradient", *classical.SAMPLERS)  # proposers that need no model


@dataclass(frozen=True)
class Chosen:
    """The parts of a run as the user wrote them; what is left out is the default."""

    model: Any = None
    search: str | Search = "best"
    proposer: str | Proposer | GateSpec | None = None
    space: Space | Mapping[str, Any] | None = None
    stop: Rule | Callable[[Progress], bool] | None = None
    repeats: Repeats | int | None = None
    examples: Examples | None = None
    executor: Executor | None = None
    replayed: bool = False  # replies come from another run, and no model is asked


@dataclass(frozen=True)
class Parts:
    """The parts of a run, and its settings as the store keeps them."""

    settings: Settings
    search: Search
    proposer: Proposer
    model: Model | None  # None: the proposer needs none
    stop: Rule | None = None
    judging: Judging = field(default_factory=Judging)
    reflection: Reflection | None = None

    @property
    def goes_on_after_scoring(self) -> bool:
        """Whether a scored trial is not finished yet: f may be asked again, or a model for a lesson."""
        repeats = self.judging.repeats
        return self.reflection is not None or (repeats is not None and repeats.champion)

    async def aclose(self) -> None:
        """Close the connections of the model on this event loop."""
        if self.model is not None:
            await self.model.aclose()


def choose(settings: Settings, chosen: Chosen) -> Parts:
    """Return the parts that were named or given; `model="mutation"` is short for that proposer and no model.

    Raises UnknownName for a word that means nothing here, UsageError for parts that cannot work together, and
    MissingKey when the model has no key.
    """
    space = None if chosen.space is None else as_space(chosen.space)
    writer = as_writer("mutation" if chosen.model == "mutation" else chosen.proposer or "model")
    for x in settings.x0 if space is None else ():
        check_regions(x)
    if writer == "mutation" and not settings.x0 and space is None:
        raise UsageError("mutation changes an x that there is: give x0 or space, or let a model write the first x")
    speaker = (
        as_model(chosen.model, seed=settings.seed) if needs_model(writer, settings) and not chosen.replayed else None
    )
    if isinstance(speaker, Chat | Ensemble) and "model" in names_of(writer):
        speaker.check()
    refuse_unknown_price(settings.budget, speaker)
    repeats = Repeats(chosen.repeats) if isinstance(chosen.repeats, int) else chosen.repeats
    judging = Judging(settings.max_score, repeats, chosen.examples, chosen.executor)
    return Parts(
        settings if chosen.replayed else _named(settings, chosen, writer, speaker, space),
        as_search(chosen.search),
        as_proposer(writer, settings, space),
        speaker,
        as_rule(chosen.stop),
        judging,
        Reflection(settings.task) if settings.reflect else None,
    )


def _named(settings: Settings, chosen: Chosen, writer: Writer, speaker: Model | None, space: Space | None) -> Settings:
    """Return the settings with the names of the parts, by which a resume finds them again."""
    return replace(
        settings,
        x0=settings.x0 if space is None else tuple(map(space.check, settings.x0)),
        model=speaker.name if speaker else "",
        is_chat=speaker is None or isinstance(speaker, Chat),
        base_url=speaker.base_url if isinstance(speaker, Chat) else None,
        proposer=str(writer) if isinstance(writer, str | GateSpec) else type(writer).__name__,
        search=chosen.search if isinstance(chosen.search, str) else type(chosen.search).__name__,
        space=space.to_json() if space else None,
    )


def stored_model(settings: Settings) -> Any:
    """Return the model of a stored run, by its name; the key comes from the environment as ever.

    Raises UsageError for a model that is found by no name, such as a callable.
    """
    if not settings.is_chat:
        raise UsageError(
            f"the model of this run, {settings.model!r}, is a program of yours and not stored: pass model="
        )
    return Chat(settings.model, base_url=settings.base_url) if settings.model else None


def where(func: Any) -> str | None:
    """Return FILE.py:NAME of a function that can be found again by it, else None."""
    name = getattr(func, "__qualname__", "")
    if getattr(func, "__module__", "__main__") == "__main__" or not name.isidentifier():
        return None
    try:
        file = inspect.getsourcefile(func)
    except TypeError:
        return None
    return f"{Path(file).resolve()}:{name}" if file else None


def seed_or_new(seed: int | None) -> int:
    """Return the seed, or a new one."""
    return random.SystemRandom().getrandbits(32) if seed is None else seed


def refuse_unknown(options: Any, known: type) -> None:
    """Raise UnknownName for a keyword that is none of a TypedDict's, with the nearest that is."""
    for word in options:
        if word not in known.__annotations__:
            raise UnknownName("argument", word, known.__annotations__)


# Proposers.


def as_writer(writer: Writer) -> Writer:
    """Return what is meant: a text with brackets is a gate. Raises what `gates.read` raises."""
    return gates.read(writer) if isinstance(writer, str) and "(" in writer else writer


def names_of(writer: Writer) -> tuple[object, ...]:
    """Return the proposer, or the two of a gate."""
    return writer.parts if isinstance(writer, gates.GateSpec) else (writer,)


def needs_model(writer: Writer, settings: Settings) -> bool:
    """Return whether a run asks a model at all. Raises UsageError for lessons that nobody would write."""
    asks = not all(name in _ASK_NOBODY for name in names_of(writer))
    if settings.reflect and not asks:
        raise UsageError(f"reflect asks a model for lessons, and the proposer {writer!s} uses none: leave it away")
    return asks


def as_proposer(writer: Writer, settings: Settings, space: Space | None) -> Proposer:
    """Return the proposer of this name, or the one given; with `settings.tune`, one that tunes knobs between its x.

    Raises UnknownName with the nearest name, and UsageError for parts that cannot work together.
    """
    if settings.tune and space is not None:
        raise UsageError(f"tune is {settings.tune}: with a space there are no numbers in code to tune; leave it away")
    proposer = _made(writer, settings, space)
    return Tuned(proposer, settings.tune) if settings.tune else proposer


def _made(writer: Writer, settings: Settings, space: Space | None) -> Proposer:
    makers = _makers(settings, space)

    def make(name: str) -> Proposer:
        if name not in makers:
            raise UnknownName("proposer", name, makers)
        return makers[name]()

    if isinstance(writer, gates.GateSpec):
        return writer.resolve(make)
    return make(writer) if isinstance(writer, str) else writer


def _makers(settings: Settings, space: Space | None) -> dict[str, Callable[[], Proposer]]:
    """Return how each proposer is made that has a name."""

    def learner() -> Proposer:
        if space is None:
            raise UsageError("policy_gradient draws parameters: give space={...}")
        return PolicyGradient(space)

    return {
        "model": lambda: ModelProposer(
            settings.task, space, max_prompt_tokens=settings.max_prompt_tokens, knobs=settings.tune > 0
        ),
        "mutation": lambda: Mutation(space),
        "policy_gradient": learner,
        **classical.makers(space),
    }


def proposer_names() -> tuple[str, ...]:
    """Return the proposers that have a name."""
    return tuple(_makers(Settings(Task("", "", "", "")), None))


# The budget of dollars.


def refuse_unknown_price(budget: Budget, model: Model | None) -> None:
    """Raise UsageError when dollars are capped and nobody knows what the model costs."""
    if budget.usd is not None and model is not None and price_of(model) is None:
        raise UsageError(
            f"budget: usd is {budget.usd:g}, but the price of the model {model.name!r} is unknown: pass "
            "llm.Chat(..., price=llm.Price(prompt_per_million=..., completion_per_million=...)), install the list of "
            "prices with pip install 'llm_optimize[prices]', or cap tokens or calls instead"
        )


# Scoring.


class Judge(Protocol):
    """Who scores the trials of a run."""

    async def score(self, trial: Trial, parent: Trial | None) -> Evaluation:
        """Return what f says of the trial's x; `parent` is the trial it was built on."""

    async def more(self, trial: Trial, seeds: Sequence[int]) -> Evaluation:
        """Return what f says of it after one further scoring under each of these seeds."""

    async def test(self, trial: Trial) -> Evaluation:
        """Return what f says of it on examples that nobody has seen."""


def open_judge(func: Func, parts: Parts, store: Store) -> TrialJudge:
    """Return who scores trials by f, within the settings of a run. Raises what `Evaluator` raises."""
    settings = parts.settings
    evaluator = Evaluator(
        func,
        sandbox=settings.sandbox,
        limits=settings.limits,
        workers=settings.workers,
        timeout_secs=settings.timeout_secs,
        hidden=store.files,
        judging=parts.judging,
    )
    return TrialJudge(evaluator)
