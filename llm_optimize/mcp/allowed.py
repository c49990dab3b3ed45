"""What a human allows the agents of `llm-optimize mcp`: tasks in files, and how far an agent may go in each."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from .. import task_file
from ..errors import NotAllowed, UsageError, suggestion
from ..records import Budget, X
from ..task_file import TaskFile

_log = logging.getLogger(__name__)
HOW_TO_ALLOW = (
    "no task is allowed here, so that no run can be started, resumed or steered: a human allows one by starting this "
    "server with --allow TASK.toml, as docs/mcp.md says"
)


@dataclass(frozen=True)
class Wish:
    """What an agent wants otherwise than the file of a task has it; None is as in the file."""

    max_steps: int | None = None
    budget: Mapping[str, Any] | None = None
    x0: str | None = None
    model: str | None = None
    search: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Pinned:
    """A task as it was when the server started, with the digests of its file and of those that hold f."""

    task: TaskFile
    digests: Mapping[Path, str]

    def refuse_changed(self) -> None:
        """Raise NotAllowed where a file is no longer what the human allowed: an agent may have written it."""
        for path, digest in self.digests.items():
            if _digest(path) != digest:
                raise NotAllowed(
                    f"{path.name} of the task {self.task.name!r} has changed since this server started: a human looks "
                    "at it and restarts the server"
                )


class Allowed:
    """The tasks that a human has named, by their names. They are read once: what comes later is not allowed."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Read the files, and of folders those that end in .toml.

        A file that is named must be a task. One that only lies in a folder is left out where it is none, or where it
        is a link that leads out of the folder; the log says why, and `unusable` names it.

        Raises TaskFileError, UnknownName, and UsageError for two tasks of one name.
        """
        self.tasks: dict[str, Pinned] = {}
        self.unusable: list[str] = []
        for path in paths:
            if not path.is_dir():
                self._add(path)
                continue
            for file in sorted(path.glob("*.toml")):
                try:
                    _refuse_outside(file, path)
                    self._add(file)
                except UsageError as error:
                    _log.warning("%s is not offered: %s", file, error)
                    self.unusable.append(file.name)

    def _add(self, path: Path) -> None:
        task = task_file.read(path)
        if task.name in self.tasks:
            other = self.tasks[task.name].task.path
            raise UsageError(
                f"{path} and {other} both are the task {task.name!r}: give one of them another name"
            )
        files = {task.path, *(Path(where.rpartition(":")[0]) for where in task.func)}
        self.tasks[task.name] = Pinned(task, {file: _digest(file) for file in files})

    def task(self, name: str) -> TaskFile:
        """Return a task by its name. Raises NotAllowed where there is none, or where its files have changed."""
        if not self.tasks:
            raise NotAllowed(HOW_TO_ALLOW)
        if name not in self.tasks:
            raise NotAllowed(
                f"no task {name!r} is allowed here: {suggestion(name, self.tasks)}"
            )
        self.tasks[name].refuse_changed()
        return self.tasks[name].task

    def task_of(self, run: str, settings: Mapping[str, Any]) -> TaskFile:
        """Return the task that a stored run belongs to. Raises NotAllowed where it belongs to none."""
        if not self.tasks:
            raise NotAllowed(HOW_TO_ALLOW)
        for pinned in self.tasks.values():
            if belongs(settings, pinned.task):
                pinned.refuse_changed()
                return pinned.task
        raise NotAllowed(
            f"the run {run!r} belongs to no task that is allowed here: a human goes on with it"
        )


def belongs(settings: Mapping[str, Any], task: TaskFile) -> bool:
    """Return whether a stored run is one of a task: it has its words and its f."""
    words = settings.get("task")
    same = isinstance(words, dict) and words.get("description") == task.task
    return same and settings.get("func") in (
        task.func[0] if len(task.func) == 1 else None,
        None,
    )


def as_wished(task: TaskFile, wish: Wish) -> TaskFile:
    """Return the task as an agent wants it. Raises NotAllowed for what the human has not left to it."""
    for part in fields(wish):
        if getattr(wish, part.name) is not None and part.name not in task.agent.may_set:
            raise NotAllowed(
                f"{part.name} is not for agents to set in the task {task.name!r}: a human may add it to may_set in "
                f"[agent] of {task.path.name}"
            )
    if wish.model is not None and wish.model not in task.agent.models:
        raise NotAllowed(
            f"the model {wish.model!r} is not allowed: {suggestion(wish.model, task.agent.models)}"
        )
    chosen = {"search": wish.search, "seed": wish.seed}
    return replace(
        task,
        max_steps=steps(task, wish.max_steps),
        budget=lowered(task.budget, wish.budget or {}),
        x0=task.x0 if wish.x0 is None else (_as_x(wish.x0, task),),
        models=task.models if wish.model is None else (wish.model,),
        options={
            **task.options,
            **{key: value for key, value in chosen.items() if value is not None},
        },
    )


def steps(task: TaskFile, wanted: int | None) -> int:
    """Return how many steps a run may have: those wanted, else those of the file. Raises NotAllowed for too many."""
    if wanted is not None and wanted > task.most_steps:
        raise NotAllowed(
            f"max_steps is {wanted}: the task {task.name!r} allows {task.most_steps}, and a human may allow more in "
            f"[agent] of {task.path.name}"
        )
    return min(task.max_steps, task.most_steps) if wanted is None else wanted


def lowered(budget: Budget, wanted: Mapping[str, Any]) -> Budget:
    """Return a budget with some of its caps lower; null leaves one as it is.

    Raises NotAllowed for a higher one, and UsageError for what is no number above 0.

    >>> lowered(Budget(usd=2), {"usd": 1, "calls": 5})
    Budget(scorings=None, seconds=None, calls=5, tokens=None, usd=1, stale_steps=None)
    """
    given = {key: value for key, value in wanted.items() if value is not None}
    task_file.checked(given, task_file.kinds_of(Budget), "budget")
    for key, value in given.items():
        most = getattr(budget, key)
        if most is not None and value > most:
            raise NotAllowed(
                f"budget: {key} is {value}, and the task allows {most}: give no more than that"
            )
    return replace(budget, **given)


def job(task: TaskFile) -> dict[str, Any]:
    """Return all that the process of a run is told of a task, as plain data."""
    return {
        "task": task.task,
        "question": task.question,
        "func": task.func,
        "x0": task.x0,
        "max_steps": task.max_steps,
        "models": task.models,
        "base_url": task.base_url,
        "price": task.price,
        "limits": asdict(task.limits),
        "budget": asdict(task.budget),
        "options": {**task_file.DEFAULTS, **task.options},
    }


def _as_x(given: str, task: TaskFile) -> X:
    """Return the candidate that a text stands for: an object where those of the task are objects, else the text."""
    if "space" not in task.options and all(isinstance(x, str) for x in task.x0):
        return given
    try:
        x = json.loads(given)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"x0 is no JSON ({error}): candidates of the task {task.name!r} are objects"
        ) from error
    if not isinstance(x, dict):
        raise UsageError(
            f"x0 is JSON, but no object: candidates of the task {task.name!r} are objects"
        )
    return x


def _refuse_outside(file: Path, folder: Path) -> None:
    if not file.resolve().is_relative_to(folder.resolve()):
        raise UsageError(
            "it is a link that leads out of the folder: name it with --allow"
        )


def _digest(path: Path) -> str:
    """Return the digest of a file; of one that cannot be read, none that a file has."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"
