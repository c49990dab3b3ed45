"""TASK.toml: what may stand in it, and what is said of what may not."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

import pytest

from llm_optimize import optimize, task_file
from llm_optimize.errors import TaskFileError, UnknownName, UsageError
from llm_optimize.records import Budget, Limits

LEAST = 'task = "t"\nfunc = "judge.py:f"\n'


@pytest.fixture
def file(tmp_path) -> Path:
    (tmp_path / "judge.py").write_text("def f(x): return 1.0\n")
    return tmp_path / "digits.toml"


def test_a_task_needs_words_and_a_function_only(file):
    task = task_file.parse(LEAST, file)
    assert (task.name, task.title, task.task, task.question) == (
        "digits",
        "digits",
        "t",
        task_file.QUESTION,
    )
    assert task.func == (f"{file.parent / 'judge.py'}:f",)
    assert (task.x0, task.max_steps, task.most_steps, task.models) == ((), 10, 10, ())
    assert (task.limits, task.budget, dict(task.options)) == (Limits(), Budget(), {})
    assert (task.agent.may_set, task.agent.max_runs) == (("budget", "max_steps"), 20)


def test_everything_that_may_stand_in_a_file_is_read(file):
    text = """
        name = "numbers"
        title = "Two numbers"
        task = "@words.md"
        question = "Smaller?"
        func = ["judge.py:f", "judge.py:f"]
        x0 = ["[5, 3]", { "a.py" = "x" }]
        model = ["one", "two"]
        base_url = "http://127.0.0.1:1/v1"
        price = "0.25/2"
        max_steps = 30
        timeout_secs = 5
        reflect = true
        [space.lr]
        kind = "float"
        [limits]
        env = ["HOME"]
        network = false
        [budget]
        usd = 2
        [agent]
        may_set = ["model", "hint"]
        models = ["one"]
        max_steps = 100
        max_runs = 3
    """
    (file.parent / "words.md").write_text("Lower f.\n")
    task = task_file.parse(text, file)
    assert (task.name, task.title, task.task, task.question) == (
        "numbers",
        "Two numbers",
        "Lower f.\n",
        "Smaller?",
    )
    assert (len(task.func), task.x0) == (2, ("[5, 3]", {"a.py": "x"}))
    assert (task.models, task.base_url, task.price) == (
        ("one", "two"),
        "http://127.0.0.1:1/v1",
        "0.25/2",
    )
    assert (task.limits, task.budget) == (
        Limits(env=("HOME",), network=False),
        Budget(usd=2),
    )
    assert task.agent == task_file.Agent(("model", "hint"), 100, 3, ("one",))
    assert (task.max_steps, task.most_steps) == (30, 100)
    assert task.options == {
        "timeout_secs": 5,
        "reflect": True,
        "space": {"lr": {"kind": "float"}},
    }


def test_paths_of_limits_are_relative_to_the_file(file):
    task = task_file.parse(
        LEAST + '[limits]\nreadable = ["data", "/data", "~/data"]\nwritable = ["."]',
        file,
    )
    assert task.limits.readable == (str(file.parent / "data"), "/data", "~/data")
    assert task.limits.writable == (str(file.parent),)


def test_x0_may_stand_in_files_and_is_read_to_the_byte(file):
    (file.parent / "a.txt").write_bytes(b"[5,\r\n3]")
    assert task_file.parse(LEAST + 'x0_file = "a.txt"', file).x0 == ("[5,\r\n3]",)
    assert (
        task_file.parse(LEAST + 'x0_file = ["a.txt", "a.txt"]', file).x0
        == ("[5,\r\n3]",) * 2
    )


def test_the_options_are_arguments_of_a_run():
    arguments = inspect.signature(optimize.run).parameters
    assert set(task_file.OPTIONS) <= set(arguments)
    assert all(
        arguments[name].default == value for name, value in task_file.DEFAULTS.items()
    )
    assert arguments["max_steps"].default == task_file.MAX_STEPS


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("task = ", TaskFileError, "digits.toml is not TOML: "),
        ("seed = " + "9" * 5000, TaskFileError, "digits.toml is not TOML: "),
        ("x0 = " + "[" * 10_000, TaskFileError, "digits.toml is not TOML: "),
        ('func = "judge.py:f"', TaskFileError, "digits.toml has no 'task'"),
        ('task = "t"', TaskFileError, "digits.toml has no 'func'"),
        (
            LEAST + "max_step = 3",
            UnknownName,
            "key in digits.toml 'max_step': did you mean 'max_steps'",
        ),
        (
            LEAST + "[bugdet]",
            UnknownName,
            "key in digits.toml 'bugdet': did you mean 'budget'?",
        ),
        (LEAST + 'store = "runs.db"', UnknownName, "key in digits.toml 'store'"),
        (
            LEAST + "[limits]\nmemory = 3",
            UnknownName,
            "key in [limits] of digits.toml 'memory': did you mean 'memory_",
        ),
        (
            LEAST + "[limits]\nmemory_mb = 0",
            TaskFileError,
            "[limits] of digits.toml: limits.memory_mb is 0",
        ),
        (
            LEAST + '[limits]\nenv = "HOME"',
            TaskFileError,
            "env is 'HOME': give a list of texts",
        ),
        (
            LEAST + "[budget]\nusd = nan",
            TaskFileError,
            "[budget] of digits.toml: usd is nan: give a number",
        ),
        (
            LEAST + "[budget]\nusd = -1",
            TaskFileError,
            "[budget] of digits.toml: budget.usd is -1",
        ),
        (
            LEAST + "[budget]\ncalls = 1.5",
            TaskFileError,
            "calls is 1.5: give a whole number",
        ),
        (
            LEAST + "budget = 3",
            TaskFileError,
            "digits.toml: budget is 3: write a table, [budget]",
        ),
        (
            LEAST + "workers = true",
            TaskFileError,
            "digits.toml: workers is True: give a whole number",
        ),
        (LEAST + "max_steps = -1", TaskFileError, "digits.toml: max_steps is -1"),
        (
            LEAST + "x0 = 5",
            TaskFileError,
            "digits.toml: x0 is 5: give a text, a table, or a list of these",
        ),
        (
            LEAST + 'x0 = "1"\nx0_file = "a"',
            TaskFileError,
            "digits.toml has both x0 and x0_file",
        ),
        (
            LEAST + 'x0_file = "a"',
            TaskFileError,
            "digits.toml: the file a of x0_file cannot be read: No such file",
        ),
        (
            LEAST + '[agent]\nmay_set = ["sandbox"]',
            TaskFileError,
            "unknown word in may_set 'sandbox'",
        ),
        (LEAST + '[agent]\nmay_set = ["model"]', TaskFileError, "no model is named"),
        (
            LEAST + "[agent]\nmax_runs = 0",
            TaskFileError,
            "[agent] of digits.toml: max_runs is 0",
        ),
        (
            'task = "t"\nfunc = "os:system"',
            TaskFileError,
            "digits.toml: func is 'os:system': write FILE.py:NAME",
        ),
        ('task = "t"\nfunc = "judge.py"', TaskFileError, "write FILE.py:NAME"),
        (
            'task = "t"\nfunc = "no.py:f"',
            TaskFileError,
            "the file no.py of func does not exist",
        ),
    ],
)
def test_what_cannot_be_is_said_with_file_and_key(file, text, error, words):
    with pytest.raises(error) as caught:
        task_file.parse(text, file)
    assert isinstance(caught.value, UsageError)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_file_that_cannot_be_read_is_named(file):
    with pytest.raises(
        TaskFileError, match=r"digits\.toml cannot be read: No such file"
    ):
        task_file.read(file)
    file.write_bytes(b"task = '\xff'")
    with pytest.raises(TaskFileError, match=r"digits\.toml is not UTF-8 text"):
        task_file.read(file)
    file.write_bytes(b"#" * 1_000_001)
    with pytest.raises(TaskFileError, match=r"longer than 1,000,000 bytes"):
        task_file.read(file)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_no_task_and_holds_nobody_up(file):
    os.mkfifo(file)
    with pytest.raises(TaskFileError, match=r"digits\.toml is not a regular file"):
        task_file.read(file)
