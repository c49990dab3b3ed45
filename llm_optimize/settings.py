"""Options of a run, each declared, documented and checked once.

Python (`optimize.run`, `resume`, `replay`, `Optimizer`, `compare`), the command line, task files
and the server for agents take their options from the fields of `RunSettings`, and the store keeps
them as JSON. To add an option, add a field here, name it in `option_types.RunOptions`, and use it.
"""

# ruff: noqa: RUF009  (`_option` returns a field)
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any

from .checks import is_number
from .conversions import (
    WHOLE_NUMBERS,
    as_known,
    as_record,
    as_whole,
    as_x0,
    refuse_no_number,
    refuse_no_text,
    refuse_other,
)
from .errors import OptionName, UnknownName, UsageError
from .option_types import Changes, Options, RunOptions
from .records import Budget, Direction, Limits, Task, X

__all__ = [
    "OF_CHAT",
    "Changes",
    "Option",
    "Options",
    "RunOptions",
    "RunSettings",
    "as_record",
    "as_x0",
    "default_of",
    "keywords",
    "kind_of",
    "option_of",
    "options",
    "refuse_unknown",
]

_FILE = "@FILE reads it from a file."
_AN_OBJECT = "it is an object of Python"


@dataclass(frozen=True)
class Option:
    """The documentation of one option, and the ways in which it is reached.

    Args:
        help: what it is, in a sentence or two, with its unit.
        python: what holds for Python only, such as the objects that it takes.
        shell: what holds for the command line only.
        flag: of the command line; where there are several, the first.
        kind: of its value in a task file, where the field's type does not show it: see `kind_of`.
        no_flag: why the command line and task files do not have it; empty if they do.
        no_resume: why `resume` cannot change it; empty if it can.
        of_func: whether it concerns how f is called, which an `Optimizer` leaves to its caller.
        of_model: whether it concerns how a model is asked, which a replay does not do.
        in_task: whether it is a field of the `Task`.
    """

    help: str
    python: str = ""
    shell: str = ""
    flag: str = ""
    kind: str = ""
    no_flag: str = ""
    no_resume: str = ""
    of_func: bool = False
    of_model: bool = False
    in_task: bool = False


