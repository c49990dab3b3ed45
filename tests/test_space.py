"""Typed parameters: what is legal, what is near, and how it is said."""

import json
from random import Random

import pytest

from llm_optimize.errors import UnknownName, UsageError
from llm_optimize.space import Bool, Choice, Float, Int, Space, as_space

SPACE = Space(
    {
        "lr": Float(1e-5, 0.1, log=True, description="step size"),
        "drop": Float(0, 0.9),
        "width": Int(8, 512, log=True),
        "layers": Int(1, 4),
        "kind": Choice("relu", "tanh", None, 3),
        "norm": Bool(),
    }
)
X = {"lr": 0.01, "drop": 0.5, "width": 64, "layers": 2, "kind": "relu", "norm": True}


def test_what_is_legal_stays_as_it_is():
    assert SPACE.check(X) == X
    assert type(SPACE.check(X)["layers"]) is int


def test_numbers_are_clipped_rounded_and_read_from_text():
    checked = SPACE.check({**X, "lr": 5, "layers": 2.6, "drop": "0.25", "kind": "TANH", "norm": "false"})
    assert (checked["lr"], checked["layers"], checked["drop"]) == (0.1, 3, 0.25)
    assert (checked["kind"], checked["norm"]) == ("tanh", False)


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        ({**X, "lrr": 1}, UnknownName, "did you mean 'lr'"),
        ({"lr": 0.1}, UsageError, "no value for drop, width"),
        ({**X, "lr": True}, UsageError, "lr: True is no number"),
        ({**X, "lr": float("nan")}, UsageError, "lr: nan is not finite"),
        ({**X, "kind": "elu"}, UsageError, "kind: 'elu' is none of 'relu', 'tanh'"),
        ({**X, "norm": 1}, UsageError, "norm: 1 is none of"),
        ("text", UsageError, "it is a dict"),
    ],
)
def test_what_is_not_legal_is_refused_with_the_reason(x, error, words):
    with pytest.raises(error, match=words):
        SPACE.check(x)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Float(1, 1),
        lambda: Float(0, 1, log=True),
        lambda: Float(0, float("inf")),
        lambda: Int(5, 2),
        lambda: Choice(),
        lambda: Space({}),
        lambda: Space({"a": 5}),
    ],
)
def test_an_impossible_parameter_is_refused(make):
    with pytest.raises(UsageError):
        make()


def test_samples_are_legal_and_spread_on_their_scale():
    xs = [SPACE.sample(Random(seed)) for seed in range(400)]
    assert all(SPACE.check(x) == x for x in xs)
    below = sum(x["lr"] < 1e-3 for x in xs) / len(xs)  # the middle of a logarithmic scale
    assert 0.4 < below < 0.6
    assert {x["layers"] for x in xs} == {1, 2, 3, 4}
    assert {x["kind"] for x in xs} == {"relu", "tanh", None, 3}


def test_a_neighbour_differs_in_one_parameter():
    for seed in range(300):
        near = SPACE.near(X, Random(seed))
        assert SPACE.check(near) == near
        assert sum(near[name] != X[name] for name in X) <= 1


def test_it_is_kept_as_json_and_read_back():
    again = as_space(json.loads(json.dumps(SPACE.to_json())))
    assert again.parameters == SPACE.parameters
    assert as_space(SPACE) is SPACE


def test_it_describes_itself():
    lines = SPACE.describe().splitlines()
    assert lines[0] == '- "lr": a number from 1e-05 to 0.1, on a logarithmic scale (step size)'
    assert lines[3] == '- "layers": a whole number from 1 to 4'
    assert lines[4] == '- "kind": one of "relu", "tanh", null, 3'
    assert lines[5] == '- "norm": one of false, true'
