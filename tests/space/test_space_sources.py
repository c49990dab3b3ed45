"""Spaces made of JSON schemas, pydantic models and Optuna's distributions, and the schema that a
space gives."""

from enum import Enum
from random import Random
from typing import Annotated, Literal

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from llm_optimize.errors import UnknownName, UsageError
from llm_optimize.space import Bool, Choice, Float, Int, Space, as_space


def schema(**properties):
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("part", "parameter"),
    [
        ({"type": "number", "minimum": 0, "maximum": 2}, Float(0, 2)),
        (
            {"type": "number", "minimum": 1e-5, "maximum": 1, "log": True},
            Float(1e-5, 1, log=True),
        ),
        (
            {"type": "number", "minimum": 0.05, "maximum": 1, "multipleOf": 0.1},
            Float(0.1, 1, step=0.1),
        ),
        (
            {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "multipleOf": 0.25},
            Float(0.25, 1, step=0.25),
        ),
        ({"type": "integer", "minimum": 1, "maximum": 9}, Int(1, 9)),
        (
            {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 9.5},
            Int(1, 9),
        ),
        (
            {"type": "integer", "minimum": 0, "exclusiveMinimum": True, "maximum": 9},
            Int(1, 9),
        ),
        (
            {"type": "integer", "minimum": 0, "exclusiveMinimum": 3, "maximum": 9},
            Int(4, 9),
        ),
        (
            {"type": "integer", "minimum": 10, "maximum": 100, "multipleOf": 32},
            Int(32, 96, step=32),
        ),
        ({"type": "integer", "minimum": 4, "maximum": 4}, Choice(4)),
        (
            {"type": "string", "enum": ["a", "b"], "description": "which"},
            Choice("a", "b", description="which"),
        ),
        ({"enum": [1, None, "x"], "default": "x"}, Choice(1, None, "x", default="x")),
        ({"const": "fixed"}, Choice("fixed")),
        ({"type": "boolean", "default": True}, Bool(default=True)),
        ({"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}]}, Choice("a", "b", None)),
        ({"oneOf": [{"const": "a"}, {"const": "b"}]}, Choice("a", "b")),
    ],
)
def test_a_json_schema_is_read(part, parameter):
    assert as_space(schema(p=part)).parameters == {"p": parameter}
    assert as_space({"properties": {"p": part}}).parameters == {"p": parameter}


def test_an_excluded_bound_of_a_real_number_is_never_reached():
    parameter = as_space(
        schema(p={"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1})
    ).parameters["p"]
    assert 0 < parameter.check(-5) < 1e-8
    assert 1 - 1e-8 < parameter.check(5) < 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            schema(p={"type": "number", "minimum": 0}),
            "'p' of the schema: it has no maximum",
        ),
        (schema(p={"type": "string"}), "list its values as enum"),
        (schema(p={"type": "array", "items": {}}), "an array is not a single value"),
        (
            schema(p={"type": "object", "properties": {}}),
            "an object is not a single value",
        ),
        (
            schema(p={"anyOf": [{"type": "number"}, {"type": "null"}]}),
            "a number that may be absent needs",
        ),
        (schema(p={}), "its type is None"),
        (
            schema(p={"$ref": "#/$defs/Gone"}),
            "refers to '#/\\$defs/Gone', which is not in it",
        ),
        (
            {**schema(p={"$ref": "#/$defs/A"}), "$defs": {"A": {"$ref": "#/$defs/A"}}},
            "refers to itself",
        ),
        (
            {**schema(p={"const": 1}), "if": {}, "then": {}},
            "links its properties by if, then",
        ),
        (schema(), "no properties"),
        (schema(p=True), "give an object"),
        (5, "the space is 5"),
        ({"lr": {"kind": "flaot", "low": 1}}, "did you mean 'float'"),
    ],
)
def test_what_cannot_be_mapped_is_refused_with_the_repair(given, words):
    with pytest.raises(UsageError, match=words):
        as_space(given)


class Kernel(Enum):
    RBF = "rbf"
    POLY = "poly"


