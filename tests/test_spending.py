"""What model calls may spend: what is in flight is summed only where a cap asks for it."""

import asyncio
import sys
from contextlib import AsyncExitStack

import pytest

from llm_optimize.llm import Chat
from llm_optimize.optimize._spending import Spending
from llm_optimize.records import Budget, Usage


def sums(budget, calls=40):
    """Return how many usages are added up while so many calls are put in flight."""
    added = 0

    def count(frame, event, _):
        nonlocal added
        added += event == "call" and frame.f_code is Usage.__add__.__code__

    async def fly():
        model = Chat("m", base_url="http://127.0.0.1:9/v1")
        spending = Spending(budget, Usage(), 0)
        async with AsyncExitStack() as stack:
            for _ in range(calls):
                await stack.enter_async_context(spending.turn(model, [{"role": "user", "content": "hi"}]))

    sys.setprofile(count)
    try:
        asyncio.run(fly())
    finally:
        sys.setprofile(None)
    return added


@pytest.mark.parametrize("budget", [Budget(), Budget(calls=1000, seconds=1000)])
def test_without_a_cap_on_tokens_or_dollars_nothing_is_summed(budget):
    assert sums(budget) == 0


def test_with_one_it_is():
    assert sums(Budget(tokens=10**9)) > 40
