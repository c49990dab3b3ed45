"""Answers that a hostile child writes with the right nonce: of any shape, and of any weight."""

import json
import os
import subprocess
import sys
from contextlib import closing, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candidates import load_and_call
from llm_optimize import eval_utils
from llm_optimize.errors import ScriptFailed, VariableMissing
from llm_optimize.eval_utils import _read_outputs, _read_value
from llm_optimize.records import Limits
from llm_optimize.sandbox import Call, Outcome, OutcomeStatus, open_sandbox
from llm_optimize.sandbox.data import join
from llm_optimize.sandbox.json_memory import json_memory_bytes
from llm_optimize.sandbox.wire import NONCE_BYTES, Answer

NONCE = bytes(range(NONCE_BYTES))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
NAMES = st.sampled_from(
    [
        "value",
        "message",
        "traceback",
        "memory",
        "unusable",
        "outputs",
        "missing",
        "\0npy",
    ]
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


def outcome_of(data, arrays=False, limits=None):
    answer = Answer(NONCE, limits or Limits(), arrays=arrays)
    answer.feed(len(NONCE + data).to_bytes(4, "big") + NONCE + data)
    return answer.outcome()


@given(JSON, st.booleans())
def test_an_authentic_answer_of_any_shape_is_an_outcome(value, arrays):
    outcome = outcome_of(join(value), arrays)
    assert isinstance(outcome, Outcome)
    assert isinstance(outcome.message, str)
    assert isinstance(outcome.traceback, str)
    if outcome.status is OutcomeStatus.OK:
        assert "value" in value
    else:
        assert outcome.message


@given(st.binary(max_size=60))
def test_an_authentic_answer_of_any_bytes_is_an_outcome(data):
    assert isinstance(outcome_of(data, arrays=True), Outcome)


@pytest.mark.parametrize(
    "header",
    [b"(" * 50, b"'", b"{'descr': '<f8'", b"-" * 3000 + b"1", b"\xff", b"  1\n 2\n"],
)
def test_an_array_with_any_header_is_an_outcome(header):
    blob = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    assert (
        outcome_of(join({"value": {"\0npy": [0, len(blob)]}}, [blob]), True).status
        is OutcomeStatus.PROTOCOL
    )


WRITE = """
import json, os, sys
frame = sys._getframe()
while "nonce" not in frame.f_locals or "result_fd" not in frame.f_locals:
    frame = frame.f_back
text = json.dumps(json.loads({answer!r})).encode()
data = frame.f_locals["nonce"] + len(text).to_bytes(4, "big") + text
os.write(frame.f_locals["result_fd"], len(data).to_bytes(4, "big") + data)
os._exit(0)
"""
SHAPES = [
    {"value": {"evil": 1}},
    {"value": {"outputs": 5}},
    {"value": {"outputs": {}}},
    {"value": {"outputs": {"y": 1, "z": 2}}},
    {"value": {"missing": ["y"]}},
    {"value": {"missing": "other"}},
    {"value": {"unknown": {}}},
    {"value": [1]},
    {"value": None},
    {"message": 1, "traceback": [], "memory": False},
    [1],
    "text",
    None,
]


@pytest.mark.skipif(
    sys.platform != "linux", reason="the nonce is found in a frame of the child"
)
@pytest.mark.parametrize("shape", SHAPES, ids=json.dumps)
def test_a_script_that_writes_an_answer_of_another_shape_has_failed(shape):
    script = WRITE.format(answer=json.dumps(shape))
    for ask in (
        lambda: eval_utils.run_script(script, {}, ["y"]),
        lambda: eval_utils.call(script, "y"),
    ):
        with pytest.raises(ScriptFailed) as caught:
            ask()
        assert "answer" in str(caught.value)
        assert caught.value.outcome is not None


@given(JSON)
def test_scripts_that_answer_anything_raise_errors_of_ours_or_give_what_was_asked_for(
    value,
):
    """The last step of `run_script` and `call`, on whatever an authentic answer may hold."""
    outcome = outcome_of(join({"value": value}), arrays=True)
    for read in (
        lambda: _read_outputs(outcome, ["y"]),
        lambda: _read_value(outcome, "f"),
    ):
        with suppress(ScriptFailed, VariableMissing):
            read()


# Weight.


@given(JSON)
def test_the_weight_is_never_less_than_a_part_of_what_the_objects_take(value):
    text = json.dumps(value).encode()
    assert json_memory_bytes(text, 0) + 40 >= size_of(json.loads(text)) / 3


def size_of(value):
    parts = []
    if isinstance(value, list):
        parts = value
    if isinstance(value, dict):
        parts = [*value, *value.values()]
    return sys.getsizeof(value) + sum(map(size_of, parts))


@pytest.mark.parametrize(
    "text", [b'"' + b"\\" * 100_001, b'"\\' * 100_000, b'"[' * 100_000, b'"' * 200_001]
)
def test_the_weight_of_text_that_is_no_json_takes_no_time_to_speak_of(text):
    # In a few milliseconds; looking at each place twice would take minutes.
    assert json_memory_bytes(text, 0) > 0


def test_a_long_text_full_of_brackets_is_light():
    text = json.dumps("[{,:" * 250_000 + '"').encode()
    assert json_memory_bytes(text, len(text) + 100) <= len(text) + 100
    # 0.8 MB of result_mb=1.
    honest = [[0.1234567890123456 + n for n in range(10)] for _ in range(4_000)]
    assert (
        outcome_of(join({"value": honest}), limits=Limits(result_mb=1)).value == honest
    )


AMPLIFIERS = {  # hostile program 89 and its like, each of less than result_mb
    "empty": "[[{}] * 1_500_000, [[]] * 1_500_000]",
    "entries": "[{'': 0}] * 1_900_000",
    "numbers": "[1] * 5_000_000",
    "texts": "[''] * 3_900_000",
    "nested": "[[[[[[]]]]]] * 1_000_000",
}
MEASURE = """
import resource, sys
from contextlib import closing
from candidates import load_and_call
from llm_optimize.records import Limits
from llm_optimize.sandbox import Call, open_sandbox

with closing(open_sandbox("process", load_and_call, Limits(result_mb=16))) as sandbox:
    sandbox.run(Call(["def candidate(x): return x", 3.0], 30.0))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = sandbox.run(Call([f"def candidate(x): return {sys.argv[1]}", 3.0], 60.0))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print(outcome.status.value, outcome.message.replace(" ", "_") or "-", round(grown))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measured by ru_maxrss in KiB")
@pytest.mark.parametrize("name", AMPLIFIERS)
def test_an_answer_grows_in_the_caller_to_a_few_times_its_limit_at_most(name):
    paths = os.pathsep.join(path for path in sys.path if path)
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, AMPLIFIERS[name]],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    status, message, grown_mb = ran.stdout.split()
    assert int(grown_mb) < 14 * 16, ran.stdout  # it was 28 times and more
    assert (status, "result_mb" in message) == ("protocol", True)


def test_an_honest_answer_of_full_length_comes_through():
    x = (
        "def candidate(x): return [1.0, {'text': 'a,b:[]{} ' * 100_000, 'numbers': [n / "
        "7 for n in range(100_000)]}]"
    )
    with closing(
        open_sandbox("process", load_and_call, Limits(result_mb=16))
    ) as sandbox:
        outcome = sandbox.run(Call([x, 3.0], 60.0))
    assert outcome.status is OutcomeStatus.OK
    assert len(outcome.value[1]["numbers"]) == 100_000
