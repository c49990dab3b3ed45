"""Promises of every sandbox, tested by processes that misbehave; Linux has more, in other files."""

import math
import os
import signal
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest

from candidates import act, act_later, gone
from levels import need_namespaces
from llm_optimize.errors import FunctionUnusable, UnknownName
from llm_optimize.records import Limits
from llm_optimize.sandbox import (
    Call,
    InlineSandbox,
    OutcomeStatus,
    PortableSandbox,
    open_sandbox,
)

LIMITS = Limits(output_mb=1, result_mb=1, memory_mb=2048, file_mb=1, open_files=256)
DEADLINE_SECS = 0.4
# Generous, for a busy machine: nothing here would end by itself before 20 s.
LATE_SECS = 4.0


KINDS = ["process", "namespace", "portable"]


def open_kind(kind, func=act, limits=LIMITS):
    if kind == "namespace":
        need_namespaces()
    return (
        PortableSandbox(func, limits)
        if kind == "portable"
        else open_sandbox(kind, func, limits)
    )


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def sandbox(kind, tmp_path_factory):
    """Yield a sandbox of each kind that isolates, the same for all tests: none harms the next."""
    with closing(
        open_kind(
            kind, act, replace(LIMITS, writable=(str(tmp_path_factory.getbasetemp()),))
        )
    ) as made:
        yield made


def test_values_come_back_as_plain_data(sandbox):
    for value in (
        None,
        [1, 2.5, "text", True, [2, {"a": None}]],
        {"score": 1.0, "feedback": "é \n\0"},
    ):
        outcome = sandbox.run(Call(["answer", value], 20.0))
        assert (outcome.status, outcome.value, outcome.message) == (
            OutcomeStatus.OK,
            value,
            "",
        )
    assert sandbox.run(Call(["answer", 1], 20.0)).seconds > 0


def test_scores_and_numpy_numbers_become_plain_data(sandbox):
    assert sandbox.run(Call("score", 20.0)).value == {
        "score": 2.0,
        "feedback": "fine",
        "metrics": {"size": 3.0},
        "instances": {"a": 1.0},
    }
    assert sandbox.run(Call("numpy", 20.0)).value == [1.5, 2, 2.5, True]


def test_nan_and_infinity_pass_through_to_be_judged_elsewhere(sandbox):
    assert math.isnan(sandbox.run(Call("nan", 20.0)).value)
    assert sandbox.run(Call("infinity", 20.0)).value == math.inf


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        ("flattered", "candidates.Flattered"),
        ("objects", "object"),
        ("deep", "nested deeper"),
        (["raise", "ValueError", "no good"], "ValueError: no good"),
        (["raise", "SystemExit", 0], "SystemExit: 0"),
        (["raise", "KeyboardInterrupt"], "KeyboardInterrupt"),
        (
            ["raise", "Unreadable"],
            "Unreadable: (its text cannot be read: RuntimeError)",
        ),
        ("exit_at_end", "SystemExit: bye"),
        ("big_file", "File too large"),
        ("many_files", "Too many open files"),
    ],
)
def test_what_f_raises_and_what_is_no_data_is_told_in_a_sentence(sandbox, deed, words):
    outcome = sandbox.run(Call(deed, 20.0))
    assert (outcome.status, outcome.value) == (OutcomeStatus.RAISED, None)
    assert words in outcome.message


def test_a_traceback_shows_the_lines_of_the_user_and_none_of_ours(sandbox):
    outcome = sandbox.run(Call(["raise", "ValueError", "no good"], 20.0))
    assert "in throw" in outcome.traceback
    assert "llm_optimize/sandbox" not in outcome.traceback
    assert outcome.traceback.endswith("ValueError: no good")


@pytest.mark.parametrize(
    ("deed", "number", "words"),
    [
        ("segfault", signal.SIGSEGV, "SIGSEGV"),
        (["kill_self", signal.SIGTERM], signal.SIGTERM, "SIGTERM"),
        (["kill_self", 40], 40, "signal 40"),
        (["exit", 0], None, "exit code 0"),
        (["exit", 71], None, "exit code 71"),
    ],
)
def test_a_process_that_ends_before_f_returned_has_crashed(
    sandbox, deed, number, words
):
    outcome = sandbox.run(Call(deed, 20.0))
    assert (outcome.status, outcome.signal) == (OutcomeStatus.CRASHED, number)
    assert words in outcome.message


@pytest.mark.parametrize("deed", ["loop", "ignore_all", "stop_self"])
def test_the_deadline_holds_and_what_was_printed_is_kept(sandbox, deed, tmp_path):
    marker = tmp_path / "pid"
    begun = time.monotonic()
    outcome = sandbox.run(
        Call("loop" if deed == "loop" else [deed, str(marker)], DEADLINE_SECS)
    )
    assert outcome.status is OutcomeStatus.TIMEOUT
    assert DEADLINE_SECS <= time.monotonic() - begun < DEADLINE_SECS + LATE_SECS
    assert "0.4 s" in outcome.message
    if deed == "loop":
        assert outcome.output == "about to loop\n"
    else:
        assert gone(marker)


