"""What an agent may decide of a task: pure functions of the task's file and the agent's request."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_optimize import task_file
from llm_optimize.errors import LlmOptimizeError, NotAllowed, UsageError
from llm_optimize.mcp.allowed import Request, belongs, customized
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
    assert customized(task, Request()) == task
    changed = customized(
        task, Request(30, {"usd": 1, "seconds": 60}, "[1, 1]", "mutation", "chat", 7)
    )
    assert (changed.max_steps, changed.x0, changed.models) == (
        30,
        ("[1, 1]",),
        ("mutation",),
    )
    assert changed.budget == Budget(usd=1, calls=50, seconds=60)
    assert customized(task, Request(budget={"usd": None})).budget == task.budget
    assert changed.options == {"search": "chat", "seed": 7}
    assert (changed.limits, changed.func, changed.base_url) == (
        task.limits,
        task.func,
        task.base_url,
    )


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Request(max_steps=31), "max_steps is 31: the task 't' allows 30"),
        (Request(budget={"usd": 2.01}), "usd is 2.01, and the task allows at most 2"),
        (Request(budget={"calls": 51, "usd": 1}), "calls is 51"),
        (
            Request(model="big"),
            "the model 'big' is not allowed: known are small, mutation",
        ),
    ],
)
def test_a_bound_of_the_human_is_never_passed(tmp_path, wanted, words):
    with pytest.raises(NotAllowed, match=r"human|allow") as caught:
        customized(task_of(tmp_path), wanted)
    assert words in str(caught.value)


@pytest.mark.parametrize("cap", [0, -1, float("nan"), float("inf"), True, "1", [1]])
def test_a_cap_that_is_no_number_takes_none_away(tmp_path, cap):
    with pytest.raises(UsageError, match="usd is"):
        customized(task_of(tmp_path), Request(budget={"usd": cap}))


@pytest.mark.parametrize(
    "wanted",
    [Request(x0="1"), Request(model="small"), Request(search="chat"), Request(seed=1)],
)
def test_without_a_word_in_the_file_an_agent_sets_nothing_but_caps(tmp_path, wanted):
    closed = task_of(tmp_path, OPEN.partition("[agent]")[0])
    with pytest.raises(
        NotAllowed, match=r"a human may add it to may_set in \[agent\] of t\.toml"
    ):
        customized(closed, wanted)
    assert customized(closed, Request(max_steps=3, budget={"usd": 1})).max_steps == 3


def test_x0_is_an_object_where_those_of_the_task_are(tmp_path):
    task = task_of(tmp_path, **{'"[5, 3]"': '{ "a.py" = "1" }'})
    assert customized(task, Request(x0='{"a.py": "2"}')).x0 == ({"a.py": "2"},)
    for wrong in ("a = 2", "[1]", "[" * 100_000):
        with pytest.raises(UsageError, match="candidates of the task 't' are objects"):
            customized(task, Request(x0=wrong))


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
