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
    checked = SPACE.check(
        {**X, "lr": 5, "layers": 2.6, "drop": "0.25", "kind": "TANH", "norm": "false"}
    )
    assert (checked["lr"], checked["layers"], checked["drop"]) == (0.1, 3, 0.25)
    assert (checked["kind"], checked["norm"]) == ("tanh", False)


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        ({**X, "lrr": 1}, UnknownName, "did you mean 'lr'"),
        ({"lr": 0.1}, UsageError, "no value for drop, width"),
        ({**X, "lr": True}, UsageError, "lr: True is not a number"),
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
    below = sum(x["lr"] < 1e-3 for x in xs) / len(
        xs
    )  # the middle of a logarithmic scale
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
    assert (
        lines[0]
        == '- "lr": a number from 1e-05 to 0.1, on a logarithmic scale (step size)'
    )
    assert lines[3] == '- "layers": a whole number from 1 to 4'
    assert lines[4] == '- "kind": one of "relu", "tanh", null, 3'
    assert lines[5] == '- "norm": one of false, true'


LINKED = Space(
    {
        "nesterov": Bool(when={"momentum": (2, 3)}),  # stands before what it depends on
        "kind": Choice("sgd", "adam", "none"),
        "momentum": Int(1, 3, when={"kind": "sgd"}),
        "lr": Float(0, 1, step=0.1, default=0.3, when={"kind": ("sgd", "adam")}),
    }
)


def test_what_has_no_condition_that_holds_is_absent_down_the_chain():
    whole = {"nesterov": True, "kind": "sgd", "momentum": 2, "lr": 0.3}
    assert LINKED.check(whole) == whole
    assert list(LINKED.check(whole)) == list(LINKED.parameters)
    assert LINKED.check({**whole, "momentum": 1}) == {
        "kind": "sgd",
        "momentum": 1,
        "lr": 0.3,
    }
    assert LINKED.check({**whole, "kind": "adam"}) == {"kind": "adam", "lr": 0.3}
    assert LINKED.check({"kind": "none"}) == {"kind": "none"}
    with pytest.raises(UsageError, match="no value for momentum, lr"):
        LINKED.check({"kind": "sgd"})


def test_samples_and_neighbours_respect_conditions():
    x, shapes = LINKED.sample(Random(0)), set()
    for seed in range(500):
        x = LINKED.near(x, Random(seed))
        drawn = LINKED.sample(Random(seed))
        assert LINKED.check(x) == x
        assert LINKED.check(drawn) == drawn
        shapes |= {tuple(x), tuple(drawn)}
    assert shapes == {
        ("kind",),
        ("kind", "lr"),
        ("kind", "momentum", "lr"),
        ("nesterov", "kind", "momentum", "lr"),
    }


@pytest.mark.parametrize(
    ("parameters", "error", "words"),
    [
        (
            {"a": Bool(when={"b": True}), "b": Bool(when={"a": True})},
            UsageError,
            "a, b form a circle",
        ),
        ({"a": Bool(when={"a": True})}, UsageError, "circle"),
        (
            {"kind": Bool(), "a": Bool(when={"kin": True})},
            UnknownName,
            "did you mean 'kind'",
        ),
        (
            {"kind": Choice("a"), "b": Bool(when={"kind": "c"})},
            UsageError,
            "'c', which it can never be",
        ),
        (
            {"n": Int(1, 3), "b": Bool(when={"n": 4})},
            UsageError,
            "being 4, which it can never be",
        ),
        ({"r": Float(0, 1), "b": Bool(when={"r": 0.5})}, UsageError, "a real number"),
    ],
)
def test_impossible_conditions_are_refused(parameters, error, words):
    with pytest.raises(error, match=words):
        Space(parameters)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Float(0, 1, step=0), "step is 0"),
        (lambda: Float(0, 1, step=2), "step is 2"),
        (lambda: Float(0.1, 1, log=True, step=0.1), "logarithmic"),
        (lambda: Int(0.5, 3), "the low of an Int is 0.5"),
        (lambda: Float(0, 1, default=2), "default 2 is not a legal value"),
        (lambda: Float(0, 1, step=0.5, default=0.4), "the nearest is 0.5"),
        (lambda: Choice("a", default="b"), "'b' is none of"),
        (lambda: Choice("a", "a"), "twice"),
        (lambda: Choice("a", ("b",)), "not a text, number"),
        (lambda: Choice("a", when={"b": ()}), "allows no value"),
    ],
)
def test_what_is_wrong_with_a_parameter_is_said(make, words):
    with pytest.raises(UsageError, match=words):
        make()