def test_threads_left_running_hold_nothing_up(sandbox):
    outcome = sandbox.run(Call("threads", 20.0))
    assert (outcome.status, outcome.value) == (OutcomeStatus.OK, 1.0)
    assert outcome.seconds < 10


def test_output_of_both_streams_is_kept_in_order(sandbox):
    outcome = sandbox.run(Call(["print", "a line with é\n"], 20.0))
    assert outcome.output == "a line with é\nand errors\n"
    assert sandbox.run(Call("print_bytes", 20.0)).output == "��\n"


def test_a_long_output_keeps_head_and_tail(sandbox):
    lines = "".join(f"line {number}\n" for number in range(20_000))
    outcome = sandbox.run(Call(["print", lines], 20.0))
    assert outcome.status is OutcomeStatus.OK
    assert outcome.output.startswith("line 0\n")
    assert outcome.output.endswith("line 19999\nand errors\n")
    assert " bytes ..." in outcome.output
    assert len(outcome.output) < 100_000


def test_a_flood_of_output_ends_the_scoring(sandbox):
    outcome = sandbox.run(Call("flood", 20.0))
    assert outcome.status is OutcomeStatus.OUTPUT
    assert "1 MB" in outcome.message
    assert len(outcome.output) < 100_000


def test_an_answer_that_is_too_long_is_refused_unread(sandbox):
    outcome = sandbox.run(Call(["huge", 3 << 20], 20.0))
    assert outcome.status is OutcomeStatus.PROTOCOL
    assert "1 MB" in outcome.message
    assert sandbox.run(Call(["huge", 1 << 19], 20.0)).value == "a" * (1 << 19)


def test_an_answer_too_long_for_the_memory_is_called_too_long(kind):
    with closing(open_kind(kind, act, Limits(memory_mb=512, result_mb=1))) as made:
        outcome = made.run(Call(["huge", 200 << 20], 20.0))
    assert (outcome.status, "1 MB" in outcome.message) == (OutcomeStatus.PROTOCOL, True)


def test_a_short_answer_that_grows_in_its_json_is_refused_too(sandbox):
    outcome = sandbox.run(Call(["zeros", 1 << 19], 20.0))  # each takes six bytes
    assert (outcome.status, "1 MB" in outcome.message) == (OutcomeStatus.PROTOCOL, True)


def test_memory_that_runs_out_is_called_so(kind):
    with closing(open_kind(kind, act, Limits(memory_mb=512))) as made:
        outcome = made.run(Call("hoard", 30.0))
    assert (outcome.status, outcome.message) == (
        OutcomeStatus.MEMORY,
        "memory limit of 512 MB reached (memory_mb, or --memory)",
    )


def test_cpu_time_that_runs_out_is_called_so(kind):
    with closing(open_kind(kind, act, Limits(cpu_secs=1))) as made:
        outcome = made.run(Call("loop", 15.0))
    assert (outcome.status, outcome.message) == (
        OutcomeStatus.KILLED,
        "CPU limit of 1 s reached (cpu_secs)",
    )


def test_text_that_no_file_can_hold_is_made_harmless(sandbox):
    outcome = sandbox.run(Call("surrogate", 20.0))
    assert outcome.status is OutcomeStatus.OK
    assert outcome.value.encode().endswith(b" end")


