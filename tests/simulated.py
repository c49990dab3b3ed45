"""Short runs for tests of the engine: a model that counts, an f that reads a number, and `runner`
for both."""

from __future__ import annotations

import asyncio

from llm_optimize import optimize
from llm_optimize.records import Reply, Usage

LONG_SECS = 60.0  # what is waited for ends far earlier


def block(x):
    return f"```\n{x}\n```"


def f(x):
    return float(x), "fine"


def runner(url):
    """Return a function that runs short runs in this store."""

    def go(model, func=f, **options):
        defaults = {
            "x0": "1",
            "verbose": False,
            "sandbox": "inline",
            "store": url,
            "seed": 1,
            "max_steps": 10,
        }
        return optimize.run(
            "Raise f.", "A better x?", func, model=model, **{**defaults, **options}
        )

    return go


class Counting:
    """A model that answers 2, 3, 4, ..., and knows how many calls it has at a time."""

    name = "counting"
    price = None

    def __init__(self, tokens=(10, 10), hold=None, price=None):
        self.asked = []
        self.now = self.most = 0
        self.tokens, self.hold, self.price = tokens, hold, price

    async def reply(self, messages):
        self.asked.append(messages)
        number = len(self.asked)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await (self.hold(number) if self.hold else asyncio.sleep(0))
        finally:
            self.now -= 1
        usage = Usage(
            1, *(self.tokens(number) if callable(self.tokens) else self.tokens)
        )
        cost = self.price.cost(usage) if self.price else None
        usage = Usage(1, usage.prompt_tokens, usage.completion_tokens, cost_usd=cost)
        return Reply(block(number + 1), usage, self.name)

    async def aclose(self):
        pass
