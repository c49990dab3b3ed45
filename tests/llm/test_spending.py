"""What model calls may spend: what is in flight is summed only where a cap asks for it."""

import asyncio
import sys

import pytest

from llm_optimize import optimize
from llm_optimize.records import Budget, Usage
from simulated import Counting


def sums(budget, url, calls=20):
    """Return how many usages are added up for each call of a run with many calls in flight."""
    added = 0

    def count(frame, event, _):
        nonlocal added
        added += event == "call" and frame.f_code is Usage.__add__.__code__

    async def hold(number):
        await asyncio.sleep(0.05)

    sys.setprofile(count)
    try:
        optimize.run(
            "Raise f.",
            "A better x?",
            float,
            "1",
            calls,
            Counting(hold=hold),
            False,
            sandbox="inline",
            store=url,
            budget=budget,
            workers=calls,
            model_slots=calls,
        )
    finally:
        sys.setprofile(None)
    return added / calls


@pytest.mark.parametrize("budget", [Budget(), Budget(calls=1000, seconds=1000)])
def test_without_a_cap_on_tokens_or_dollars_nothing_in_flight_is_summed(
    budget, tmp_path
):
    assert sums(budget, f"{tmp_path}/runs.db") < 8


def test_with_a_cap_the_calls_in_flight_count(tmp_path):
    assert sums(Budget(tokens=10**9), f"{tmp_path}/runs.db") > 10
