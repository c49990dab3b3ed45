"""Helpers for people who write f: scripts in a child, and models as judges."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from llm_optimize import eval_utils
from llm_optimize.errors import ScriptFailed, ScriptTimeout, VariableMissing
from llm_optimize.testing import ScriptedChat

ROOT = Path(__file__).parents[2]
run = eval_utils.exec_with_timeout_unsafe


def test_variables_go_in_and_out_as_they_are():
    X = np.arange(6).reshape(2, 3)
    found = run(
        "y = X * k\nclass_ = type(y).__name__", {"X": X, "k": 2}, ["y", "class_"], 20
    )
    assert (found["y"] == 2 * X).all()
    assert found["class_"] == "ndarray"


def test_functions_of_the_script_see_its_globals():
    script = "import math\ndef area(r):\n    return factor * math.pi * r\ny = area(1)"
    assert run(script, {"factor": 2}, ["y"], 20)["y"] == pytest.approx(6.2831853)


def test_a_fitted_estimator_comes_back():
    script = "from sklearn.svm import SVC\nclf = SVC().fit(X, y)"
    X = np.random.default_rng(0).normal(size=(40, 2))
    clf = run(script, {"X": X, "y": X[:, 0] > 0}, ["clf"], 60)["clf"]
    assert clf.score(X, X[:, 0] > 0) > 0.9


def test_what_the_script_raises_is_raised_here():
    with pytest.raises(ZeroDivisionError):
        run("1 / 0", {}, [], 20)
    with pytest.raises(KeyError, match="missing"):
        run("{}['missing']", {}, [], 20)
    with pytest.raises(
        ScriptFailed, match="Odd: one"
    ):  # a class that only the script has, with an odd constructor
        run(
            "class Odd(Exception):\n    def __init__(self, a, b):\n"
            "        super().__init__('one')\nraise Odd(1, 2)",
            {},
            [],
            20,
        )
    with pytest.raises(SyntaxError):
        run("y = = 1", {}, [], 20)


def test_a_variable_that_was_never_set_is_named():
    with pytest.raises(VariableMissing, match="never set 'z'"):
        run("y = 1", {}, ["y", "z"], 20)
    with pytest.raises(KeyError):
        run("y = 1", {}, ["z"], 20)


def test_it_returns_as_soon_as_the_script_ends():
    run("y = 1", {}, ["y"], 60)
    begun = time.monotonic()
    run(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\ny = 1",
        {},
        ["y"],
        60,
    )
    assert time.monotonic() - begun < 20  # and does not wait for the thread either


def test_a_script_that_hangs_is_killed_with_its_children(tmp_path):
    script = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; "
        "time.sleep(60)'], start_new_session=True)\n"
        "open(path, 'w').write(str(child.pid))\ntime.sleep(60)"
    )
    path = tmp_path / "pid"
    with pytest.raises(ScriptTimeout, match="killed at its deadline of 2 s") as caught:
        run(script, {"path": str(path)}, [], 2)
    assert isinstance(caught.value, subprocess.TimeoutExpired)
    if sys.platform == "linux":
        pid, deadline = path.read_text(), time.monotonic() + 5
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("code", [0, 3])
def test_a_script_that_ends_the_process_failed(code):
    with pytest.raises(ScriptFailed, match=f"exit code {code}"):
        run(f"import os\nos._exit({code})", {}, ["y"], 20)


def test_what_the_script_prints_is_passed_on(capsys):
    run("print('hello')", {}, [], 20)
    assert capsys.readouterr().out == "hello\n"


def test_a_process_with_threads_is_not_forked():
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    try:
        assert run("y = 1", {}, ["y"], 20) == {"y": 1}
    finally:
        release.set()
        thread.join()


def test_a_script_of_one_thread_is_quick(tmp_path):
    """Inside f, which runs in a child with one thread, a script costs a fork and no import."""
    program = tmp_path / "program.py"
    program.write_text(
        "import time\nfrom llm_optimize import eval_utils\n"
        "begun = time.monotonic()\n"
        "for n in range(20):\n    assert eval_utils.exec_with_timeout_unsafe('y = x', "
        "{'x': n}, ['y'], 20)['y'] == n\n"
        "print((time.monotonic() - begun) / 20)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    out = subprocess.run(
        [sys.executable, program],
        env=env,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    if sys.platform == "linux":
        assert float(out.stdout) < 0.5


def test_exec_unsafe_is_exec():
    names = {"x": 2}
    eval_utils.exec_unsafe("def f():\n    return x\ny = f()", names)
    assert names["y"] == 2


def test_a_temporary_script_is_run_and_removed():
    out = eval_utils.exec_temp_script_unsafe(
        "import sys\nprint(__name__, __file__)", 20
    )
    name, file = out.split()
    assert name == "__main__"
    assert not Path(file).exists()


def test_a_temporary_script_that_fails_or_hangs_raises_what_it_raised_in_2023():
    with pytest.raises(RuntimeError, match=r"(?s)exit code 1.*ValueError: boo"):
        eval_utils.exec_temp_script_unsafe("raise ValueError('boo')", 20)
    with pytest.raises(RuntimeError, match="exit code 7"):
        eval_utils.exec_temp_script_unsafe("import sys; sys.exit(7)", 20)
    with pytest.raises(subprocess.TimeoutExpired):
        eval_utils.exec_temp_script_unsafe("while True: pass", 1)


def test_the_output_of_a_temporary_script_is_bounded():
    with pytest.raises(RuntimeError, match="output limit of 64 MB"):
        eval_utils.exec_temp_script_unsafe("while True: print('a' * 1_000_000)", 30)


def parse(answer):
    return float(answer.split("=")[1])


def test_a_rubric_with_braces_is_filled_with_x_alone():
    model = ScriptedChat("because\nscore=7.5")
    f = eval_utils.get_llm_scorer(
        'Say {"score": n} of {x} {{really}} {fx}.', parse, model
    )
    assert f("my {x} text") == (7.5, "because\nscore=7.5")
    assert (
        model.asked[0][-1]["content"]
        == 'Say {"score": n} of my {x} text {{really}} {fx}.'
    )


def test_what_parse_score_raises_becomes_the_error_score():
    f = eval_utils.get_llm_scorer(
        "{x}", parse, ScriptedChat("no idea"), error_score=-1.0
    )
    assert f("a") == (-1.0, "IndexError: list index out of range")


def test_a_scorer_travels_into_the_sandbox_and_asks_from_there(server):
    from contextlib import closing

    from llm_optimize.llm import Chat
    from llm_optimize.sandbox import Call, open_sandbox

    server.replies("score=3")
    f = eval_utils.get_llm_scorer(
        "Grade {x}", parse, Chat("judge", base_url=server.url, api_key="sk-carried")
    )
    with closing(open_sandbox("process", f)) as sandbox:
        assert sandbox.run(Call("text", 30.0)).value == [3.0, "score=3"]
    assert server.requests[0]["headers"]["authorization"] == "Bearer sk-carried"
