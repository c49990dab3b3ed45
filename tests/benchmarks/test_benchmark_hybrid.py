"""Benchmark of proposers on parameters, with few seeds: contenders, figures, chance."""

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
    space = hybrid.PROBLEMS[problem].space
    scores = hybrid.scores_of(
        hybrid.CONTENDERS[contender](space), hybrid.PROBLEMS[problem], 0, trials=15
    )
    assert len(scores) == 15


def test_a_figure_is_missed_only_beyond_chance():
    near, far = (
        hybrid.against("x", 0.9, [0.5 + shift, 0.9 + shift, 0.7 + shift])
        for shift in (0, -0.5)
    )
    assert (near.verdict, far.verdict) == ("held", "missed")
    assert hybrid.against("x", 0.9, [0.89, 0.89]).verdict == "missed"
