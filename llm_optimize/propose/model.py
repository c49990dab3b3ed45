"""The model writes the next x: prompt, reply, and the x in it; an unusable reply is asked again with what was wrong."""

from __future__ import annotations

from random import Random

from ..errors import UsageError
from ..prompts import ask_again, knobs_format, lay_out, parameters_format
from ..records import Ask, Plan, Proposal, Reply, Task, Trial, Usage, X
from ..space import Space
from ..text import Reading, last_json_object, read_x

_MAX_ASKS = 3  # the first and two more with what was wrong


class ModelProposer:
    """Asks the model of the run."""

    def __init__(self, task: Task, space: Space | None = None, *, knobs: bool = False) -> None:
        """Take the task in words, the parameters when x is a set of these, and whether x may declare knobs."""
        self._task = task
        self._knobs = knobs_format() if knobs else ""
        self._space = space

    async def propose(self, plan: Plan, ask: Ask, rng: Random) -> Proposal:
        """Return the x in the model's reply; what `ask` raises goes up."""
        x_format = parameters_format(self._space.describe()) if self._space else self._knobs
        messages = lay_out(self._task, plan, x_format=x_format)
        usage = Usage()
        for _ in range(_MAX_ASKS):
            reply = await ask(messages)
            usage += reply.usage
            x, problem = self._read(reply)
            if x is not None:
                break
            messages = ask_again(messages, reply.text, problem)
        return Proposal(x, f"model:{reply.model}", usage, problem)

    def _read(self, reply: Reply) -> tuple[X | None, str]:
        if self._space is None:
            reading: Reading = read_x(reply.text, reply.finish_reason)
            return reading.x, reading.problem
        values = last_json_object(reply.text)
        if values is None:
            return None, "the reply holds no JSON object"
        try:
            return self._space.check(values), ""
        except UsageError as error:
            return None, str(error)

    def tell(self, trial: Trial) -> None:
        """Learn nothing: what the model sees is the plan's."""
