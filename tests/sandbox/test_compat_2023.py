r"""Programs of 2023 run unchanged: with the old names only, and without an `if __name__` guard."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def block(x, tag=""):
    return f"An idea.\n```{tag}\n{x}\n```"


@pytest.fixture
def program(server, tmp_path):
    """Return a function that runs a program against the scripted server; it gives the last line."""

    def run(source, *replies):
        if replies:
            server.replies(*replies)
        (tmp_path / "program.py").write_text(source)
        env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OPENAI_API_KEY": "sk-test",
            "OPENAI_BASE_URL": server.url,
        }
        command = [sys.executable, "program.py"]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.rstrip().splitlines()[-1]

    return run


def test_a_script_that_fits_an_estimator(program):
    source = '''
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split
from llm_optimize import optimize, eval_utils, llm

X, y = make_classification(200, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

def score(x):
    data = {"X_train": X_train, "y_train": y_train}
    result = eval_utils.exec_with_timeout_unsafe(x, data, ["clf"], 30)
    accuracy = result["clf"].score(X_test, y_test)
    return accuracy, f"accuracy: {accuracy}"

x0 = """
from sklearn.dummy import DummyClassifier
clf = DummyClassifier().fit(X_train, y_train)
"""
best_score, scores, best_x = optimize.run(
    "Write a script that fits a classifier clf.", "What script is better?", score, x0, max_steps=2
)
print((best_score > scores[0], len(scores), "Logistic" in best_x))
'''
    better = (
        "from sklearn.linear_model import LogisticRegression\n"
        "def fit():\n    return LogisticRegression().fit(X_train, y_train)\nclf = fit()"
    )
    assert (
        program(
            source,
            block(better, "python"),
            block("def fit():\n    return None\nclf = fit()", "python"),
        )
        == "(True, 3, True)"
    )


def test_a_candidate_uses_modules_that_only_the_script_s_top_level_imported(program):
    source = """
import math
import numpy as np
from llm_optimize import optimize, eval_utils

def score(x):
    names = {}
    eval_utils.exec_unsafe(x, globals(), names)
    return names["y"], "fine"

result = optimize.run("Raise y.", "A better script?", score, "y = 0.0", 1)
print(tuple(result))
"""
    out = program(source, block("y = float(np.sqrt(4)) + math.floor(1.5)"))
    assert out == "(3.0, [0.0, 3.0], 'y = float(np.sqrt(4)) + math.floor(1.5)')"


def test_a_rubric_scorer(program, server):
    source = r"""
import re
from llm_optimize import optimize, eval_utils, llm

llm.default_llm_options.update(model_name="judge-and-writer")
rubric = 'Rate {x} as {"score": n} and close with final_score=n'

def parse_score(answer):
    return float(re.findall("final_score=([\d\.]+)", answer)[-1])

f = eval_utils.get_llm_scorer(rubric, parse_score, model=llm.get_default_llm())
result = optimize.run("Write well.", "A better text?", f, "old text", max_steps=2, stop_score=9)
print(tuple(result))
"""

    def reply(request):
        reported = request["messages"][-1]["content"]
        if reported.startswith("Rate"):
            assert reported.endswith('as {"score": n} and close with final_score=n')
            return "Well made. final_score=9.5" if "new" in reported else "Poor."
        return block("new text")

    server.answer = reply
    assert program(source) == "(9.5, [0.0, 9.5], 'new text')"
    assert {request["model"] for request in server.requests} == {"judge-and-writer"}


def test_prompts_of_one_s_own(program, server):
    source = """
from llm_optimize import optimize
result = optimize.run(
    "TASK", "QUESTION", len, "xx", 1, None, False,
    'S {task_description} {"a": {b}} {unknown}',
    'H {task_question} x={x} f={fx} {"c": {}}',
    100,
)
print(tuple(result))
"""
    assert program(source, block("yyy")) == "(3.0, [2.0, 3.0], 'yyy')"
    system, human = (message["content"] for message in server.requests[0]["messages"])
    assert system == 'S TASK {"a": {b}} {unknown}'
    assert re.fullmatch(
        r'H QUESTION x=```\nxx\n``` f=score 2\nf\(x\) = 2 \{"c": \{\}\}', human
    )


COUNT = """
from llm_optimize import optimize

def f(x):
    if x == "raise":
        raise ValueError("no")
    return (float("nan") if x == "nan" else float(len(x))), "ok"

result = optimize.run("d", "q", f, X0, max_steps=STEPS, verbose=False)
print(tuple(result))
"""


def counted(program, x0, *replies):
    source = COUNT.replace("X0", repr(x0)).replace("STEPS", str(len(replies)))
    nan = math.nan
    return eval(program(source, *replies), {"nan": nan})


def test_two_blocks_of_a_reply_are_not_glued(program):
    assert (
        counted(program, "a", "one\n```\nfirst\n```\ntwo\n```\nsecond!\n```")[2]
        == "second!"
    )


def test_a_tag_with_plus_signs_is_no_part_of_x(program):
    assert counted(program, "a", block("int x;", "c++"))[2] == "int x;"


def test_a_nan_of_x0_is_beaten_and_stands_as_nan(program):
    best_score, scores, best_x = counted(program, "nan", block("abcd"))
    assert (best_score, best_x) == (4.0, "abcd")
    assert math.isnan(scores[0])


def test_an_exception_of_f_loses_nothing(program):
    best_score, scores, _ = counted(program, "raise", block("raise"), block("abcd"))
    assert best_score == 4.0
    assert [math.isnan(score) for score in scores] == [True, True, False]


def test_a_reply_without_a_block_ends_nothing(program, server):
    texts = iter(["no block", "still none", "none at all", block("abcd")])
    server.answer = lambda request: next(texts)
    best_score, scores, _ = eval(
        program(COUNT.replace("X0", "'a'").replace("STEPS", "2")), {"nan": math.nan}
    )
    assert best_score == 4.0
    assert len(scores) == 3


def test_a_long_chat_does_not_grow_without_end(program, server):
    source = """
from llm_optimize import optimize
result = optimize.run("d", "q", len, "a" * 4000, max_steps=40, verbose=False, search="chat")
print(len(result.scores))
"""
    server.answer = lambda request: block("b" * (4000 + len(server.requests)))
    assert program(source) == "41"
    sizes = [
        sum(len(message["content"]) for message in request["messages"])
        for request in server.requests
    ]
    assert max(sizes) < 16_000 * 4


def test_a_call_does_not_take_a_second(program):
    source = """
import time
from llm_optimize import eval_utils
eval_utils.exec_with_timeout_unsafe("y = 1", {}, ["y"], 30)
begun = time.monotonic()
for _ in range(4):
    eval_utils.exec_with_timeout_unsafe("y = 1", {}, ["y"], 30)
print(time.monotonic() - begun)
"""
    assert float(program(source)) < 3.5
