"""Runs with each search: an interrupted one goes on after a resume as if nothing had happened."""

import pytest

from llm_optimize import optimize

NAMES = ["best", "chat", "tree", "islands", "pareto"]
TASK = ("Find three numbers.", "Which x scores higher?")


def bowl(x):
    numbers = [float(number) for number in x.strip("[]").split(",")]
    if numbers[0] > 6:
        raise ValueError("too large")
    return {
        "score": -sum((a - place) ** 2 for place, a in enumerate(numbers)),
        "size": len(x),
    }


def run(search, store, steps, **more):
    options = {
        "verbose": False,
        "store": f"sqlite:///{store}",
        "name": "run",
        "sandbox": "inline",
        "seed": 3,
    }
    return optimize.run(
        *TASK,
        bowl,
        "[5.5, 3.25, 8.0]",
        steps,
        "mutation",
        search=search,
        **options,
        **more,
    )


@pytest.mark.parametrize("search", NAMES)
def test_a_resumed_run_equals_one_that_was_never_interrupted(search, tmp_path):
    whole = run(search, tmp_path / "whole.db", 40)
    run(search, tmp_path / "parts.db", 17)
    parts = optimize.resume(
        "run", bowl, store=f"sqlite:///{tmp_path}/parts.db", max_steps=40, verbose=False
    )
    records = [
        [(trial.x, trial.parent, trial.score) for trial in result.trials]
        for result in (whole, parts)
    ]
    assert records[0] == records[1]
    assert whole.best_score > whole.scores[0]


@pytest.mark.parametrize("search", NAMES)
def test_several_workers_build_on_several_trials(search, tmp_path):
    result = run(search, tmp_path / "runs.db", 40, workers=4)
    assert len(result.trials) == 41
    assert len({trial.parent for trial in result.trials}) > 4
    assert result.best_score > result.scores[0]