class Hyper(BaseModel):
    lr: Annotated[float, Field(ge=1e-5, le=0.1, json_schema_extra={"log": True})] = 0.01
    layers: int = Field(gt=0, lt=9, description="how deep")
    kernel: Kernel = Kernel.RBF
    other: Kernel
    loss: Literal["mse", "mae"]
    bag: bool = False
    trend: Literal["add", "mul"] | None = None


def test_a_pydantic_model_is_read():
    space = as_space(Hyper)
    assert space.parameters == {
        "lr": Float(1e-5, 0.1, log=True, default=0.01),
        "layers": Int(1, 8, description="how deep"),
        "kernel": Choice("rbf", "poly", default="rbf"),
        "other": Choice("rbf", "poly"),
        "loss": Choice("mse", "mae"),
        "bag": Bool(default=False),
        "trend": Choice("add", "mul", None),
    }
    Hyper.model_validate(space.sample(Random(0)))


def test_distributions_of_optuna_are_read_beside_our_own():
    space = as_space(
        {
            "lr": optuna.distributions.FloatDistribution(1e-5, 0.1, log=True),
            "drop": optuna.distributions.FloatDistribution(0, 0.9, step=0.1),
            "n": optuna.distributions.IntDistribution(1, 9),
            "width": optuna.distributions.IntDistribution(8, 512, step=8),
            "one": optuna.distributions.IntDistribution(3, 3),
            "kind": optuna.distributions.CategoricalDistribution(["a", "b", None]),
            "own": Bool(),
        }
    )
    assert space.parameters == {
        "lr": Float(1e-5, 0.1, log=True),
        "drop": Float(0, 0.9, step=0.1),
        "n": Int(1, 9),
        "width": Int(8, 512, step=8),
        "one": Choice(3),
        "kind": Choice("a", "b", None),
        "own": Bool(),
    }


SPACE = Space(
    {
        "lr": Float(1e-5, 0.1, log=True, description="step size"),
        "drop": Float(0, 0.9, step=0.1, default=0.5),
        "odd": Int(1, 9, step=2),
        "kind": Choice("a", None, 3),
        "bag": Bool(when={"kind": ("a", 3)}),
    }
)


def test_the_schema_of_a_space_says_all_that_a_schema_can():
    assert SPACE.schema() == {
        "type": "object",
        "properties": {
            "lr": {
                "type": "number",
                "minimum": 1e-5,
                "maximum": 0.1,
                "description": "step size; on a logarithmic scale",
            },
            "drop": {
                "type": "number",
                "minimum": 0,
                "maximum": 0.9,
                "multipleOf": 0.1,
                "default": 0.5,
            },
            "odd": {
                "type": "integer",
                "minimum": 1,
                "maximum": 9,
                "description": "in steps of 2 from 1",
            },
            "kind": {"enum": ["a", None, 3]},
            "bag": {"type": "boolean", "description": 'only when "kind" is "a" or 3'},
        },
        "required": ["lr", "drop", "odd", "kind"],
        "additionalProperties": False,
    }


ranges = st.tuples(st.integers(-1000, 1000), st.integers(1, 1000)).map(
    lambda pair: (pair[0], pair[0] + pair[1])
)
parameters = st.one_of(
    ranges.map(lambda ends: Int(*ends)),
    ranges.map(lambda ends: Float(ends[0] / 7, ends[1] / 7)),
    st.lists(
        st.one_of(st.none(), st.text(), st.integers(2, 9)),
        min_size=1,
        max_size=5,
        unique=True,
    ).map(lambda options: Choice(*options)),
    st.just(Bool()),
)


@given(st.dictionaries(st.text(min_size=1), parameters, min_size=1, max_size=5))
def test_a_space_without_conditions_is_read_back_from_its_schema(named):
    assert as_space(Space(named).schema()).parameters == named


@given(
    st.dictionaries(
        st.sampled_from([*SPACE.parameters, "lrr"]),
        st.one_of(st.none(), st.floats(), st.text()),
    )
)
def test_whatever_is_answered_is_repaired_or_refused(values):
    try:
        x, said = SPACE.repair(values, None)
    except (UnknownName, UsageError):
        return
    assert SPACE.check(x) == x
    assert (
        said
        or {name: SPACE.parameters[name].check(values[name]) for name in values} == x
    )
