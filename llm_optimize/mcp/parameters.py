"""The tools of `llm-optimize mcp` as agents see them: titles, parameters with their units, and what a call changes.

The arguments of a call are checked here, and reach a tool as they were sent: a text that looks like JSON stays a text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import settings
from ..errors import NotAllowed, UnknownName, UsageError
from ..records import Budget
from ..task_file import KINDS, MAY_SET, kinds_of, shown

MAX_X_CHARS = 100_000
MAX_HINT_CHARS = 2_000
MAX_WAIT_SECS = 60
_MAX_SEED = 2**63 - 1

# What an agent may try to say and a human decides: how f runs, where data goes, and which code that is.
_OF_THE_HUMAN = {
    *("allow", "env", "func", "options", "path", "price", "question", "store"),
    *(name for name in settings.options() if name not in MAY_SET),
}
_JSON_TYPES = {
    "bool": "boolean",
    "float": "number",
    "int": "integer",
    "str": "string",
    "table": "object",
}


@dataclass(frozen=True)
class Parameter:
    """One argument of a tool. `least` and `most` bound a number, or the characters of a text."""

    kind: str  # a key of KINDS
    about: str
    required: bool = False
    least: int | None = None
    most: int | None = None

    def schema(self) -> dict[str, Any]:
        """Return it as JSON Schema."""
        schema: dict[str, Any] = {
            "type": _JSON_TYPES[self.kind],
            "description": self.about,
        }
        names = (
            ("minLength", "maxLength") if self.kind == "str" else ("minimum", "maximum")
        )
        bounds = zip(names, (self.least, self.most), strict=True)
        schema |= {name: bound for name, bound in bounds if bound is not None}
        if self.kind == "table":
            caps = {
                name: {"type": _JSON_TYPES[kind]}
                for name, kind in kinds_of(Budget).items()
            }
            schema |= {"properties": caps, "additionalProperties": False}
        return schema

    def refuse(self, name: str, value: Any) -> None:
        """Raise UsageError for a value that cannot be."""
        kind = KINDS[self.kind]
        if not kind.fits(value):
            raise UsageError(f"{name} is {shown(value)}: give {kind.words}")
        if self.kind == "table":
            return
        size, unit = (len(value), " characters") if self.kind == "str" else (value, "")
        if self.least is not None and size < self.least:
            raise UsageError(f"{name} has {size}{unit}: give at least {self.least}")
        if self.most is not None and size > self.most:
            raise UsageError(f"{name} has {size}{unit}: give at most {self.most}")


@dataclass(frozen=True)
class Facts:
    """What is said of a tool besides its description, which is the docstring of the function behind it."""

    title: str
    read_only: bool
    idempotent: bool = (
        True  # whether a second call with the same arguments changes nothing more
    )
    open_world: bool = False  # whether a model elsewhere is asked
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    def schema(self) -> dict[str, Any]:
        """Return the schema of the arguments."""
        return {
            "type": "object",
            "properties": {
                name: parameter.schema() for name, parameter in self.parameters.items()
            },
            "required": [
                name
                for name, parameter in self.parameters.items()
                if parameter.required
            ],
            "additionalProperties": False,
        }


_NAME = Parameter(
    "str", "Name of the run, as list_runs shows it.", required=True, least=1, most=200
)
_STEPS = f"{settings.option_of('max_steps').help} At most what list_tasks shows as most_steps."
_BUDGET = Parameter(
    "table",
    "Caps, each no higher than the task's: scorings (calls of f), seconds (wall clock), calls (of the model), tokens, "
    "usd (US dollars), stale_steps (steps without a new best).",
)
_MODEL = Parameter(
    "str", "One of the models that list_tasks shows for the task.", most=200
)

TOOLS = {
    "list_tasks": Facts("List the tasks that may be started", read_only=True),
    "start_run": Facts(
        "Start a run of an allowed task",
        read_only=False,
        idempotent=False,
        open_world=True,
        parameters={
            "task": Parameter(
                "str",
                "Name of a task that list_tasks shows.",
                required=True,
                least=1,
                most=200,
            ),
            "name": Parameter(
                "str",
                "Name of the run: letters, digits, '.', '_', '-'; one is made up.",
                most=60,
            ),
            "max_steps": Parameter("int", _STEPS, least=0),
            "budget": _BUDGET,
            "x0": Parameter(
                "str",
                "The first candidate, where the task lets an agent set it: a text, taken to the letter; for a task "
                "with parameters or several files a JSON object.",
                most=MAX_X_CHARS,
            ),
            "model": _MODEL,
            "search": Parameter("str", settings.option_of("search").help, most=50),
            "seed": Parameter(
                "int", settings.option_of("seed").help, least=0, most=_MAX_SEED
            ),
        },
    ),
    "follow_run": Facts(
        "Follow a run",
        read_only=True,
        parameters={
            "name": _NAME,
            "since": Parameter(
                "int",
                "next_since of the last answer; 0 begins with the first trial.",
                least=0,
            ),
            "wait_secs": Parameter(
                "float",
                "Wait so many seconds at the most until there is news.",
                least=0,
                most=MAX_WAIT_SECS,
            ),
        },
    ),
    "best_of_run": Facts(
        "Show the best candidate of a run", read_only=True, parameters={"name": _NAME}
    ),
    "show_trial": Facts(
        "Show one trial of a run",
        read_only=True,
        parameters={
            "name": _NAME,
            "number": Parameter(
                "int", "Number of the trial, from 0.", required=True, least=0
            ),
        },
    ),
    "list_runs": Facts("List the runs of the store", read_only=True),
    "resume_run": Facts(
        "Resume a run of an allowed task",
        read_only=False,
        idempotent=False,
        open_world=True,
        parameters={
            "name": _NAME,
            "max_steps": Parameter("int", _STEPS, least=0),
            "budget": _BUDGET,
            "model": _MODEL,
        },
    ),
    "stop_run": Facts(
        "Stop a run of an allowed task",
        read_only=False,
        parameters={
            "name": _NAME,
            "at_once": Parameter(
                "bool",
                "Do not wait for the trials in flight; only for runs that this server started or resumed.",
            ),
        },
    ),
    "steer_run": Facts(
        "Pause a run, let it go on, or give its model a hint",
        read_only=False,
        idempotent=False,
        parameters={
            "name": _NAME,
            "kind": Parameter("str", "pause, go, or hint.", required=True, most=20),
            "text": Parameter(
                "str", "Of a hint: a sentence for the model.", most=MAX_HINT_CHARS
            ),
        },
    ),
}


def arguments_of(tool: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call, without those that are null.

    Raises UnknownName for another tool or argument, NotAllowed for what a human decides, and UsageError for a value
    that cannot be, or where one is missing.
    """
    if tool not in TOOLS:
        raise UnknownName("tool", tool[:100], TOOLS)
    parameters = TOOLS[tool].parameters
    for name in given:
        if name not in parameters and name in _OF_THE_HUMAN:
            raise NotAllowed(
                f"{name} is for a human to decide: it stands in the task's file, and {tool} does not take it"
            )
        if name not in parameters:
            raise UnknownName(f"argument of {tool}", name[:100], parameters)
    known = {
        name: _parsed(parameters[name], value)
        for name, value in given.items()
        if value is not None
    }
    for name, value in known.items():
        parameters[name].refuse(name, value)
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.required and name not in known
    ]
    if missing:
        raise UsageError(f"{tool} needs {', '.join(missing)}")
    return known


def _parsed(parameter: Parameter, value: Any) -> Any:
    """Return an object that came as a text, as some clients send them; everything else as it is."""
    if parameter.kind != "table" or not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
