"""Rooms for code that is judged: f outside, with the labels; the script inside, with data only."""

import sys
from contextlib import closing
from functools import partial

import numpy as np
import pytest

from levels import need_namespaces
from llm_optimize import eval_utils
from llm_optimize.errors import (
    SandboxUnavailable,
    ScriptFailed,
    ScriptTimeout,
    UsageError,
    VariableMissing,
)
from llm_optimize.records import Limits
from llm_optimize.sandbox import Call, OutcomeStatus, open_sandbox

LABELS = ["HIDDEN-LABEL-CANARY-1", "cat"]
linux = pytest.mark.skipif(
    sys.platform != "linux", reason="the fork server beside f's is there on Linux"
)


def inside(func, x, level="process"):
    """Call f as a run does: in a sandbox."""
    if level == "namespace":
        need_namespaces()
    with closing(open_sandbox(level, func)) as sandbox:
        outcome = sandbox.run(Call(x, 30.0))
    assert outcome.status is OutcomeStatus.OK, outcome
    return outcome


def test_data_goes_in_and_comes_out():
    given = {
        "a": np.arange(6.0).reshape(2, 3),
        "names": ["x", "y"],
        "deep": {"b": [True, None, 2.5]},
    }
    script = (
        "import numpy as np\nt = np.asfortranarray(a.T)\nn = a.sum()\n"
        "empty = np.zeros((0, 3), 'i2')\nboth = (a, 1)"
    )
    found = eval_utils.run_script(
        script, given, ["t", "n", "deep", "names", "empty", "both"]
    )
    assert np.array_equal(found["t"], given["a"].T)
    assert (found["n"], found["deep"], found["names"]) == (
        15.0,
        given["deep"],
        ["x", "y"],
    )
    assert (found["empty"].shape, found["empty"].dtype) == ((0, 3), np.dtype("i2"))
    assert isinstance(found["both"], list)
    assert found["t"].flags.writeable


def test_a_function_is_called():
    script = "def area(width, *, height):\n    return {'area': width * height}"
    assert eval_utils.call(script, "area", [3], {"height": 4}) == {"area": 12}


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        ("1 / 0", ScriptFailed, "ZeroDivisionError"),
        ("import os; os._exit(0)", ScriptFailed, "exit code 0"),
        ("import sys; sys.exit(0)", ScriptFailed, "SystemExit: 0"),
        ("import ctypes; ctypes.string_at(0)", ScriptFailed, "SIGSEGV"),
        ("y = object()", ScriptFailed, "a value of type object is not plain data"),
        (
            "import numpy as np; y = np.array([object()])",
            ScriptFailed,
            "numpy.ndarray is not plain data",
        ),
        ("y = 'a' * 3_000_000", ScriptFailed, "limit of 1 MB (result_mb)"),
        ("print('told')\nx = 1", VariableMissing, "never set 'y'"),
        ("while True: pass", ScriptTimeout, "deadline of 2 s"),
        ("y =", ScriptFailed, "SyntaxError"),
        ("x = bytearray(10**9)", ScriptFailed, "memory limit of 600 MB reached"),
    ],
)
def test_what_goes_wrong_is_told_with_its_outcome(script, kind, words):
    with pytest.raises(
        kind, match=words.replace("(", r"\(").replace(")", r"\)")
    ) as caught:
        eval_utils.run_script(
            script, {}, ["y"], 2.0, limits=Limits(memory_mb=600, result_mb=1)
        )
    assert caught.value.outcome.status in set(OutcomeStatus)
    if kind is VariableMissing:
        assert caught.value.outcome.output == "told\n"


def test_a_missing_function_is_told():
    with pytest.raises(VariableMissing, match="no function 'solve'"):
        eval_utils.call("solve = 3", "solve")


@pytest.mark.parametrize(
    "given", [{"x": object()}, {"x": np.array([object()])}, {"x": {1: 2}}]
)
def test_an_input_that_is_no_data_is_refused(given):
    with pytest.raises(UsageError, match="is not plain data"):
        eval_utils.run_script("pass", given)


def test_words_for_levels_are_checked():
    with pytest.raises(
        UsageError, match="unknown sandbox 'inline': known are auto, namespace, process"
    ):
        eval_utils.run_script("pass", sandbox="inline")


# The label itself is not in it, or it would find itself.
SEARCH = """
import gc, hashlib, re, sys
digest = "77790ab917b40811bb9b25de477b333e58a18749"
lists = [o for o in gc.get_objects() if type(o) is list]
hits = [o for o in lists if any(type(e) is str and e.startswith("HIDDEN" + "-") for e in o)]
for line in open("/proc/self/maps"):  # and in all memory that may hold a pickle of f
    span, rights, _, _, _, *name = line.split()
    if rights.startswith("rw") and name[:1] not in (["[stack]"], ["[vvar]"]):
        begin, end = (int(part, 16) for part in span.split("-"))
        with open("/proc/self/mem", "rb") as memory:
            memory.seek(begin)
            content = memory.read(end - begin)
            places = [found.end() for found in re.finditer(b"HIDDEN-", content)]
            parts = [content[place : place + 14] for place in places]
            if any(hashlib.sha1(part).hexdigest() == digest for part in parts):
                hits.append(span)
frame, names = sys._getframe(), []
while frame:
    names += [n for n in frame.f_globals if n == "LABELS"]
    frame = frame.f_back
def readable(path):
    try:
        return len(open(path).read()) > 0
    except OSError:
        return False
found = [len(hits), len(names), "test_run_script" in sys.modules, readable(path)]
"""


