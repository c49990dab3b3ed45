"""optimize.run with tune: what tuning saves in model calls, resumed as well, and what the model is
told."""

import math
import re
from random import Random

import pytest

from llm_optimize import optimize
from llm_optimize.errors import UsageError
from llm_optimize.propose.knobs import find_knobs
from llm_optimize.propose.language.blocks import find_blocks
from llm_optimize.space import Bool
from llm_optimize.testing import ScriptedChat

BEST = {"gain": 30.0, "decay": 0.004, "width": 200.0, "bias": 0.05}
PLAIN = [f"{name} = 1.0" for name in BEST]
LINES = [f"{line}  # tune: 1e-3..1e3 log" for line in PLAIN]
STRUCTURES = ["plain", "plain damped", "plain damped windowed"]


def f(x):
    """Return the quality of a filter: all three words matter, and its four constants by their
    orders of magnitude."""
    words = x.split("\n")[0].split()
    values = {name: float(re.search(rf"{name} = (\S+)", x)[1]) for name in BEST}
    return (
        len(words)
        - sum(abs(math.log10(values[name] / BEST[name])) for name in BEST) / 4
    )


class Model:
    """A model that finds the structure in three calls; then it moves one constant of the x that it
    is shown."""

    def __init__(self, seed):
        self.dice = Random(seed)
        self.calls = 0

    def __call__(self, messages):
        self.calls += 1
        shown = find_blocks(messages[-1]["content"])[-1].text
        lines = shown.split("\n") if "tune" in shown else ["", *LINES]
        if self.calls <= len(STRUCTURES):
            lines[0] = STRUCTURES[self.calls - 1]
        else:
            place = self.dice.randrange(1, 5)
            value = float(
                re.search(r"= (\S+)", lines[place])[1]
            ) * 10 ** self.dice.uniform(-0.5, 0.5)
            lines[place] = re.sub(r"= \S+", f"= {value:.3g}", lines[place])
        return "```\n" + "\n".join(lines) + "\n```"


def run(folder, model, **options):
    given = {
        "verbose": False,
        "sandbox": "inline",
        "store": f"sqlite:///{folder}/runs.db",
        "seed": 1,
    }
    x0 = "\n".join(["none", *PLAIN])
    return optimize.run(
        "A filter.", "A better one?", f, x0, model=model, **{**given, **options}
    )


def best_after(result, calls):
    """Return the best score with so many model calls."""
    best = -math.inf
    for trial in result.trials:
        calls -= trial.usage.calls
        if calls < 0:
            break
        best = max(best, trial.score)
    return best


@pytest.mark.parametrize("seed", range(2))
def test_five_calls_with_tuning_reach_what_takes_more_than_fifty_without(
    tmp_path, seed
):
    tuned = run(tmp_path, Model(seed), tune=30, max_steps=97, seed=seed)
    alone = run(tmp_path, Model(seed), max_steps=52, seed=seed)
    assert best_after(tuned, 5) > best_after(alone, 50) > 1


def test_children_inherit_the_best_values(tmp_path):
    result = run(tmp_path, Model(0), tune=10, max_steps=40)
    trials = {trial.number: trial for trial in result.trials}
    tuned = [trial for trial in result.trials if trial.source == "tune:tpe"]
    assert all(trial.usage.calls == 0 for trial in tuned)
    assert {trials[trial.parent].source.partition(":")[0] for trial in tuned} == {
        "model"
    }
    children = [
        t
        for t in result.trials
        if t.usage.calls and trials[t.parent].source == "tune:tpe"
    ]
    assert children
    for child in children:
        values = [
            [knob.value for knob in find_knobs(x).values()]
            for x in (child.x, trials[child.parent].x)
        ]
        assert (
            sum(own != inherited for own, inherited in zip(*values, strict=True)) <= 1
        )  # the model moves one of them


def test_a_resumed_run_is_tuned_as_if_nothing_had_happened(tmp_path):
    whole = run(tmp_path, Model(0), tune=8, max_steps=30, name="whole")
    run(tmp_path, Model(0), tune=8, max_steps=13, name="cut")
    model = Model(0)
    model.calls = sum(trial.usage.calls for trial in whole.trials[:14])
    store = f"sqlite:///{tmp_path}/runs.db"
    again = optimize.resume(
        "cut", f, model=model, max_steps=30, store=store, verbose=False
    )
    tuned = [
        [trial.x for trial in result.trials if trial.source == "tune:tpe"]
        for result in (again, whole)
    ]
    assert tuned[0][:20] == tuned[1][:20]
    assert len(tuned[0]) > 15


def test_workers_share_the_tuning(tmp_path):
    result = run(tmp_path, Model(0), tune=9, max_steps=30, workers=4, stop_score=2.9)
    by_parent = {}
    for trial in result.trials:
        if trial.source == "tune:tpe":
            by_parent[trial.parent] = by_parent.get(trial.parent, 0) + 1
    # A score that ends the run, or a better champion, may leave the last tries out.
    assert max(by_parent.values()) <= 9
    assert sum(by_parent.values()) >= 9


@pytest.mark.parametrize("tune", [0, 5])
def test_the_model_is_told_of_knobs_when_they_are_tuned(tmp_path, tune):
    model = ScriptedChat("```\n" + "\n".join(["better", *LINES]) + "\n```", name="m")
    run(tmp_path, model, tune=tune, max_steps=1 + 5 * (tune > 0))
    assert ("# tune: 1e-4..1 log" in model.asked[0][0]["content"]) is (tune > 0)


def test_what_cannot_be_tuned_is_refused(tmp_path):
    with pytest.raises(UsageError, match="tune is -1"):
        run(tmp_path, Model(0), tune=-1)
    with pytest.raises(UsageError, match="with a space there are no numbers in code"):
        optimize.run(
            "d",
            "q",
            f,
            tune=5,
            space={"a": Bool()},
            model=Model(0),
            store=f"sqlite:///{tmp_path}/runs.db",
        )
