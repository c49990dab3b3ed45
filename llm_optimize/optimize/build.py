"""The parts of a run, built from its settings: search, proposer, model, stop rule, judge."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from ..errors import InPython, OptionName, UnknownName, UsageError
from ..evaluate import Evaluator, Examples, Judging, Repeats, Stage, TrialJudge
from ..llm import Chat, Ensemble, Model, as_model, price_of
from ..propose import classical, gates
from ..propose.gates import GateSpec
from ..propose.knobs import Tuned
from ..propose.language.protected import check_regions
from ..propose.language.reflect import Reflection
from ..propose.model import ModelProposer
from ..propose.mutation import Mutation
from ..propose.policy_gradient import PolicyGradient
from ..records import Budget, Evaluation, Proposer, Search, Task, Trial, Watcher
from ..search import as_search
from ..settings import OF_CHAT, RunSettings
from ..shell import pip_install
from ..space import Space, as_space
from ..stop import Rule, as_rule
from ..store import Store

AnyStage = Stage | Callable[..., Any] | tuple[Callable[..., Any], float]
Func = Callable[..., Any] | Stage | Sequence[AnyStage]
Writer = str | Proposer | GateSpec
_GIVE_PRICE = InPython(
    "pass llm.Chat(..., price=llm.Price(prompt_per_million=..., completion_per_million=...))",
    shell="give it with --price, such as --price 0.25/2",
)
_WITHOUT_MODEL = ("mutation", "policy_gradient", *classical.SAMPLERS)  # proposers


@dataclass(frozen=True)
class Parts:
    """The parts of a run, and its settings as plain data, which the store keeps."""

    settings: RunSettings
    search: Search
    proposer: Proposer
    model: Model | None  # None: the proposer needs none
    stop: Rule | None = None
    judging: Judging = field(default_factory=Judging)
    reflection: Reflection | None = None

    @property
    def goes_on_after_scoring(self) -> bool:
        """Whether a scored trial may wait for more: further scorings, or a lesson of the model."""
        if self.reflection is not None:
            return True
        repeats = self.judging.repeats
        return repeats is not None and repeats.champion

    async def aclose(self) -> None:
        """Close the connections of the model on this event loop."""
        if self.model is not None:
            await self.model.aclose()


def choose(
    settings: RunSettings, *, replayed: bool = False, needs_key: bool = True
) -> Parts:
    """Return the parts that settings name or hold.

    `model="mutation"` stands for that proposer and no model.

    A run that is `replayed` has the replies of another one, and asks no model. Without `needs_key`
    the model may lack its key.

    Raises UnknownName for a word that means nothing here, UsageError for parts that cannot work
    together, and MissingKey when the model has no key.
    """
    settings = replace(settings, seed=seed_or_new(settings.seed))
    space = None
    if settings.space is not None:
        space = as_space(settings.space)
    else:
        for x in (*settings.x0, *(one[0] for one in settings.known)):
            check_regions(x)
    writer = as_writer(settings.proposer or "model")
    if settings.model == "mutation":
        if writer not in ("model", "mutation"):
            raise UsageError(
                InPython('model="mutation"', shell="--model mutation"),
                " stands for that proposer and no model, and ",
                OptionName("proposer"),
                f" is {_name_of(writer)!r}: give one of the two",
            )
        for option in OF_CHAT:
            given = getattr(settings, option)
            if given is not None:
                raise UsageError(
                    OptionName(option),
                    f" is {given!r}, and mutation asks no model: remove it",
                )
        writer = "mutation"
    begins_with = settings.x0 or settings.known_trials
    if writer == "mutation" and space is None and not begins_with:
        raise UsageError(
            "mutation changes an x that exists: give ",
            OptionName("x0"),
            " or ",
            OptionName("space"),
            ", or another model",
        )
    model = None
    if needs_model(writer, settings) and not replayed:
        model = _model_of(settings, writer, needs_key)
    refuse_unknown_price(settings.budget, model)
    named = _named(settings, writer, space)
    if not replayed:
        named = _with_model(named, model)
    search = _with_methods("search", settings.search, "ask", "observe")
    stop = None
    if settings.stop is not None:
        stop = as_rule(settings.stop)
    reflection = None
    if settings.reflect:
        reflection = Reflection(settings.task, settings.direction)
    return Parts(
        settings=named,
        search=as_search(search),
        proposer=as_proposer(writer, settings, space),
        model=model,
        stop=stop,
        judging=_judging(settings),
        reflection=reflection,
    )


def _model_of(settings: RunSettings, writer: Writer, needs_key: bool) -> Model:
    """Return the model that settings name or hold. Raises MissingKey where one needs a key."""
    model = as_model(_addressed(settings), seed=settings.seed or 0)
    if isinstance(model, Chat | Ensemble) and "model" in names_of(writer):
        if needs_key:
            model.check()
    return model


def _named(settings: RunSettings, writer: Writer, space: Space | None) -> RunSettings:
    """Return the settings with the names of the parts, by which a resume finds them again."""
    named: dict[str, Any] = {
        "proposer": _name_of(writer),
        "search": _name_of(settings.search),
    }
    if isinstance(writer, GateSpec):
        named["proposer"] = str(writer)
    if space is not None:
        named["x0"] = tuple(space.check(x) for x in settings.x0)
        named["known"] = known_in(space, settings.known)
        named["space"] = space.to_json()
    repeats = _repeats(settings.repeats)
    if repeats is not None:
        named["repeats"] = asdict(repeats)
    return replace(settings, **named)


def known_in(space: Space, known: Sequence[Any]) -> list[Any]:
    """Return known scores with their x as the space has them.

    Raises UsageError for an x that it does not allow: the score of the nearest one is not known.
    """
    found = []
    for x, score, feedback in known:
        legal = space.check(x)
        for name, value in legal.items():
            if value != x[name]:
                raise UsageError(
                    OptionName("known"),
                    f" holds {x!r}, and the space does not allow {name} = {x[name]!r}: "
                    f"the nearest is {value!r}",
                )
        found.append((legal, score, feedback))
    return found


def _name_of(given: Any) -> str:
    if isinstance(given, str):
        return given
    if isinstance(given, type):
        return given.__name__
    return type(given).__name__


def _with_model(settings: RunSettings, model: Model | None) -> RunSettings:
    """Return the settings with what makes the model again: its name, and what a chat is made of."""
    of_chat: dict[str, Any] = dict.fromkeys(OF_CHAT)
    if model is None:
        return replace(settings, model=None, is_chat=True, **of_chat)
    is_chat = isinstance(model, Chat)
    if is_chat:
        of_chat = {name: getattr(model, name) for name in OF_CHAT}
    return replace(settings, model=model.name, is_chat=is_chat, **of_chat)


def _addressed(settings: RunSettings) -> Any:
    """Return the model as it was given; a name is combined with `base_url` and the like.

    Raises UsageError for the stored label of a model that no name leads to, such as a callable, and
    for a `base_url` or the like beside a model that has its own.
    """
    model = settings.model
    if not settings.is_chat:
        raise UsageError(
            f"the model of this run, {model!r}, is your own program and not stored: ",
            InPython("pass model=", shell="name one with --model"),
        )
    given: dict[str, Any] = {}
    for option in OF_CHAT:
        value = getattr(settings, option)
        if value is not None:
            given[option] = value
    if not given:
        return model
    if model is None or isinstance(model, str):
        return Chat(model, **given)
    if isinstance(model, list | tuple):
        names = [one for one in model if isinstance(one, str)]
        if len(names) == len(model):
            return [Chat(name, **given) for name in names]
    option = next(iter(given))
    raise UsageError(
        f"{option} goes with the name of a model, and model is an object: "
        f"give it to llm.Chat(..., {option}=...)"
    )


def _with_methods(option: str, given: Any, *methods: str) -> Any:
    """Return a name or an object as it is, and an instance of a class.

    Raises UsageError for what lacks one of the methods.
    """
    if isinstance(given, str):
        return given
    for method in methods:
        if not callable(getattr(given, method, None)):
            wanted = " and ".join(f"`{name}`" for name in methods)
            raise UsageError(
                OptionName(option),
                f" is {given!r}: give a name, or an object with {wanted}",
            )
    if not isinstance(given, type):
        return given
    try:
        return given()
    except TypeError as error:
        raise UsageError(
            f"{option} is the class {given.__name__}, which needs arguments ({error}): "
            "give an instance"
        ) from error


def _repeats(given: Any) -> Repeats | None:
    """Return how often f is asked; also for the fields of a `Repeats`, as the store keeps them."""
    if given is None or isinstance(given, Repeats):
        return given
    if isinstance(given, int):
        return Repeats(given)
    if isinstance(given, Mapping) and given.keys() <= {"n", "champion"}:
        return Repeats(**given)
    raise UsageError(
        OptionName("repeats"),
        f" is {given!r}: give how often a champion is scored, at least 2",
        InPython(", or a Repeats", shell=""),
    )


def _judging(settings: RunSettings) -> Judging:
    executor = settings.executor
    if executor is not None:
        if not callable(getattr(executor, "submit", None)):
            raise UsageError(
                f"executor is {executor!r}: give a concurrent.futures.Executor, "
                "or another object with `submit`"
            )
    examples = settings.examples
    if examples is not None and not isinstance(examples, Examples):
        kind = type(examples).__name__
        raise UsageError(f"examples is a {kind}: give optimize.Examples(...)")
    repeats = _repeats(settings.repeats)
    return Judging(settings.max_score, repeats, examples, executor, settings.direction)


def where(func: Any) -> str | None:
    """Return FILE.py:NAME of a function that can be imported by it, else None."""
    name = getattr(func, "__qualname__", "")
    module = getattr(func, "__module__", "__main__")
    if module == "__main__" or not name.isidentifier():
        return None
    try:
        file = inspect.getsourcefile(func)
    except TypeError:
        return None
    if file is None:
        return None
    return f"{Path(file).resolve()}:{name}"


def seed_or_new(seed: int | None) -> int:
    """Return the seed, or a new one."""
    if seed is not None:
        return seed
    return random.SystemRandom().getrandbits(32)


def as_callbacks(callbacks: Any) -> list[Watcher]:
    """Return the watchers of a run. Raises UsageError for what is not a list of callables."""
    if callbacks is None:
        return []
    if isinstance(callbacks, Iterable) and not isinstance(callbacks, str):
        found = list(callbacks)
        if all(callable(one) for one in found):
            return found
    raise UsageError(
        f"callbacks is {callbacks!r}: give a list of callables that take an event"
    )


# Proposers.


def as_writer(writer: Writer) -> Writer:
    """Return a proposer, its name, or the gate that a text with brackets describes.

    Raises what `gates.read` raises.
    """
    if isinstance(writer, str) and "(" in writer:
        return gates.read(writer)
    if isinstance(writer, GateSpec):
        return writer
    made: Writer = _with_methods("proposer", writer, "propose", "observe")
    return made


def names_of(writer: Writer) -> tuple[object, ...]:
    """Return the proposer, or the two of a gate."""
    if isinstance(writer, GateSpec):
        return writer.parts
    return (writer,)


def needs_model(writer: Writer, settings: RunSettings) -> bool:
    """Return whether a run asks a model at all.

    Raises UsageError for `reflect` in a run that asks none.
    """
    asks = any(name not in _WITHOUT_MODEL for name in names_of(writer))
    if settings.reflect and not asks:
        raise UsageError(
            OptionName("reflect"),
            f" asks a model for lessons, and the proposer {writer!s} asks none: remove it",
        )
    return asks


def as_proposer(writer: Writer, settings: RunSettings, space: Space | None) -> Proposer:
    """Return the proposer that is named or given; with `settings.tune` one that tunes knobs.

    Raises UnknownName with the nearest name, and UsageError for parts that cannot work together.
    """
    if settings.tune and space is not None:
        raise UsageError(
            OptionName("tune"),
            f" is {settings.tune}, and with a space there are no numbers in code to tune: "
            "remove it",
        )
    proposer = _made(writer, settings, space)
    if not settings.tune:
        return proposer
    return Tuned(proposer, settings.tune)


def _made(writer: Writer, settings: RunSettings, space: Space | None) -> Proposer:
    makers = _makers(settings, space)

    def make(name: str) -> Proposer:
        if name not in makers:
            raise UnknownName("proposer", name, makers)
        return makers[name]()

    if isinstance(writer, GateSpec):
        return writer.resolve(make)
    if isinstance(writer, str):
        return make(writer)
    return writer


def _makers(
    settings: RunSettings, space: Space | None
) -> dict[str, Callable[[], Proposer]]:
    """Return how each proposer is made that has a name."""

    def learner() -> Proposer:
        if space is None:
            raise UsageError(
                "policy_gradient draws parameters: give ", OptionName("space")
            )
        return PolicyGradient(space)

    return {
        "model": lambda: ModelProposer(
            settings.task,
            space,
            max_prompt_tokens=settings.max_prompt_tokens,
            knobs=settings.tune > 0,
            direction=settings.direction,
        ),
        "mutation": lambda: Mutation(space, settings.x0),
        "policy_gradient": learner,
        **classical.makers(space),
    }


def proposer_names() -> tuple[str, ...]:
    """Return the proposers that have a name."""
    return tuple(_makers(RunSettings(Task("", "", "", "")), None))


# The budget of dollars.


def refuse_unknown_price(budget: Budget, model: Model | None) -> None:
    """Raise UsageError when dollars are capped and nobody knows what the model costs."""
    if budget.usd is None or model is None:
        return
    if price_of(model) is None:
        raise UsageError(
            OptionName("budget.usd"),
            f" is {budget.usd:g}, but the price of the model {model.name!r} is unknown: ",
            _GIVE_PRICE,
            f", install the list of prices with {pip_install('genai-prices')}, or cap ",
            InPython("tokens or calls", shell="--max-tokens or --max-calls"),
            " instead",
        )


# Scoring.


class Judge(Protocol):
    """Who scores the trials of a run; a higher score is better (see `records.Direction`)."""

    async def score(self, trial: Trial, parent: Trial | None) -> Evaluation:
        """Return what f says of the trial's x; `parent` is the trial it was built on."""

    async def more(self, trial: Trial, seeds: Sequence[int]) -> Evaluation:
        """Return what f says of it after one further scoring under each of these seeds."""

    async def test(self, trial: Trial) -> Evaluation:
        """Return what f says of it on examples that nobody has seen."""


def open_judge(func: Func, parts: Parts, store: Store) -> TrialJudge:
    """Return the judge that scores trials by f. Raises what `Evaluator` raises."""
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
    return TrialJudge(evaluator, settings.direction)