def searched(x):
    """Be an f with labels in its memory, module and file; return what a script finds of them."""
    assert LABELS
    return eval_utils.run_script(SEARCH, {"path": __file__}, ["found"])["found"]


@linux
@pytest.mark.parametrize("level", ["inline", "process", "namespace"])
def test_a_script_finds_no_label_of_f_in_memory_frames_modules_or_files(level):
    assert inside(searched, "x", level).value == [0, 0, False, False]


@linux
@pytest.mark.parametrize("level", ["process", "namespace"])
def test_a_script_finds_no_label_of_an_f_that_travels_by_value(level):
    label = "HIDDEN-" + "LABEL-BY-VALUE"
    assert inside(partial(looking, label), "x", level).value == [0, 0, False, False]


def looking(label, x):
    assert label
    return searched(x)


def patched(x):
    """Be an f that scores what the patching of hostile program 43 could reach if it ran here."""
    reported = eval_utils.run_script(x, {"n": 4}, ["y"])["y"]
    return float(sum(1 for one in reported if one == 1)), "honest"


@linux
@pytest.mark.parametrize("level", ["process", "namespace"])
def test_patching_reaches_no_scorer(level):
    script = (
        "import builtins, json, os\nbuiltins.sum = lambda *a: 666.0\n"
        "json.dumps = lambda *a, **k: '666'\n"
        "builtins.float = lambda *a: 666.0\n"
        "for fd in range(64):\n    try: os.write(fd, b'666.0')\n"
        "    except OSError: pass\ny = [1, 0, 1, 0]"
    )
    with closing(open_sandbox(level, patched)) as sandbox:
        outcome = sandbox.run(Call(script, 30.0))
        assert outcome.value != [666.0, "honest"]
        assert outcome.status in (OutcomeStatus.RAISED, OutcomeStatus.OK)
        assert sandbox.run(Call("y = [1, 1, 1]", 30.0)).value == [3.0, "honest"]


def prints(x):
    eval_utils.run_script("print('from the script')")
    return eval_utils.run_script(
        "import os\nd = os.getcwd()\nopen('own', 'w').write('x')\nf = os.listdir()",
        {},
        ["d", "f"],
    )


@linux
@pytest.mark.parametrize("level", ["process", "namespace"])
def test_what_it_prints_is_printed_by_f_and_its_folder_is_its_own(level):
    outcome = inside(prints, "x", level)
    assert outcome.output == "from the script\n"
    assert outcome.value["f"] == ["own"]
    assert "llm_optimize-" in outcome.value["d"]


def forgives(x):
    try:
        eval_utils.run_script("import time; time.sleep(30)", {}, [], 0.3)
    except ScriptTimeout as error:
        return str(error)


@linux
@pytest.mark.parametrize("level", ["process", "namespace"])
def test_a_script_that_hangs_costs_its_own_time_only(level):
    outcome = inside(forgives, "x", level)
    assert "deadline of 0.3 s" in outcome.value
    assert outcome.seconds < 10


def wants_more(x):
    try:
        eval_utils.run_script("pass", sandbox="namespace")
    except SandboxUnavailable as error:
        return str(error)


@linux
def test_a_script_in_a_plain_sandbox_cannot_ask_for_namespaces_in_vain():
    assert "run f with sandbox='namespace'" in inside(wants_more, "x").value


def spoils(x):
    """Be a candidate that uses the broker of its sandbox badly."""
    import os
    import socket

    from llm_optimize.sandbox.linux.script_broker_client import BROKER_VARIABLE

    fd = int(os.environ[BROKER_VARIABLE].split(":")[0])
    with socket.socket(fileno=os.dup(fd)) as broker:
        broker.send(b"\xff not json")
        broker.shutdown(socket.SHUT_RDWR)
    return 1.0


def either(x):
    return (
        spoils(x) if x == "spoil" else eval_utils.run_script("y = 2.0", {}, ["y"])["y"]
    )


@linux
@pytest.mark.parametrize("level", ["process", "namespace"])
def test_a_spoilt_broker_socket_is_the_loss_of_that_scoring_only(level):
    if level == "namespace":
        need_namespaces()
    with closing(open_sandbox(level, either)) as sandbox:
        assert [
            sandbox.run(Call(x, 30.0)).value
            for x in ("use", "spoil", "use", "spoil", "use")
        ] == [2, 1, 2, 1, 2]
