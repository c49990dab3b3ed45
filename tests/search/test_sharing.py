"""Shared beginnings of prompts: what a provider's prompt cache can serve."""

import asyncio
import json
from random import Random

import pytest

from llm_optimize.propose.language import HUMAN_PROMPT, SYSTEM_PROMPT
from llm_optimize.propose.language.fences import fence
from llm_optimize.propose.model import ModelProposer
from llm_optimize.records import Proposal, Reply, Status, Task, Trial, Usage
from llm_optimize.search import as_search
from llm_optimize.space import Choice, Float, Int, Space

TASK = Task(
    "Sort faster. " * 20, "What program is faster?", SYSTEM_PROMPT, HUMAN_PROMPT
)
SPACE = Space(
    {
        "lr": Float(1e-5, 1, log=True),
        "layers": Int(1, 8),
        "kind": Choice("a", "b"),
        "drop": Float(0, 1),
    }
)
ERRORS = (
    "TypeError: unsupported operand type(s) for +: 'int' and 'str'",
    "IndexError: list index {} is out of range",
)


class Programmer:
    """A model that changes a few lines of a program, and their judge; it keeps its prompts."""

    def __init__(self, seed, lines):
        self.rng = Random(seed)
        self.prompts = []
        self.best = 0.0
        self.next_x = "\n".join(
            [
                "def solve(values):",
                *(self.line() for _ in range(lines)),
                "    return values",
            ]
        )

    def line(self):
        step = self.rng.randrange(99)
        return f"    values = step_{step}(values, depth={self.rng.random():.4f})"

    def write_child(self, x):
        lines = x.split("\n")
        for _ in range(self.rng.randint(1, 4)):
            lines[self.rng.randrange(1, len(lines) - 1)] = self.line()
        self.next_x = "\n".join(lines)

    async def ask(self, messages, schema=None):
        self.prompts.append(
            "\0".join(
                f"{message['role']}\0{message['content']}" for message in messages
            )
        )
        answer = json.dumps(SPACE.sample(self.rng)) if schema else fence(self.next_x)
        return Reply(
            f"Faster.\n{answer}", Usage(1, len(self.prompts[-1]) // 4, 10), "m"
        )

    def judge(self, number, proposal, plan):
        """Return the finished trial: one in ten fails, one in twenty is a new best."""
        parent = plan.parent.number if plan.parent else None
        words = {
            "number": number,
            "x": proposal.x,
            "source": proposal.source,
            "parent": parent,
        }
        words["lesson"] = (
            f"The loop of trial {number} visits {self.rng.randrange(999)} values twice; "
            "sort them first."
        )
        if number and self.rng.random() < 0.1:
            error = self.rng.choice(ERRORS).format(self.rng.randrange(999))
            trace = "".join(
                f'  File "f.py", line {self.rng.randrange(999)}\n' for _ in range(6)
            )
            return Trial.of(
                **words, status=Status.FAILED, feedback=f"Traceback:\n{trace}{error}"
            )
        table = "\n".join(
            f"case {case:2}: {self.rng.random():.3f} s"
            for case in range(self.rng.randint(10, 40))
        )
        score = self.best + self.rng.gauss(-1.65, 1.0) if number else 0.0
        self.best = max(self.best, score)
        return Trial.of(
            **words,
            status=Status.COMPLETE,
            score=score,
            feedback=f"slowest of all:\n{table}",
        )


def shares(prompts):
    """Return for each prompt how many characters begin an earlier one, and its length."""
    found = []
    for place, prompt in enumerate(prompts):
        found.append(
            (
                max((common(prompt, other) for other in prompts[:place]), default=0),
                len(prompt),
            )
        )
    return found


def common(one, other):
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (
            (middle, high) if one.startswith(other[:middle]) else (low, middle - 1)
        )
    return low


def late_share(search, model, space=None, trials=150, **options):
    """Return the share of the prompts from trial 100 on, in characters, that begin earlier ones."""
    search, proposer = as_search(search), ModelProposer(TASK, space, **options)

    async def main():
        for number in range(trials):
            plan, proposal = search.ask(Random(number), []), None
            if plan.parent is None:
                proposal = Proposal(
                    SPACE.sample(model.rng) if space else model.next_x, "x0"
                )
            elif not space:
                model.write_child(plan.parent.x)
            proposal = proposal or await proposer.propose(
                plan, model.ask, Random(number)
            )
            trial = model.judge(number, proposal, plan)
            search.observe(trial)
            proposer.observe(trial)

    asyncio.run(main())
    late = shares(model.prompts)[99:]
    return sum(same for same, _ in late) / sum(size for _, size in late)


@pytest.mark.parametrize("search", ["chat", "best"])
@pytest.mark.parametrize("lines", [40, 100])
@pytest.mark.parametrize("lessons_shown", [0, 8])
def test_four_fifths_of_late_prompts_repeat_the_beginning_of_an_earlier_one(
    search, lines, lessons_shown
):
    assert (
        late_share(search, Programmer(lines, lines), lessons_shown=lessons_shown) >= 0.8
    )


@pytest.mark.parametrize("search", ["chat", "best"])
def test_so_do_prompts_for_parameters(search):
    assert late_share(search, Programmer(1, 1), SPACE) >= 0.8


def test_the_share_is_measured_in_characters_of_the_nearest_earlier_prompt():
    assert shares(["abc", "abd", "x", "abcd"]) == [(0, 3), (2, 3), (0, 1), (3, 4)]
