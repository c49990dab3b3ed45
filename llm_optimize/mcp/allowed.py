"""Permissions of agents: the tasks that a human allows, and what an agent may change in each."""

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
    "no task is allowed here, so that no run can be started, resumed or steered: a human allows "
    "one by starting this server with --allow TASK.toml, as docs/mcp.md says"
)


@dataclass(frozen=True)
class Request:
    """What an agent wants to differ from the task file; None leaves it as in the file."""

    max_steps: int | None = None
    budget: Mapping[str, Any] | None = None
    x0: str | None = None
    model: str | None = None
    search: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class PinnedTask:
    """A task as it was when the server started, with the digests of its file and those of f."""

    task: TaskFile
    digests: Mapping[Path, str]

    def refuse_changed(self) -> None:
        """Raise NotAllowed where a file has changed: an agent may have written it."""
        for path, digest in self.digests.items():
            if _digest(path) != digest:
                raise NotAllowed(
                    f"{path.name} of the task {self.task.name!r} has changed since this server "
                    "started: a human must look at it and restart the server"
                )


class AllowedTasks:
    """The tasks that a human named, read once: a file that comes later is not allowed.

    A file that is named must be a task. In a folder, all `*.toml` directly in it are tried: one
    that is not a task, or a link that leads out of the folder, is left out with a warning.

    Args:
        paths: TASK.toml files, or folders of them.

    Attributes:
        tasks: by their names.
        unusable: names of the files that were left out.

    Raises TaskFileError, UnknownName, and UsageError for two tasks of the same name.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.tasks: dict[str, PinnedTask] = {}
        self.unusable: list[str] = []
        for path in paths:
            if path.is_dir():
                self._add_folder(path)
            else:
                self._add(path)

    def _add_folder(self, folder: Path) -> None:
        for file in sorted(folder.glob("*.toml")):
            try:
                _refuse_outside(file, folder)
                self._add(file)
            except UsageError as error:
                _log.warning("%s is not offered: %s", file, error)
                self.unusable.append(file.name)

    def _add(self, path: Path) -> None:
        task = task_file.read(path)
        if task.name in self.tasks:
            other = self.tasks[task.name].task.path
            raise UsageError(
                f"{path} and {other} are both the task {task.name!r}: rename one of them"
            )
        files = {task.path}
        for where in task.func:
            source, _, _ = where.rpartition(":")
            files.add(Path(source))
        digests = {file: _digest(file) for file in files}
        self.tasks[task.name] = PinnedTask(task, digests)

    def task(self, name: str) -> TaskFile:
        """Return a task by name.

        Raises NotAllowed where there is none of that name, or its files have changed.
        """
        if not self.tasks:
            raise NotAllowed(HOW_TO_ALLOW)
        if name not in self.tasks:
            hint = suggestion(name, self.tasks)
            raise NotAllowed(f"no task {name!r} is allowed here: {hint}")
        pinned = self.tasks[name]
        pinned.refuse_changed()
        return pinned.task

    def task_of(self, run: str, settings: Mapping[str, Any]) -> TaskFile:
        """Return the first task that a stored run belongs to.

        Raises NotAllowed where it belongs to none, or the task's files have changed.
        """
        if not self.tasks:
            raise NotAllowed(HOW_TO_ALLOW)
        for pinned in self.tasks.values():
            if belongs(settings, pinned.task):
                pinned.refuse_changed()
                return pinned.task
        raise NotAllowed(
            f"the run {run!r} belongs to no task that is allowed here: "
            "only a human can continue it"
        )


def _refuse_outside(file: Path, folder: Path) -> None:
    if not file.resolve().is_relative_to(folder.resolve()):
        raise UsageError(
            "it is a link that leads out of the folder: name it with --allow"
        )


def _digest(path: Path) -> str:
    """Return the digest of a file; of an unreadable file, a text that no digest equals."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"


def belongs(settings: Mapping[str, Any], task: TaskFile) -> bool:
    """Return whether a stored run is one of a task: it has its words and its f."""
    words = settings.get("task")
    if not isinstance(words, dict) or words.get("description") != task.task:
        return False
    func = settings.get("func")
    # Stages are not stored: a run without f may belong to any task with these words.
    return func is None or task.func == (func,)


def customized(task: TaskFile, request: Request) -> TaskFile:
    """Return the task as an agent wants it.

    Raises NotAllowed for what the human has not left to agents, and UsageError for wrong values.
    """
    for part in fields(request):
        given = getattr(request, part.name) is not None
        if given and part.name not in task.agent.may_set:
            raise NotAllowed(
                f"agents may not set {part.name} in the task {task.name!r}: a human may add it to "
                f"may_set in [agent] of {task.path.name}"
            )
    steps = allowed_steps(task, request.max_steps)
    budget = lowered(task.budget, request.budget or {})
    changed = replace(task, max_steps=steps, budget=budget)
    if request.x0 is not None:
        changed = replace(changed, x0=(_as_x(request.x0, task),))
    if request.model is not None:
        if request.model not in task.agent.models:
            hint = suggestion(request.model, task.agent.models)
            raise NotAllowed(f"the model {request.model!r} is not allowed: {hint}")
        changed = replace(changed, models=(request.model,))
    options = dict(task.options)
    if request.search is not None:
        options["search"] = request.search
    if request.seed is not None:
        options["seed"] = request.seed
    return replace(changed, options=options)


def allowed_steps(task: TaskFile, requested: int | None) -> int:
    """Return the steps of a run: those requested, else those of the file.

    Raises NotAllowed for too many.
    """
    if requested is None:
        return min(task.max_steps, task.most_steps)
    if requested > task.most_steps:
        raise NotAllowed(
            f"max_steps is {requested}: the task {task.name!r} allows {task.most_steps}, and a "
            f"human may allow more in [agent] of {task.path.name}"
        )
    return requested


def lowered(budget: Budget, requested: Mapping[str, Any]) -> Budget:
    """Return a budget with some of its caps lower; null leaves one as it is.

    Raises NotAllowed for a higher cap, and UsageError for what is not a number above 0.

    >>> lowered(Budget(usd=2), {"usd": 1, "calls": 5})
    Budget(scorings=None, seconds=None, calls=5, tokens=None, usd=1, stale_steps=None)
    """
    given = {key: value for key, value in requested.items() if value is not None}
    task_file.checked(given, task_file.kinds_of(Budget), "budget")
    for key, value in given.items():
        most = getattr(budget, key)
        if most is not None and value > most:
            raise NotAllowed(
                f"budget: {key} is {value}, and the task allows at most {most}"
            )
    return replace(budget, **given)


def _as_x(given: str, task: TaskFile) -> X:
    """Return the candidate: an object where those of the task are objects, else the text."""
    takes_text = all(isinstance(x, str) for x in task.x0)
    if takes_text and "space" not in task.options:
        return given
    expected = f"candidates of the task {task.name!r} are objects"
    try:
        x = json.loads(given)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"x0 is not JSON ({error}): {expected}") from error
    if not isinstance(x, dict):
        raise UsageError(f"x0 is JSON but not an object: {expected}")
    return x


def job_of(task: TaskFile) -> dict[str, Any]:
    """Return what the process of a run must know of a task, as plain data."""
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
