"""What an agent may decide of a task: pure functions of the task's file and the agent's wish."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_optimize import task_file
from llm_optimize.errors import LlmOptimizeError, NotAllowed, UsageError
from llm_optimize.mcp.allowed import Wish, as_wished, belongs
from llm_optimize.mcp.parameters import TOOLS, arguments_of
from llm_optimize.records import Budget

OPEN = """\
task = "t"
func = "judge.py:f"
x0 = "[5, 3]"
max_steps = 10
model = "big"

[budget]
usd = 2
calls = 50

[agent]
may_set = ["max_steps", "budget", "x0", "model", "search", "seed"]
models = ["small", "mutation"]
max_steps = 30
"""


def task_of(folder: Path, text: str = OPEN, **changes: str) -> task_file.TaskFile:
    (folder / "judge.py").touch()
    for old, new in changes.items():
        text = text.replace(old, new)
    return task_file.parse(text, folder / "t.toml")


def test_what_an_agent_may_set_is_set_and_the_rest_is_as_in_the_file(tmp_path):
    task = task_of(tmp_path)
    assert as_wished(task, Wish()) == task
    wished = as_wished(
        task, Wish(30, {"usd": 1, "seconds": 60}, "[1, 1]", "mutation", "chat", 7)
    )
    assert (wished.max_steps, wished.x0, wished.models) == (
        30,
        ("[1, 1]",),
        ("mutation",),
    )
    assert wished.budget == Budget(usd=1, calls=50, seconds=60)
    assert as_wished(task, Wish(budget={"usd": None})).budget == task.budget
    assert wished.options == {"search": "chat", "seed": 7}
    assert (wished.limits, wished.func, wished.base_url) == (
        task.limits,
        task.func,
        task.base_url,
    )


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (Wish(max_steps=31), "max_steps is 31: the task 't' allows 30"),
        (Wish(budget={"usd": 2.01}), "usd is 2.01, and the task allows 2"),
        (Wish(budget={"calls": 51, "usd": 1}), "calls is 51"),
        (
            Wish(model="big"),
            "the model 'big' is not allowed: known are small, mutation",
        ),
    ],
)
def test_a_bound_of_the_human_is_never_passed(tmp_path, wish, words):
    with pytest.raises(NotAllowed, match=r"human|allow") as caught:
        as_wished(task_of(tmp_path), wish)
    assert words in str(caught.value)


@pytest.mark.parametrize("cap", [0, -1, float("nan"), float("inf"), True, "1", [1]])
def test_a_cap_that_is_no_number_takes_none_away(tmp_path, cap):
    with pytest.raises(UsageError, match="usd is"):
        as_wished(task_of(tmp_path), Wish(budget={"usd": cap}))


@pytest.mark.parametrize(
    "wish", [Wish(x0="1"), Wish(model="small"), Wish(search="chat"), Wish(seed=1)]
)
def test_without_a_word_in_the_file_an_agent_sets_nothing_but_caps(tmp_path, wish):
    closed = task_of(tmp_path, OPEN.partition("[agent]")[0])
    with pytest.raises(
        NotAllowed, match=r"a human may add it to may_set in \[agent\] of t\.toml"
    ):
        as_wished(closed, wish)
    assert as_wished(closed, Wish(max_steps=3, budget={"usd": 1})).max_steps == 3


def test_x0_is_an_object_where_those_of_the_task_are(tmp_path):
    task = task_of(tmp_path, **{'"[5, 3]"': '{ "a.py" = "1" }'})
    assert as_wished(task, Wish(x0='{"a.py": "2"}')).x0 == ({"a.py": "2"},)
    for wrong in ("a = 2", "[1]", "[" * 100_000):
        with pytest.raises(UsageError, match="candidates of the task 't' are objects"):
            as_wished(task, Wish(x0=wrong))


def test_a_run_belongs_to_the_task_with_its_words_and_its_f(tmp_path):
    task = task_of(tmp_path)
    mine = {"task": {"description": "t"}, "func": f"{tmp_path / 'judge.py'}:f"}
    assert belongs(mine, task)
    for other in (
        {"func": "evil.py:f"},
        {"task": {"description": "u"}},
        {"task": "t"},
        {"task": None},
    ):
        assert not belongs({**mine, **other}, task)


@pytest.mark.parametrize(
    "word", ["sandbox", "limits", "base_url", "func", "env", "executor", "store"]
)
def test_what_is_for_humans_is_in_no_schema_and_refused_by_name(word):
    for tool, facts in TOOLS.items():
        assert word not in facts.schema()["properties"]
        with pytest.raises(NotAllowed, match=f"^{word} is for a human to decide"):
            arguments_of(tool, {word: "x"})


def test_arguments_arrive_as_they_were_sent():
    x0s = [
        "[5, 3]",
        '{"a": 1}',
        "null",
        "true",
        "1",
        '"quoted"',
        " \t\n",
        "\u202e\U0001f600\0",
    ]
    for x0 in x0s:
        assert arguments_of("start_run", {"task": "t", "x0": x0, "seed": None}) == {
            "task": "t",
            "x0": x0,
        }
    assert arguments_of("start_run", {"task": "t", "budget": '{"usd": 1}'})[
        "budget"
    ] == {"usd": 1}
    for wrong in (
        {"x0": ["5", "3"]},
        {"x0": {"a": 1}},
        {"budget": "[1]"},
        {"budget": "1"},
        {"seed": 1.0},
    ):
        with pytest.raises(LlmOptimizeError, match="give a"):
            arguments_of("start_run", {"task": "t", **wrong})
