"""The benchmark of proposers on parameters, with few seeds: contenders, figures, and what a bar puts down to chance."""

import asyncio

import pytest

from benchmarks import hybrid


def test_a_contender_has_a_bar_for_each_column_of_each_problem():
    assert hybrid.FIGURES.keys() >= hybrid.CONTENDERS.keys() == hybrid.BENCHMARKS.keys()
    bars = hybrid.contend("random", seeds=2)
    assert len(bars) == len(hybrid.PROBLEMS) * len(hybrid.COLUMNS)
    assert all(0 < bar.value <= 1 for bar in bars)


@pytest.mark.parametrize("contender", hybrid.CONTENDERS)
@pytest.mark.parametrize("problem", hybrid.PROBLEMS)
def test_each_contender_ends(contender, problem):
    scores = asyncio.run(hybrid.scores_of(hybrid.PROBLEMS[problem], hybrid.CONTENDERS[contender], 0, trials=15))
    assert len(scores) == 15


def test_the_problems_have_their_maximum_where_the_facts_say():
    assert hybrid.bowl({"a": 0.3, "b": 0.7, "c": 0.5}) == 1
    assert hybrid.network({"lr": 0.01, "drop": 0.1, "width": 128, "act": "relu", "norm": True}) == pytest.approx(1)


def test_a_run_repeats():
    one, other = (
        asyncio.run(hybrid.scores_of(hybrid.PROBLEMS["B"], hybrid.CONTENDERS["tpe"], 3, trials=25)) for _ in range(2)
    )
    assert one == other


def test_a_figure_is_missed_only_beyond_chance():
    near, far = (hybrid.against("x", 0.9, [0.5 + shift, 0.9 + shift, 0.7 + shift]) for shift in (0, -0.5))
    assert (near.verdict, far.verdict) == ("held", "missed")
    assert hybrid.against("x", 0.9, [0.89, 0.89]).verdict == "missed"