def _option(default: Any, help_: str, **how: Any) -> Any:
    metadata = {"option": Option(help_, **how)}
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class RunSettings:
    """The options of one run, checked at birth.

    Some options are an object of Python or its name (`model`, `search`, `proposer`): a stored run
    has the name only. `stop`, `examples` and `executor` are never stored, and `func_version` has
    a column of its own in the store.

    Raises UsageError for a value that is not possible; the message says what would be right.

    >>> RunSettings(Task("", "", "", ""), max_steps=-1)
    Traceback (most recent call last):
    ...
    llm_optimize.errors.UsageError: max_steps is -1: give 0 (score x0 only) or more
    """

    task: Task
    func: str | None = None  # FILE.py:NAME, if f can be loaded from there again
    func_hashes: Mapping[str, str] | None = None  # of the parts of f
    # The scores of a former f: finished trials and further scorings up to these two places.
    old_scores: Sequence[int] | None = None
    # Whether its name and base_url are enough to make the model again.
    is_chat: bool = True
    x0: tuple[X, ...] = _option(
        (),
        "The first candidate; without one, the model writes the first.",
        shell="A folder is one candidate, its files; with --space it is a JSON object.",
        python="A list holds several; a dict of named texts is one candidate of several parts.",
        flag="--x0",
        kind="x",
        no_resume="it has been scored already; begin another run",
    )
    known: Sequence[Any] = _option(
        (),
        "Scores that are known already: pairs of x and score, or with the feedback as a third.",
        shell="In a file, one JSON list a line.",
        flag="--known",
        kind="rows",
        no_resume="a run knows such scores from its beginning; begin another run",
    )
    known_trials: int = 0  # how many these are
    space: Any = _option(
        None,
        "Typed parameters by name; x is then a set of values.",
        shell='Give a JSON file: a schema, or {"lr": {"kind": "float", "low": 0, "high": 1}}.',
        python="Anything that `space.as_space` takes; x is a dict.",
        flag="--space",
        kind="table",
        no_resume="the trials so far have the parameters of the old one; begin another run",
    )
    model: Any = _option(
        None,
        'A model\'s name, or "mutation" for no model at all.',
        python="Also an `llm.Chat`, any callable from messages to text, a list of these, or an "
        "`llm.Ensemble`. None takes `llm.default_llm_options` and the environment.",
        flag="--model",
        kind="str | tuple[str, ...]",
        of_model=True,
    )
    base_url: str | None = _option(
        None,
        "Address of an OpenAI-compatible endpoint.",
        python="It applies to models that are given by name.",
        flag="--base-url",
        of_model=True,
    )
    temperature: float | None = _option(
        None,
        "How much replies vary, 0 or more; the endpoint's own if not given.",
        python="It applies to models that are given by name.",
        flag="--temperature",
        of_model=True,
    )
    reasoning_effort: str | None = _option(
        None,
        "How long a model reasons, such as low, medium or high; the endpoint's own if not given.",
        python="It applies to models that are given by name.",
        flag="--reasoning-effort",
        of_model=True,
    )
    direction: Direction = _option(
        Direction.MAXIMIZE,
        'Whether a higher or a lower score is better: "maximize" or "minimize".',
        flag="--direction",
        kind="str",
        no_resume="the candidates so far were chosen for the old one; begin another run",
    )
    max_steps: int = _option(
        10, "Candidates to propose beyond x0, in all sessions together.", flag="--steps"
    )
    workers: int = _option(
        1, "Scorings that run concurrently.", flag="--workers", of_func=True
    )
    model_slots: int | None = _option(
        None,
        "Candidates that are written concurrently; adapts if not given.",
        python="None adapts to the durations of replies and scorings; with one worker it is 1.",
        flag="--model-slots",
    )
    timeout_secs: float = _option(
        600.0,
        "Seconds for one scoring; after that it is killed with its descendants.",
        flag="--timeout",
        of_func=True,
    )
    stop_score: float | None = _option(
        None, "End as soon as a score is this or better.", flag="--stop-score"
    )
    max_score: float | None = _option(
        None,
        "Best score that is possible; a better one marks the trial invalid.",
        flag="--max-score",
        of_func=True,
    )
    budget: Budget = _option(
        Budget,
        "Caps that end the run, besides max_steps; a call in flight counts at its expected cost.",
        python="A `records.Budget`, or a dict of its fields.",
        flag="--max-usd",
        kind="table",
    )
    search: Any = _option(
        "best",
        "How to choose the trials to build on: best, chat, tree, islands, pareto, best_of_n.",
        python="Or an object with `ask` and `observe`, or its class.",
        flag="--search",
        kind="str",
    )
    proposer: Any = _option(
        None,
        "Writes the next x instead of the model: mutation; with a space also policy_gradient, tpe, "
        'cmaes, gp, random; or a gate between two, such as "adaptive(model, tpe)".',
        python="Or an object with `propose` and `observe`, or its class.",
        flag="--proposer",
        kind="str",
    )
    repeats: Any = _option(
        None,
        "For a noisy f: how many times a champion is scored.",
        python="Or a `Repeats`.",
        flag="--repeats",
        kind="int",
        of_func=True,
    )
    reflect: bool = _option(
        False,
        "Ask the model for a lesson after a trial that failed or was no better than its parent.",
        flag="--reflect",
    )
    tune: int = _option(
        0,
        "Scorings to tune the knobs of a new champion, without model calls; 0 is off.",
        python="Knobs are numbers in x whose lines declare a range, such as "
        "`lr = 0.1  # tune: 1e-4..1 log`; the prompt tells the model that it may declare some.",
        flag="--tune",
    )
    max_prompt_tokens: int = _option(
        16_000,
        "Longest prompt, in tokens, roughly; what matters least is left out first.",
        flag="--max-prompt-tokens",
    )
    func_version: str | None = _option(
        None,
        "Version of f: an x that it scored in any run of the store is not scored again.",
        flag="--func-version",
        of_func=True,
    )
    catch: bool = _option(
        False,
        "Go on whatever f does. Otherwise the run ends where f itself is broken at the first "
        "candidate, and where ten trials in a row fail in the same way.",
        flag="--catch",
        of_func=True,
    )
    sandbox: str = _option(
        "process",
        "Where f runs: process; namespace (bubblewrap), for untrusted candidates; auto, the "
        "stronger of the two that works here; or inline, for a trusted f.",
        python='An async f runs at "inline".',
        flag="--sandbox",
        of_func=True,
    )
    limits: Limits = _option(
        Limits,
        "What one scoring may use and see.",
        python="A `records.Limits`, or a dict of its fields.",
        flag="--limit",
        kind="table",
        of_func=True,
    )
    seed: int | None = _option(
        None,
        "Makes a run repeatable, with one worker and the same replies; drawn if not given.",
        flag="--seed",
        no_resume="a run goes on with the seed that it began with",
    )
    executor: Any = _option(
        None,
        "Where scorings run, such as a pool of Dask or Ray; None is this machine.",
        no_flag=_AN_OBJECT,
        of_func=True,
    )
    stop: Any = _option(
        None,
        "Rule that ends the run, besides the budget: `stop.score(0.99) | stop.stale(20)`, or any "
        "callable that takes a `stop.Progress`.",
        no_flag=_AN_OBJECT,
    )
    examples: Any = _option(
        None,
        "Data that f is scored on one by one, as f(x, example): see `Examples`.",
        no_flag=_AN_OBJECT,
        of_func=True,
    )

    def __post_init__(self) -> None:
        # Generous input becomes exactly one type; the record is frozen, hence `object.__setattr__`.
        object.__setattr__(self, "x0", as_x0(self.x0))
        object.__setattr__(self, "known", as_known(self.known))
        if self.known:
            object.__setattr__(self, "known_trials", len(self.known))
        object.__setattr__(self, "direction", Direction.named(self.direction))
        limits = as_record("limits", Limits, self.limits)
        object.__setattr__(self, "limits", limits)
        budget = as_record("budget", Budget, self.budget)
        object.__setattr__(self, "budget", budget)
        for name, (least, repair) in WHOLE_NUMBERS.items():
            given = getattr(self, name)
            if given is None and default_of(name) is None:
                continue
            number = as_whole(name, given, least, repair)
            object.__setattr__(self, name, number)
        secs = self.timeout_secs
        if not is_number(secs) or not secs > 0:  # NaN is not above 0 either
            given = f" is {secs!r}: a scoring needs more than 0 s"
            raise UsageError(OptionName("timeout_secs"), given)
        for name in ("stop_score", "max_score", "temperature"):
            refuse_no_number(name, getattr(self, name))
        for name in ("base_url", "func_version", "reasoning_effort"):
            refuse_no_text(name, getattr(self, name))
        refuse_other("sandbox", self.sandbox, str, "a name, such as 'process'")
        refuse_other("reflect", self.reflect, bool, "True or False")
        refuse_other("catch", self.catch, bool, "True or False")

    def changed(self, changes: Mapping[str, Any]) -> RunSettings:
        """Return the settings of a resumed run, with these options in place of the stored ones.

        Another model has its own address, temperature and reasoning effort: give `base_url`,
        `temperature` and `reasoning_effort` again if it needs them.

        Raises UnknownName for a word that is not an option, with the nearest, and UsageError for an
        option that cannot be changed, with the reason.
        """
        of_task: dict[str, Any] = {}
        of_run: dict[str, Any] = {}
        if "model" in changes:
            of_run = {**dict.fromkeys(OF_CHAT), "is_chat": True}
        for name, value in changes.items():
            option = option_of(name)
            if option.no_resume:
                raise UsageError(
                    OptionName(name),
                    f" cannot change when a run goes on: {option.no_resume}",
                )
            if option.in_task:
                of_task[name] = value
            else:
                of_run[name] = value
        task = replace(self.task, **of_task)
        return replace(self, task=task, **of_run)

    def to_json(self) -> dict[str, Any]:
        """Return plain data. An option that may be an object must be the object's name here."""
        data = {name: getattr(self, name) for name in _STORED}
        for name in ("task", "limits", "budget"):
            data[name] = asdict(data[name])
        data["model"] = self.model or ""
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunSettings:
        """Read what `to_json` wrote, of this version or an older one; unknown keys are ignored."""
        known = {name: data[name] for name in _STORED if name in data}
        known["task"] = Task(**data["task"])
        known["model"] = data.get("model") or None
        return cls(**known)


