"""How long the model proposer lets a prompt become: as long as it may be, by what the endpoint
reports."""

import asyncio
import logging
from random import Random

import pytest

from llm_optimize.errors import ContextTooLong, UsageError
from llm_optimize.propose.language import HUMAN_PROMPT, SYSTEM_PROMPT, size_of
from llm_optimize.propose.model import ModelProposer
from llm_optimize.records import Plan, Reply, Status, Task, Trial, Usage
from llm_optimize.testing import ScriptedChat

TASK = Task("Raise f.", "A better x?", SYSTEM_PROMPT, HUMAN_PROMPT)


def scored(number, x, score=1.0):
    return Trial.of(number, x, Status.COMPLETE, "model:m", score=score, feedback="fine")


def a_plan(count, chars):
    trials = [scored(n, f"<{n}>" + "y" * chars, score=n) for n in range(count)]
    return Plan(trials[-1], tuple(trials[:-1]))


def lengths(replies, plan, **options):
    """Return how long the prompts were that led to these replies, all for the same plan, with one
    proposer."""
    proposer, model = ModelProposer(TASK, **options), ScriptedChat(*replies)
    for _ in replies:
        asyncio.run(proposer.propose(plan, model.reply, Random(0)))
    return [size_of(messages) for messages in model.asked]


def said(prompt_tokens, **words):
    return Reply("```\n1\n```", Usage(1, prompt_tokens, 5, **words), "m")


def test_the_length_follows_what_the_endpoint_reports():
    plan = a_plan(30, 2000)
    first = lengths([said(1)], plan, max_prompt_tokens=8000)[0]
    assert 20_000 < first <= 32_000
    reports = [said(first // 2), said(1)]
    _, second = lengths(reports, plan, max_prompt_tokens=8000)
    assert 10_000 < second <= 16_000


@pytest.mark.parametrize(
    "lie",
    [
        said(0),
        said(-5),
        said(11),
        said(10**9),
        said(9000, estimated=True),
        Reply("```\n1\n```", Usage(), "m"),
    ],
)
def test_what_cannot_be_true_of_a_prompt_is_not_believed(lie):
    first, second = lengths([lie, lie], a_plan(30, 2000), max_prompt_tokens=8000)
    assert first == second


def test_small_differences_leave_the_prompt_as_it_was():
    plan = a_plan(30, 2000)
    sizes = lengths(
        [said(round(28_000 / ratio)) for ratio in (4.1, 3.9, 4.2, 3.8, 4.0)],
        plan,
        max_prompt_tokens=8000,
    )
    assert len(set(sizes)) == 1


def test_a_parent_that_alone_is_too_long_is_sent_and_that_is_logged_once(caplog):
    proposer, x = ModelProposer(TASK, max_prompt_tokens=500), "y" * 9000
    with caplog.at_level(logging.WARNING, "llm_optimize"):
        for _ in range(3):
            model = ScriptedChat("```\n1\n```")
            asyncio.run(proposer.propose(Plan(scored(0, x)), model.reply, Random(0)))
            assert x in model.asked[0][-1]["content"]
    assert len(caplog.records) == 1
    assert "max_prompt_tokens=500" in caplog.text


def too_long(limit=None, prompt=None):
    return ContextTooLong("too long", limit_tokens=limit, prompt_tokens=prompt)


@pytest.mark.parametrize(
    ("limit", "tokens", "most"),
    [(None, None, 0.51), (2000, None, 0.27), (2000, 8000, 0.2)],
)
def test_a_prompt_that_the_model_cannot_read_is_made_smaller_once(limit, tokens, most):
    plan, proposer = a_plan(30, 1000), ModelProposer(TASK, max_prompt_tokens=6000)
    model = ScriptedChat(too_long(limit, tokens), "```\n1\n```", "```\n2\n```")
    assert asyncio.run(proposer.propose(plan, model.reply, Random(0))).x == "1"
    asyncio.run(proposer.propose(plan, model.reply, Random(0)))
    first, second, third = map(size_of, model.asked)
    assert second < most * first
    assert third <= second * 1.3 if limit else third == first
    with pytest.raises(ContextTooLong):
        asyncio.run(
            ModelProposer(TASK).propose(
                plan, ScriptedChat(too_long(), too_long()).reply, Random(0)
            )
        )


def test_a_limit_that_is_no_reason_halves_the_prompt():
    plan = a_plan(30, 1000)
    model = ScriptedChat(too_long(100_000, 50), "```\n1\n```")
    asyncio.run(
        ModelProposer(TASK, max_prompt_tokens=6000).propose(
            plan, model.reply, Random(0)
        )
    )
    assert size_of(model.asked[1]) < 0.51 * size_of(model.asked[0])


@pytest.mark.parametrize("options", [{"max_prompt_tokens": 0}, {"lessons_shown": -1}])
def test_impossible_numbers_are_refused(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        ModelProposer(TASK, **options)