def test_no_secret_is_in_the_environment_and_what_is_named_passes(kind, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("MY_SETTING", "42")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with closing(open_kind(kind, act, Limits(env=("MY_SETTING",)))) as made:
        seen = made.run(Call("environ", 20.0)).value
    assert "sk-secret" not in str(seen)
    assert seen["MY_SETTING"] == "42"
    assert seen["OMP_NUM_THREADS"] == "3"
    assert seen["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize("use_numpy", [False, True])
def test_random_numbers_follow_the_seed(sandbox, use_numpy):
    first, again, other = (
        sandbox.run(Call(["random_numbers", use_numpy], 20.0, seed=seed)).value
        for seed in (1, 1, 2)
    )
    if use_numpy:  # numpy is imported by the candidate only, which seeds it or not
        first, again, other = first[0], again[0], other[0]
    assert first == again != other


def test_several_threads_score_at_once(sandbox):
    found = {}

    def score(number):
        found[number] = sandbox.run(Call(["sleep", 0.5, number], 20.0)).value

    begun = time.monotonic()
    threads = [threading.Thread(target=score, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: number for number in range(4)}
    assert time.monotonic() - begun < 2.0 + LATE_SECS


def test_an_async_f_is_awaited(kind):
    with closing(open_kind(kind, act_later)) as made:
        assert made.run(Call(["answer", 3.0], 20.0)).value == 3.0


@pytest.mark.parametrize("level", ["inline", *KINDS])
def test_close_ends_what_is_in_flight(level):
    made = open_kind(level)
    found = []
    thread = threading.Thread(
        target=lambda: found.append(made.run(Call(["sleep", 10.0], 15.0)))
    )
    thread.start()
    time.sleep(0.5)
    made.close()
    made.close()
    thread.join(timeout=LATE_SECS)
    assert [(outcome.status, outcome.message) for outcome in found] == [
        (OutcomeStatus.KILLED, "ended from outside before f returned")
    ]
    assert made.run(Call(["answer", 1], 5.0)).status is OutcomeStatus.KILLED


def test_a_function_that_cannot_travel_names_itself_and_two_ways_out():
    lock = threading.Lock()

    def locked(x):
        return 1.0 if lock else 0.0

    for make in (
        lambda: open_sandbox("process", locked, LIMITS),
        lambda: PortableSandbox(locked, LIMITS),
    ):
        with pytest.raises(
            FunctionUnusable, match=r"locked .*top of a module.*sandbox='inline'"
        ):
            make()


def test_a_module_that_cannot_be_imported_there_is_told_at_the_start(
    tmp_path, monkeypatch
):
    (tmp_path / "once.py").write_text(
        "import os\nif 'ONLY_HERE' not in os.environ:\n"
        "    raise ImportError('not twice')\ndef f(x):\n    return 1.0\n"
    )
    monkeypatch.setenv("ONLY_HERE", "1")
    monkeypatch.syspath_prepend(str(tmp_path))
    from once import f

    for make in (
        lambda: open_sandbox("process", f, LIMITS),
        lambda: PortableSandbox(f, LIMITS),
    ):
        with pytest.raises(FunctionUnusable, match="not twice"):
            make()


def test_files_of_the_working_directory_do_not_stand_in_for_the_standard_library(
    tmp_path, monkeypatch
):
    for name in ("json", "random", "select", "secrets", "cloudpickle"):
        (tmp_path / f"{name}.py").write_text(
            "raise SystemExit('the wrong file was imported')\n"
        )
    monkeypatch.chdir(tmp_path)
    for make in (
        lambda: open_sandbox("process", act, LIMITS),
        lambda: PortableSandbox(act, LIMITS),
    ):
        with closing(make()) as made:
            assert made.run(Call(["answer", 1], 20.0)).value == 1


def test_a_relative_import_of_f_wakes_no_module_of_the_same_name(tmp_path, monkeypatch):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "__init__.py").write_text("")
    (tmp_path / "bundle" / "helper.py").write_text("VALUE = 3.0\n")
    (tmp_path / "bundle" / "task.py").write_text(
        "def f(x):\n    from .helper import VALUE\n    return VALUE\n"
    )
    (tmp_path / "helper.py").write_text(
        f"open({str(tmp_path / 'awake')!r}, 'w').close()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from bundle.task import f

    with closing(open_sandbox("process", f)) as made:
        assert made.run(Call("x", 20.0)).value == 3.0
    assert not (tmp_path / "awake").exists()


def test_what_f_imports_is_imported_before_it_is_called(tmp_path, monkeypatch):
    (tmp_path / "wanted.py").write_text(
        f"import os\nopen({str(tmp_path / 'pid')!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
    )
    (tmp_path / "later.py").write_text("def f(x):\n    import wanted\n    return 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    from later import f

    with closing(open_sandbox("process", f)) as made:
        assert [made.run(Call("x", 20.0)).value for _ in range(3)] == [1.0, 1.0, 1.0]
    if sys.platform == "linux":
        assert len((tmp_path / "pid").read_text().split()) == 1


def test_an_unknown_level_names_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'process'"):
        open_sandbox("proces", act)


def test_inline_calls_f_here_gives_up_at_the_deadline_and_tells_what_was_raised():
    here = []
    with closing(InlineSandbox(lambda x: here.append(x) or object)) as made:
        assert made.run(Call("x", 5.0)).value is object
    assert here == ["x"]
    with closing(InlineSandbox(act)) as made:
        late = made.run(Call(["sleep", 2.0], 0.2))
        assert (late.status, late.seconds < 1.5) == (OutcomeStatus.TIMEOUT, True)
        bad = made.run(Call(["raise", "ValueError", "no good"], 5.0))
        assert (bad.status, bad.message) == (
            OutcomeStatus.RAISED,
            "ValueError: no good",
        )
        assert "throw" in bad.traceback
    with closing(InlineSandbox(act_later)) as made:
        assert made.run(Call(["answer", 3.0], 5.0)).value == 3.0