# Options of a run that are fields of its `Task`.
_OF_TASK = {
    "task_description": Option(
        "What to optimize, in words.",
        shell=_FILE,
        flag="--task",
        no_resume="begin another run",
        in_task=True,
    ),
    "task_question": Option(
        "What is asked of the model at each step.",
        shell=_FILE,
        flag="--question",
        no_resume="begin another run",
        in_task=True,
    ),
    "system_prompt": Option(
        "Begins each prompt; may hold {task_description}, {task_question}, {x}, {fx}.",
        shell=_FILE,
        flag="--system-prompt",
        in_task=True,
    ),
    "human_prompt": Option(
        "Ends each prompt; may hold the same as the system prompt.",
        shell=_FILE,
        flag="--human-prompt",
        in_task=True,
    ),
}
# What an `llm.Chat` is made of, besides its name.
OF_CHAT = ("base_url", "temperature", "reasoning_effort")
_NOT_STORED = ("func_version", "executor", "stop", "examples", "known")
_FIELDS = RunSettings.__dataclass_fields__
_STORED = tuple(name for name in _FIELDS if name not in _NOT_STORED)


def options() -> dict[str, Option]:
    """Return all options of a run, by their names in Python.

    >>> options()["max_steps"].flag
    '--steps'
    """
    found = dict(_OF_TASK)
    for one in fields(RunSettings):
        if "option" in one.metadata:
            found[one.name] = one.metadata["option"]
    return found


def option_of(name: str) -> Option:
    """Return an option. Raises UnknownName, with the nearest, for a word that is none."""
    known = options()
    if name not in known:
        raise UnknownName("argument", name, known)
    return known[name]


def refuse_unknown(
    given: Mapping[str, Any], known: Sequence[str], function: str
) -> None:
    """Raise UnknownName, with the nearest, for a keyword that a function does not take."""
    for word in given:
        if word not in known:
            raise UnknownName(f"argument of {function}", word, known)


def keywords() -> tuple[str, ...]:
    """Return the options that `optimize.run` takes by name only."""
    return tuple(RunOptions.__annotations__)


def default_of(name: str) -> Any:
    """Return the default of an option; None for limits and a budget, whose fields have defaults."""
    if name in _OF_TASK:
        return None
    default = _FIELDS[name].default
    return None if default is MISSING else default


def kind_of(name: str) -> str:
    """Return the kind of an option's value, as a type in words.

    >>> kind_of("stop_score"), kind_of("search")
    ('float', 'str')
    """
    if name in _OF_TASK:
        return "str"
    of_field = str(_FIELDS[name].type).removesuffix(" | None")
    return option_of(name).kind or of_field