@pytest.mark.parametrize(
    ("parameter", "values"),
    [
        (Float(0.1, 1.05, step=0.3), {0.1, 0.4, 0.7, 1.0}),
        (Int(1, 11, step=4), {1, 5, 9}),
        (Choice(2, True, None), {2, True, None}),
    ],
)
def test_steps_and_options_are_drawn_and_moved_between_all_of_them(parameter, values):
    assert {parameter.sample(Random(seed)) for seed in range(100)} == values
    walked = [parameter.sample(Random(0))]
    walked += [
        walked[-1]
        for seed in range(200)
        if not walked.append(parameter.near(walked[-1], Random(seed)))
    ]
    assert set(walked) == values
    assert all(parameter.check(value) == value for value in values)


def test_the_scale_goes_from_0_to_1_and_back():
    for parameter in (
        Float(1e-5, 0.1, log=True),
        Float(-3, 5),
        Int(1, 1000, log=True),
        Int(0, 9),
    ):
        assert (parameter.from_unit(0), parameter.from_unit(1)) == (
            parameter.low,
            parameter.high,
        )
        assert (
            parameter.to_unit(parameter.low),
            parameter.to_unit(parameter.high),
        ) == (0, 1)
        for seed in range(50):
            value = parameter.sample(Random(seed))
            assert parameter.from_unit(parameter.to_unit(value)) == pytest.approx(
                value, rel=1e-9
            )


PARENT = {
    "lr": 0.01,
    "drop": 0.5,
    "width": 64,
    "layers": 2,
    "kind": "tanh",
    "norm": True,
}


def test_a_right_answer_needs_no_repair():
    assert SPACE.repair(X, PARENT) == (X, "")
    assert SPACE.repair({**X, "lr": "1e-3", "layers": "2", "norm": "true"}, None) == (
        {**X, "lr": 0.001},
        "",
    )


def test_what_is_repaired_is_said():
    x, said = SPACE.repair(
        {"lr": 5, "layers": 2.6, "width": "99999"}, {"drop": 0.25, "kind": "gone"}
    )
    assert x == {
        "lr": 0.1,
        "drop": 0.25,
        "width": 512,
        "layers": 3,
        "kind": "relu",
        "norm": False,
    }
    assert said == (
        "repaired: lr was 5 and became 0.1; drop was missing and is 0.25, as in the parent; "
        "width was 99999 and became 512; layers was 2.6 and became 3; "
        "kind was missing and is 'relu', its usual value; norm was missing and is "
        "False, its usual value"
    )


def test_a_repaired_x_has_what_its_conditions_ask_for():
    x, said = LINKED.repair(
        {"kind": "adam", "momentum": 2, "lr": 0.44},
        {"kind": "sgd", "momentum": 3, "lr": 0.1},
    )
    assert x == {"kind": "adam", "lr": 0.4}
    assert (
        said
        == 'repaired: momentum was left out: it is there only when "kind" is "sgd"; '
        "lr was 0.44 and became 0.4"
    )
    assert LINKED.repair({"kind": "sgd", "momentum": 1})[0] == {
        "kind": "sgd",
        "momentum": 1,
        "lr": 0.3,
    }


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ({**X, "layer": 3}, UnknownName, "did you mean 'layers'"),
        ({**X, "lr": "fast"}, UsageError, "lr: 'fast' is not a number"),
        ({**X, "kind": "elu"}, UsageError, "kind: 'elu' is none of"),
        ([1], UsageError, "give an object"),
    ],
)
def test_what_cannot_be_repaired_is_refused(values, error, words):
    with pytest.raises(error, match=words):
        SPACE.repair(values, PARENT)


def test_conditions_steps_and_defaults_are_kept_and_described():
    again = as_space(json.loads(json.dumps(LINKED.to_json())))
    assert again.parameters == LINKED.parameters
    assert again.order == LINKED.order == ("kind", "momentum", "nesterov", "lr")
    lines = LINKED.describe().splitlines()
    assert (
        lines[0] == '- "nesterov": one of false, true, only when "momentum" is 2 or 3'
    )
    assert lines[3] == (
        '- "lr": a number from 0 to 1 in steps of 0.1, usually 0.3, '
        'only when "kind" is "sgd" or "adam"'
    )


def test_what_earlier_versions_stored_is_read():
    stored = {
        "lr": {
            "kind": "float",
            "low": 1e-5,
            "high": 0.1,
            "log": True,
            "description": "step size",
        },
        "n": {"kind": "int", "low": 1, "high": 4, "log": False, "description": ""},
        "properties": {"kind": "choice", "options": ["a", None], "description": ""},
    }
    assert as_space(stored).parameters == {
        "lr": Float(1e-5, 0.1, log=True, description="step size"),
        "n": Int(1, 4),
        "properties": Choice("a", None),
    }
