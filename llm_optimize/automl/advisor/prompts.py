"""What a model reads when it recommends configurations: grids, past tasks, the new task."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from string import Template
from typing import Any, TypeAlias

from ...records import Message
from ...token_estimate import CHARS_PER_TOKEN
from .grids import Grid, Grids
from .library import PastTask, as_top
from .options import METRICS

_SYSTEM = Template("""\
You are a data scientist who is experienced in blending models for tabular data.

$given

Recommend exactly $count different configurations whose blend will predict best on new data. Good
blends are diverse: they mix model classes where several work, and settings that err in different
ways.$advice

Use only model classes, parameters and values of the given grids. Give a value for each parameter of
a class that you use.

Answer with one JSON object in a ```json block. Its only key is "models". It maps the model classes
that you use to tables: "columns" is the list of the parameters in the order of the grid, "values"
is a list of rows, one for each configuration, with a value for each column. Give no scores.""")

_GIVEN_ONE = (
    "You will read the grids of hyperparameters, and a description of one data set."
)
_GIVEN_SEVERAL = """\
You will read the grids of hyperparameters, then some past tasks: a description of each data set and
the members of its best blend. mean_score is the score of a member alone, in the metric of its task;
prank is its percentile rank on the leaderboard of that task, from 0 to 100, where higher is better.
At last comes the description of the new data set."""
_ADVICE = """
Reason by similarity: which past tasks have the same kind of target and a similar number of rows and
columns, and what do their better members have in common?"""

REPAIR = Template("""\
Your answer cannot be used as it is: $problem.

Answer again with the whole JSON object: exactly $count different configurations, with values of the
grids only.""")

Observed: TypeAlias = "Sequence[tuple[Mapping[str, Any], float | None]]"
"""Configurations with their scores, higher is better; None for one that failed."""

_TASK_MARK = "Metadata of the data set: "


def task_text(metadata: Mapping[str, Any]) -> str:
    """Return the description of a run on this data set, from which later runs learn of it.

    >>> metadata_of(task_text({"n_train": 80}))
    {'n_train': 80}
    """
    data = json.dumps(metadata, sort_keys=True)
    return f"Choose a model and its hyperparameters.\n{_TASK_MARK}{data}"


def metadata_of(
    text: str,
) -> dict[str, Any] | None:
    """Return the metadata in the description of a run; None where there is none."""
    found = re.search(rf"^{_TASK_MARK}(\{{.*\}})$", text, re.M)
    if found is None:
        return None
    try:
        metadata = json.loads(found[1])
    except ValueError:
        return None
    return metadata if isinstance(metadata, dict) else None


def system_message(count: int, *, zero_shot: bool) -> str:
    """Return what is asked, and the form of the answer."""
    return _SYSTEM.substitute(
        count=count,
        given=_GIVEN_ONE if zero_shot else _GIVEN_SEVERAL,
        advice="" if zero_shot else _ADVICE,
    )


def user_message(
    metadata: Mapping[str, Any],
    grids: Grids,
    past: Sequence[PastTask],
    observed: Observed = (),
    *,
    show_names: bool = False,
) -> str:
    """Return the grids, the past tasks, the new task and what was observed on it so far.

    Args:
        metadata: of the new task.
        grids: by model class.
        past: in the order in which they are shown.
        observed: on the new task.
        show_names: whether the model reads the names of data sets. By default it does not: it may
            know public ones by heart.
    """
    blocks = ["# Grids of hyperparameters", *map(_grid, grids.values())]
    for number, task in enumerate(past, start=1):
        title = f" ({task.name})" if show_names else ""
        blocks.append(f"# Past task {number}{title}")
        blocks.append(_described(task.metadata, show_names))
        top = as_top(task.members, grids)
        members = json.dumps(top)
        blocks.append(f"Members of its best blend:\n```json\n{members}\n```")
    blocks.append("# New task")
    blocks.append(_described(metadata, show_names))
    if observed:
        lines = []
        for values, score in observed:
            shown = "failed" if score is None else f"{score:.6g}"
            listed = json.dumps(values)
            lines.append(f"- {shown}: {listed}")
        blocks.append("# Tried on the new task, with the score (higher is better)")
        blocks.append("\n".join(lines))
        blocks.append("Recommend others than these.")
    else:
        blocks.append(f"# Template of the answer\n```json\n{_template(grids)}\n```")
    return "\n\n".join(blocks)


def messages_within(
    tokens: int,
    metadata: Mapping[str, Any],
    grids: Grids,
    past: Sequence[PastTask],
    count: int,
    **how: Any,
) -> tuple[list[Message], list[PastTask]]:
    """Return messages of at most so many tokens, roughly, and the past tasks that they show.

    The farthest past tasks are left out first; the nearest is shown last, next to the new task.

    Args:
        tokens: of the whole prompt.
        metadata: of the new task.
        grids: by model class.
        past: the nearest first; empty asks without examples.
        count: configurations to ask for.
        how: what else `user_message` takes.
    """
    shown = list(past)
    while True:
        system = system_message(count, zero_shot=not shown)
        user = user_message(metadata, grids, shown[::-1], **how)
        chars = len(system) + len(user)
        length = chars / CHARS_PER_TOKEN
        if length <= tokens or not shown:
            break
        shown.pop()
    messages = [
        Message(role="system", content=system),
        Message(role="user", content=user),
    ]
    return messages, shown


def _grid(grid: Grid) -> str:
    lines = [f"## {grid.model}"]
    for name, one in grid.parameters.items():
        values = ", ".join(map(str, one.values))
        lines.append(f"- **{name}** ({one.dtype}): {values}")
    return "\n".join(lines)


def _template(grids: Grids) -> str:
    tables = {}
    for model, grid in grids.items():
        columns = list(grid.parameters)
        tables[model] = {"columns": columns, "values": []}
    return json.dumps({"models": tables}, indent=1)


def _described(
    metadata: Mapping[str, Any],
    show_names: bool,
) -> str:
    shown = {k: v for k, v in metadata.items() if show_names or k != "name"}
    metric = str(shown.get("score_name"))
    if metric in METRICS:
        better = "higher" if METRICS[metric] else "lower"
        shown["score_name"] = f"{metric} ({better} is better)"
    return "\n".join(_markdown(shown, 2))


def _markdown(
    data: Mapping[str, Any],
    level: int,
) -> list[str]:
    """Return scalars as bold keys with values, lists as bullets, objects below a heading."""
    lines = []
    deeper = []
    for key, value in data.items():
        if isinstance(value, Mapping):
            marks = "#" * level
            deeper.append(f"{marks} {key}")
            deeper += _markdown(value, level + 1)
        elif isinstance(value, list):
            deeper.append(f"**{key}**:")
            deeper += [f"- {one}" for one in value]
        else:
            lines.append(f"**{key}**: {value}")
    return lines + deeper
