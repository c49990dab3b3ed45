"""Every option of a run, documented and checked once.

Python (`optimize.run`, `resume`, `Optimizer`, `compare`), the command line and task files take their
options from the fields of `RunSettings`, and the store keeps them as JSON. To add an option, add a
field here, name it in `RunOptions`, and use it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from typing import Any, TypedDict

from .errors import UnknownName, UsageError
from .records import Budget, Limits, Task, X

_AN_OBJECT = "it takes an object of Python"
_NOT_AN_OPTION = "it is found out, not given"


@dataclass(frozen=True)
class Option:
    """How people reach one field of `RunSettings`; an empty reason means that they do."""

    help: str  # what it is, in a sentence or two, with its unit
    flag: str = ""  # of the command line
    no_flag: str = ""  # why the command line and task files do not have it
    no_resume: str = ""  # why `resume` cannot change it


def _option(default: Any, help_: str, **how: str) -> Any:
    metadata = {"option": Option(help_, **how)}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class RunSettings:
    """The options of one run, checked at birth.

    Where an option takes an object of Python or its name, a stored run knows the name only.

    Raises:
        UsageError: a value that cannot be; the message names it and what would be right.

    >>> RunSettings(Task("", "", "", ""), max_steps=-1)
    Traceback (most recent call last):
        ...
    llm_optimize.errors.UsageError: max_steps is -1: give 0 (score x0 only) or more
    """

    task: Task
    x0: tuple[X, ...] = _option(
        (),
        "The first candidate, or a list of several; none lets the model write the first.",
        flag="--x0",
        no_resume="x0 has been scored already: fork the run, or begin another",
    )
    func: str | None = _option(
        None, "Where f is, as FILE.py:NAME.", no_flag=_NOT_AN_OPTION, no_resume=_NOT_AN_OPTION
    )
    max_steps: int = _option(10, "How many candidates are proposed beyond x0.", flag="--steps")
    model: Any = _option(
        None,
        'A model\'s name, an `llm.Chat`, a callable from messages to text, a list of these, or "mutation" '
        "for no model at all. None takes `llm.default_llm_options` and the environment.",
        flag="--model",
    )
    base_url: str | None = _option(
        None, "Address of the OpenAI-compatible endpoint of a model given by its name.", flag="--base-url"
    )
    is_chat: bool = _option(
        True, "Whether the model is found again by its name.", no_flag=_NOT_AN_OPTION, no_resume=_NOT_AN_OPTION
    )
    stop_score: float | None = _option(
        None, "End as soon as a score reaches this.", flag="--stop-score"
    )
    search: Any = _option(
        "best",
        "What to build on: best, chat, tree, islands, pareto, best_of_n, or an object with `ask` and `tell`.",
        flag="--search",
    )
    proposer: Any = _option(
        None,
        'Who writes the next x: "model", "mutation", with a space also "policy_gradient", "tpe", "cmaes", "gp" '
        'or "random"; a gate between two (`propose.gates.adaptive("model", "tpe")`); or an object with '
        "`propose` and `tell`.",
        flag="--proposer",
    )
    space: Any = _option(
        None,
        "Typed parameters by name, or whatever else `space.as_space` takes; x is then a dict of values.",
        flag="--space",
        no_resume="the trials so far have parameters of the old space: begin another run",
    )
    workers: int = _option(1, "Scorings at a time.", flag="--workers")
    timeout_secs: float = _option(
        600.0,
        "Seconds of wall clock for one scoring; then it is killed with all that it started.",
        flag="--timeout",
    )
    sandbox: str = _option(
        "process",
        'Where f runs: "process"; "namespace", for candidates that nobody trusts (needs bubblewrap); "auto", '
        'the stronger of the two that works here; or "inline", for a trusted or async f.',
        flag="--sandbox",
    )
    limits: Limits = _option(
        Limits, "What one scoring may use and see: `Limits`, or a dict of its fields.", flag="--limit"
    )
    budget: Budget = _option(
        Budget,
        "When the run ends besides max_steps: `Budget`, or a dict of its fields. Calls in flight count at what "
        "they are expected to cost.",
        flag="--budget",
    )
    executor: Any = _option(
        None,
        "A concurrent.futures.Executor on whose workers f is scored, such as one of Dask; None: this machine.",
        no_flag=_AN_OBJECT,
    )
    seed: int | None = _option(
        None,
        "With one worker and the same replies a run with the same seed repeats exactly; None draws one.",
        flag="--seed",
        no_resume="a run goes on with the seed it began with",
    )
    stop: Any = _option(
        None,
        "A further rule that ends the run, such as `stop.stale(20) & stop.seconds(600)`, or a callable that "
        "takes a `stop.Progress`.",
        no_flag=_AN_OBJECT,
    )
    examples: Any = _option(
        None,
        "Data that f is scored on one by one, as f(x, example): see `Examples`.",
        no_flag=_AN_OBJECT,
    )
    repeats: Any = _option(
        None, "For a noisy f: how often a champion is scored, or a `Repeats`.", flag="--repeats"
    )
    max_score: float | None = _option(
        None, "The highest score that is possible; a higher one makes the trial invalid.", flag="--max-score"
    )
    func_version: str | None = _option(
        None,
        "Names this version of f: an x that the same version scored in any run of the store is not scored again.",
        flag="--func-version",
    )
    model_slots: int | None = _option(
        None,
        "Candidates that are written at a time; None adapts to how long replies and scorings take, and is 1 for "
        "a single worker.",
        flag="--model-slots",
    )
    max_prompt_tokens: int = _option(
        16_000,
        "The longest prompt, in tokens, roughly; what matters least is left out first.",
        flag="--max-prompt-tokens",
    )
    reflect: bool = _option(
        False,
        "Ask the model, after a trial that failed or was no better than its parent, for a lesson in a sentence.",
        flag="--reflect",
    )
    tune: int = _option(
        0,
        "Steps that are spent, without a model call, on the knobs of each new champion: numbers in x whose lines "
        "declare a range, such as `lr = 0.1  # tune: 1e-4..1 log`. 0 is off.",
        flag="--tune",
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "x0", _as_x0(self.x0))
        object.__setattr__(self, "limits", _as_record("limits", Limits, self.limits))
        object.__setattr__(self, "budget", _as_record("budget", Budget, self.budget))
        for name, least, why in _WHOLE_NUMBERS:
            _check_whole(name, getattr(self, name), least, why)
        if not _is_number(self.timeout_secs) or not self.timeout_secs > 0:
            raise UsageError(f"timeout_secs is {self.timeout_secs!r}: a scoring needs more than 0 s")
        if not isinstance(self.sandbox, str):
            raise UsageError(f"sandbox is {self.sandbox!r}: give a word, such as 'process'")
        for name in ("stop_score", "max_score"):
            value = getattr(self, name)
            if value is not None and not _is_number(value):
                raise UsageError(f"{name} is {value!r}: give a number, or None")

    def changed(self, changes: Mapping[str, Any]) -> RunSettings:
        """Return the settings of a run that is resumed, with these options in place of the stored ones.

        Raises UnknownName for a word that is no option, with the nearest, and UsageError for an
        option that a resumed run cannot change, with the reason.
        """
        for name in changes:
            option = option_of(name)
            if option.no_resume:
                raise UsageError(f"{name} cannot be changed when a run is resumed: {option.no_resume}")
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Return plain data: objects of Python as their names, those that have none left out."""
        data = {name: getattr(self, name) for name in _STORED}
        for name in ("search", "proposer"):
            data[name] = _name_of(data[name])
        data["model"] = _name_of(data["model"]) if data["model"] is not None else ""
        data["repeats"] = None if self.repeats is None else asdict(self.repeats)
        data["space"] = None if self.space is None else self.space
        return {**data, "task": asdict(self.task), "limits": asdict(self.limits), "budget": asdict(self.budget)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunSettings:
        """Read what `to_json` wrote; keys of other versions are left aside."""
        known = {name: data[name] for name in ("task", *_STORED) if name in data}
        known["task"] = Task(**known["task"])
        known["model"] = known.get("model") or None
        return cls(**known)


class RunOptions(TypedDict, total=False):
    """The fields of `RunSettings` that `optimize.run` takes as keywords; for type checkers and editors."""

    base_url: str | None
    search: Any
    proposer: Any
    space: Any
    workers: int
    timeout_secs: float
    sandbox: str
    limits: Limits | Mapping[str, Any] | None
    budget: Budget | Mapping[str, Any] | None
    executor: Any
    seed: int | None
    stop: Any
    examples: Any
    repeats: Any
    max_score: float | None
    func_version: str | None
    model_slots: int | None
    max_prompt_tokens: int
    reflect: bool
    tune: int


_INTERNAL = ("func", "is_chat")
_LIVE = ("executor", "stop", "examples")  # never stored: given again on resume
_STORED = tuple(name for name in RunSettings.__dataclass_fields__ if name not in ("task", *_LIVE))
_WHOLE_NUMBERS = (
    ("max_steps", 0, "give 0 (score x0 only) or more"),
    ("tune", 0, "give how many scorings to spend on the knobs of a champion, or 0"),
    ("workers", 1, "at least 1 scoring at a time is needed"),
    ("model_slots", 1, "at least 1 model call at a time is needed, or None to adapt"),
    ("max_prompt_tokens", 1, "a prompt needs at least 1"),
)


def options() -> Iterator[tuple[Field[Any], Option]]:
    """Yield each option that people give, in order: its field, and how it is reached."""
    for one in fields(RunSettings):
        if "option" in one.metadata and one.name not in _INTERNAL:
            yield one, one.metadata["option"]


def option_of(name: str) -> Option:
    """Return how an option is reached. Raises UnknownName with the nearest option for any other word."""
    known = {one.name: option for one, option in options()}
    if name not in known:
        raise UnknownName("option", name, known)
    return known[name]


def refuse_unknown(given: Mapping[str, Any], *further: str) -> None:
    """Raise UnknownName, with the nearest, for a word that is neither an option nor one of the further ones."""
    known = [*(one.name for one, _ in options()), *further]
    for word in given:
        if word not in known:
            raise UnknownName("option", word, known)


def documentation() -> str:
    """Return the options as lines of a docstring, in the form of its section Args."""
    return "\n".join(f"        {one.name}: {option.help}" for one, option in options())


def default_of(name: str) -> Any:
    """Return what an option is where it is not given."""
    one = RunSettings.__dataclass_fields__[name]
    return one.default_factory() if one.default_factory is not MISSING else one.default


def _as_x0(x0: Any) -> tuple[X, ...]:
    """Return the first candidates: none, one, or several."""
    if x0 is None:
        return ()
    several = tuple(x0) if isinstance(x0, list | tuple) else (x0,)
    for x in several:
        if not isinstance(x, str | dict):
            raise UsageError(f"x0 holds {x!r}, a {type(x).__name__}: x is a text or a dict; write it as text")
    return several


def _as_record(name: str, kind: type, given: Any) -> Any:
    """Return a record of limits or caps, also for a dict of its fields."""
    if given is None:
        return kind()
    if isinstance(given, kind):
        return given
    if not isinstance(given, Mapping):
        raise UsageError(f"{name} is {given!r}: give records.{kind.__name__}(...), or a dict of its fields")
    known = [one.name for one in fields(kind)]
    for word in given:
        if word not in known:
            raise UnknownName(f"field of {name}", str(word), known)
    return kind(**given)


def _check_whole(name: str, value: Any, least: int, why: str) -> None:
    if value is None and name == "model_slots":
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{name} is {value!r}: {why}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _name_of(given: Any) -> str:
    """Return a name, or that of an object: its text where it has one of its own, else that of its class."""
    if isinstance(given, str):
        return given
    return getattr(given, "name", None) or type(given).__name__
