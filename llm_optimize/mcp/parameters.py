"""Declarations of the tools: titles, parameters with their units, and what a call changes.

Arguments are checked here by the same declarations that agents get as JSON Schema, and reach a
tool as they were sent: a text that looks like JSON stays a text.
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
_MAX_SHOWN_CHARS = 100  # of an unknown name in an error

# What an agent may try to give and a human decides: how f runs, where data goes, and which code.
_DECIDED_BY_HUMAN = {
    *("allow", "env", "func", "options", "path", "price", "question", "store"),
    *settings.options(),
} - {*MAY_SET}
_JSON_TYPES = {
    "bool": "boolean",
    "float": "number",
    "int": "integer",
    "str": "string",
    "table": "object",
}


@dataclass(frozen=True)
class Parameter:
    """One argument of a tool.

    Args:
        kind: of its value, a key of `task_file.KINDS`.
        about: what agents read about it.
        required: whether a call must give it.
        least, most: bounds of a number, or of the number of characters of a text.
    """

    kind: str
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
        if self.kind == "table":  # a budget is the only one
            caps = {}
            for name, kind in kinds_of(Budget).items():
                caps[name] = {"type": _JSON_TYPES[kind]}
            return {**schema, "properties": caps, "additionalProperties": False}
        is_text = self.kind == "str"
        if self.least is not None:
            schema["minLength" if is_text else "minimum"] = self.least
        if self.most is not None:
            schema["maxLength" if is_text else "maximum"] = self.most
        return schema

    def refuse(self, name: str, value: Any) -> None:
        """Raise UsageError for a value that cannot be."""
        kind = KINDS[self.kind]
        if not kind.fits(value):
            raise UsageError(f"{name} is {shown(value)}: give {kind.words}")
        if self.kind == "table":
            return
        size, found = value, f"{name} is {value}"
        if self.kind == "str":
            size = len(value)
            found = f"{name} has {size} characters"
        if self.least is not None and size < self.least:
            raise UsageError(f"{found}: give at least {self.least}")
        if self.most is not None and size > self.most:
            raise UsageError(f"{found}: give at most {self.most}")


@dataclass(frozen=True)
class Tool:
    """What agents get to know of a tool besides its description, the docstring of its method.

    Args:
        title: one line for people.
        read_only: whether a call changes nothing.
        idempotent: whether a second call with the same arguments changes nothing more.
        open_world: whether a call may reach a model elsewhere.
        parameters: by name.
    """

    title: str
    read_only: bool
    idempotent: bool = True
    open_world: bool = False
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of its arguments."""
        properties, required = {}, []
        for name, parameter in self.parameters.items():
            properties[name] = parameter.schema()
            if parameter.required:
                required.append(name)
        return {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }


_RUN = Parameter(
    "str", "Name of the run, as in list_runs.", required=True, least=1, most=200
)
_MAX_STEPS = Parameter(
    "int",
    f"{settings.option_of('max_steps').help} At most most_steps of list_tasks.",
    least=0,
)
_BUDGET = Parameter(
    "table",
    "Caps, each no higher than the task's: scorings (calls of f), seconds (wall clock), calls (of "
    "the model), tokens, usd (US dollars), stale_steps (steps without a new best).",
)
_MODEL = Parameter("str", "One of the task's models in list_tasks.", most=200)

TOOLS = {
    "list_tasks": Tool("List the tasks that may be started", read_only=True),
    "start_run": Tool(
        "Start a run of an allowed task",
        read_only=False,
        idempotent=False,
        open_world=True,
        parameters={
            "task": Parameter(
                "str",
                "Name of a task in list_tasks.",
                required=True,
                least=1,
                most=200,
            ),
            "name": Parameter(
                "str",
                "Name of the run: letters, digits, '.', '_', '-'. One is made up if not given.",
                most=60,
            ),
            "max_steps": _MAX_STEPS,
            "budget": _BUDGET,
            "x0": Parameter(
                "str",
                "The first candidate, where the task lets an agent set it: a text, taken "
                "literally; for a task with parameters or several files a JSON object.",
                most=MAX_X_CHARS,
            ),
            "model": _MODEL,
            "search": Parameter("str", settings.option_of("search").help, most=50),
            "seed": Parameter(
                "int", settings.option_of("seed").help, least=0, most=_MAX_SEED
            ),
        },
    ),
    "follow_run": Tool(
        "Follow a run",
        read_only=True,
        parameters={
            "name": _RUN,
            "since": Parameter(
                "int",
                "next_since of the last answer; 0 begins with the first trial.",
                least=0,
            ),
            "wait_secs": Parameter(
                "float",
                "Seconds to wait for news at most.",
                least=0,
                most=MAX_WAIT_SECS,
            ),
        },
    ),
    "best_of_run": Tool(
        "Show the best candidate of a run", read_only=True, parameters={"name": _RUN}
    ),
    "show_trial": Tool(
        "Show one trial of a run",
        read_only=True,
        parameters={
            "name": _RUN,
            "number": Parameter(
                "int", "Number of the trial, from 0.", required=True, least=0
            ),
        },
    ),
    "list_runs": Tool("List the runs of the store", read_only=True),
    "resume_run": Tool(
        "Resume a run of an allowed task",
        read_only=False,
        idempotent=False,
        open_world=True,
        parameters={
            "name": _RUN,
            "max_steps": _MAX_STEPS,
            "budget": _BUDGET,
            "model": _MODEL,
        },
    ),
    "stop_run": Tool(
        "Stop a run of an allowed task",
        read_only=False,
        parameters={
            "name": _RUN,
            "at_once": Parameter(
                "bool",
                "Do not wait for the trials in flight; only for runs that this server started or "
                "resumed.",
            ),
        },
    ),
    "steer_run": Tool(
        "Pause a run, let it continue, or give its model a hint",
        read_only=False,
        idempotent=False,
        parameters={
            "name": _RUN,
            "kind": Parameter("str", "pause, go, or hint.", required=True, most=20),
            "text": Parameter(
                "str",
                "With hint: a sentence for the model.",
                most=MAX_HINT_CHARS,
            ),
        },
    ),
}


def arguments_of(tool: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call, without those that are null.

    Raises UnknownName for another tool or argument, NotAllowed for what a human decides, and
    UsageError for a value that cannot be, or where one is missing.
    """
    if tool not in TOOLS:
        raise UnknownName("tool", tool[:_MAX_SHOWN_CHARS], TOOLS)
    parameters = TOOLS[tool].parameters
    for name in given:
        if name in parameters:
            continue
        if name in _DECIDED_BY_HUMAN:
            raise NotAllowed(
                f"{name} is for a human to decide: it stands in the task's file, and {tool} does "
                "not take it"
            )
        raise UnknownName(f"argument of {tool}", name[:_MAX_SHOWN_CHARS], parameters)
    arguments = {}
    for name, value in given.items():
        if value is not None:
            arguments[name] = _as_table(parameters[name], value)
            parameters[name].refuse(name, arguments[name])
    missing = []
    for name, parameter in parameters.items():
        if parameter.required and name not in arguments:
            missing.append(name)
    if missing:
        raise UsageError(f"{tool} needs {', '.join(missing)}")
    return arguments


def _as_table(parameter: Parameter, value: Any) -> Any:
    """Return the object that a text holds, as some clients send it; other values as they are."""
    if parameter.kind != "table" or not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
