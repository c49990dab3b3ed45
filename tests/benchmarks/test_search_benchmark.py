"""The comparison of searches at a small size; and the simulated model reads its prompt."""

import asyncio
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from benchmarks import search as bench
from benchmarks.guesser import Guesser, read
from benchmarks.landscapes import LANDSCAPES, Place
from benchmarks.programs import PROGRAMS, run_program
from llm_optimize.propose.language import HUMAN_PROMPT, SYSTEM_PROMPT, lay_out
from llm_optimize.records import Plan, Status, Task, Trial
from llm_optimize.testing import read_reply

ROOT = Path(__file__).parents[2]
TASK = Task("Two numbers.", "Which is better?", SYSTEM_PROMPT, HUMAN_PROMPT)
XS = [(5.0, -3.0), (0.25, 1e-05), (-1.5, 2.0), (4.0, 4.0)]


def trial(number):
    return Trial.of(
        number,
        f"[{XS[number][0]:g}, {XS[number][1]:g}]",
        Status.COMPLETE,
        "m",
        score=-2.5 + number,
    )


# The simulated model.


@pytest.mark.parametrize(
    ("parent", "context"), [(2, (0, 1)), (1, (0, 1, 3)), (0, (3, 2, 1)), (3, ())]
)
def test_the_simulated_model_reads_all_x_their_scores_and_which_one_is_to_be_improved(
    parent, context
):
    shown, base = read(lay_out(TASK, Plan(trial(parent), tuple(map(trial, context)))))
    assert {one.x: one.score for one in shown} == {
        XS[n]: -2.5 + n for n in {*context, parent}
    }
    assert base.x == XS[parent]


def test_the_simulated_model_reads_a_conversation():
    shown, base = read(
        lay_out(TASK, Plan(trial(1), (trial(3), trial(0), trial(2)), transcript=True))
    )
    assert {one.x: one.score for one in shown} == {XS[n]: -2.5 + n for n in range(4)}
    assert base.x == XS[1]


def test_it_understands_a_prompt_that_refers_to_an_x_above():
    text = (
        "Trial 4:\n```\n[1, 2]\n```\nscore 3\n\n"
        "Trial 7:\n```\n[3, 4]\n```\nscore -1e-3\n\nThe x to improve:\n"
    )
    for reference in ("(trial 4, shown above)", "trial 4 above", "Improve trial 4."):
        shown, base = read(
            [{"role": "user", "content": text + reference + "\nscore 3"}]
        )
        assert [(one.x, one.score) for one in shown] == [((1, 2), 3), ((3, 4), -0.001)]
        assert base.x == (1, 2)


def test_it_knows_nothing_but_the_prompt_and_its_seed():
    messages = lay_out(TASK, Plan(trial(0), (trial(1), trial(2))))
    replies = [
        [guesser(messages) for _ in range(20)]
        for guesser in (Guesser(1), Guesser(1), Guesser(2))
    ]
    assert replies[0] == replies[1] != replies[2]
    numbers = [
        tuple(map(float, read_reply(reply, None).x.strip("[]").split(",")))
        for reply in replies[0]
    ]
    assert all(-5 <= a <= 5 for pair in numbers for a in pair)
    assert len(set(numbers)) > 15


# Landscapes and programs.


@pytest.mark.parametrize("name", LANDSCAPES)
def test_a_landscape_is_zero_at_its_best_and_positive_elsewhere(name):
    place = Place(LANDSCAPES[name], 3)
    assert place.height(place._optimum) == pytest.approx(0, abs=1e-9)
    rng = Random(0)
    assert (
        min(place.height([rng.uniform(-5, 5) for _ in place.start]) for _ in range(100))
        > 0
    )
    assert (
        place.start
        == Place(LANDSCAPES[name], 3).start
        != Place(LANDSCAPES[name], 4).start
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_runs_and_can_be_better(name):
    first = run_program(name, PROGRAMS[name][0], 1)
    assert (
        first
        == run_program(name, PROGRAMS[name][0], 1)
        != run_program(name, PROGRAMS[name][0], 2)
    )
    (reached,) = asyncio.run(bench.curve("best", name, 1, [15]))
    assert reached > first


# The comparison.


def test_a_lag_is_told_from_noise():
    low, high = [float(n) for n in range(20)], [n + 1.0 for n in range(20)]
    assert bench.lags(low, high) < 0.001
    assert bench.lags(high, low) > 0.99
    assert bench.lags(low, low) == 1.0
    rng = Random(1)
    one, other = ([rng.gauss(0, 1) for _ in range(20)] for _ in range(2))
    assert 0.01 < bench.lags(one, other) < 0.99


def test_best_needs_half_the_calls_and_hardly_anything_lags():
    scores = bench.compare(LANDSCAPES, 2, (25, 50, 100))
    assert len(bench.in_half_the_calls(scores, "best-of-n", (25, 50, 100))) >= 5
    behind = [
        (name, one)
        for name, rows in scores.items()
        for one in bench.SEARCHES
        if bench.medians(rows[one])[-1] < bench.medians(rows["best-of-n"])[-1]
    ]
    assert [one for one in behind if "best" in one] == []
    assert len(behind) <= 2
    rows = bench.table(scores, (25, 50, 100)).splitlines()
    assert len(rows) == 6 * 7
    assert all(len(row.split()) >= 4 for row in rows)


def test_lags_are_named_and_a_few_seeds_tell_none():
    good, bad = (
        [[float(n), 9.0, 9.0, 9.0] for n in range(10)],
        [[n - 1.0, 9.0, 9.0, 9.0] for n in range(10)],
    )
    scores = {"hill": {"tree": bad, "best": good, "best-of-n": good}}
    assert bench.worse(scores) == ["tree on hill at 25"]
    assert bench._worse_bar("x", scores).verdict == "missed"
    few = {"hill": {one: curves[:4] for one, curves in scores["hill"].items()}}
    assert bench._worse_bar("x", few).verdict == "skipped"


def test_the_same_seed_gives_the_same_curve():
    one, same, other = (
        asyncio.run(bench.curve("islands", "noisy, 16", seed, [10, 30]))
        for seed in (1, 1, 2)
    )
    assert one == same != other


def test_best_of_n_shows_only_the_first_x():
    contender = bench.BestOfN()
    for number in range(4):
        contender.observe(trial(number))
    assert contender.ask(Random(0), []) == Plan(trial(0))


def test_the_program_says_what_it_takes():
    command = [sys.executable, "-m", "benchmarks.search", "--help"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert "--seeds" in done.stdout
