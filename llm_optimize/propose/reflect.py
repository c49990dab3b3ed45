"""."""

from typing import Any

from ..records import Usage


class Reflection:
    def __init__(self, task: Any) -> None:
        self.task = task

    def wants(self, trial: Any, parent: Any) -> bool:
        return bool(trial.score is None or (parent and trial.score <= parent.score))

    async def lesson(self, trial: Any, parent: Any, ask: Any) -> tuple[str, Usage]:
        reply = await ask([{"role": "user", "content": "lesson"}])
        return reply.text, reply.usage
