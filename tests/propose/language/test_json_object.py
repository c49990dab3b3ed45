"""JSON objects: the last whole one counts, also where a model did not quite write JSON."""

import time

import pytest

from llm_optimize.propose.language.json_object import last_json_object


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ('no {"a": 1} then ```json\n{"b": {"c": "}"}}\n``` done', {"b": {"c": "}"}}),
        ('cut {"a": 1} {"b": ', {"a": 1}),
        ("{none} {", None),
        ("{" * 5000, None),
        ('{"a":' * 100_000, None),
    ],
)
def test_the_last_whole_object_counts(reply, value):
    assert last_json_object(reply) == value


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ('{"a": 1, "b": [1, 2,],}', {"a": 1, "b": [1, 2]}),
        ("{'a': True, 'b': None, 'c': -1.5e-3}", {"a": True, "b": None, "c": -0.0015}),
        ('{"a": 1, // one\n "b": "//two", # "three"\n /* four */ "c": 3}', None),
        ("params = {'a': '{', 'b': (1, 2)}", {"a": "{", "b": [1, 2]}),
        ('{"lr": 1/100, "n": 3}', {"lr": 0.01, "n": 3}),
        ("{\u201clr\u201d: 0.1}", {"lr": 0.1}),
    ],
)
def test_what_is_nearly_json_is_read(reply, value):
    value = value or {"a": 1, "b": "//two", "c": 3}
    assert last_json_object(reply) == value
    assert last_json_object(f"So:\n```json\n{reply}\n```\nnot {{}} but that.") == value


@pytest.mark.parametrize(
    "reply",
    [
        '{"model": {"depth": 3}, "opt": {"lr": 0.1}, oops}',
        '{"a": {"b": 1}, "c": open("f")}',
        '{"a": {"b": 1}, "c": 1/0}',
        '{"a": {"b": 1}, "c": 2 ** 999999}',
        '{"a": {"b": 1}, 1: 2}',
    ],
)
def test_an_inner_object_of_one_that_cannot_be_read_is_no_answer(reply):
    assert last_json_object(reply) is None
    assert last_json_object(f'{{"first": 1}} {reply}') == {"first": 1}


def test_a_fence_that_is_not_closed_may_hold_a_whole_object():
    assert last_json_object('```json\n{"a": 1}\n') == {"a": 1}


@pytest.mark.parametrize(
    "piece", ["{", '{"a":', "{'", "/*{", "{//", "{}", '{"a":1}', "```\n{\n"]
)
def test_hostile_replies_take_no_long_time(piece):
    begun = time.perf_counter()
    last_json_object(piece * (500_000 // len(piece)))
    assert time.perf_counter() - begun < 10
