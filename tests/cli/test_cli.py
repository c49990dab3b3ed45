"""The command line, as real processes: exit codes, sentences, Ctrl-C, pipes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from llm_optimize.store import Store

ROOT = Path(__file__).parents[2]
TASK = """\
import os
import time

def f(x):
    if x == "slow" and not os.path.exists("quick-now"):
        open("slow-began", "w").close()
        time.sleep(60)
    return float(x.replace("slow", "4")), f"f is {x}"

def dash(x):
    return x.count("-")

not_callable = 5
"""


def block(x):
    return f"better:\n```\n{x}\n```"


@pytest.fixture
def folder(tmp_path, server):
    (tmp_path / "task.py").write_text(TASK)
    return tmp_path


@pytest.fixture
def command(folder, server):
    """Return a function that runs llm-optimize in the folder, and checks its exit code."""

    def command(*arguments, code=0, key="sk-test"):
        done = subprocess.run(
            [sys.executable, "-m", "llm_optimize", *map(str, arguments)],
            cwd=folder,
            env=environment(server, key),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    return command


def environment(server, key="sk-test"):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return {**env, "OPENAI_API_KEY": key, "OPENAI_BASE_URL": server.url} if key else env


RUN = (
    "run",
    "--task",
    "Raise f.",
    "--func",
    "task.py:f",
    "--x0",
    "1",
    "--writable",
    ".",
)


def test_a_run_is_made_listed_shown_and_its_best_printed(command, folder, server):
    server.replies(block(3), block("oops"), block(2))
    out = command(*RUN, "--name", "amber", "--steps", 3)
    assert "best 3 in trial 1" in out
    listed = command("list")
    assert re.search(r"amber +finished \(all steps done\) +3 +3 of 3 ", listed)
    _, _, shown = command("show", "amber").partition("\ntrial ")
    table = shown.splitlines()
    assert len(table) == 7
    assert table[6] == "3 model calls, 54 tokens, price unknown"
    assert re.search(r"1 +\* +3 +0 +model:gpt-5-mini", table[2])
    assert "ValueError: could not convert string to float: 'oops'" in table[3]
    page = command("show", "amber", 1)
    for words in (
        "== difference from its parent",
        "-1\n+3",
        "[system]",
        "Raise f.",
        "== reply 1\nbetter:",
    ):
        assert words in page
    assert command("best", "amber") == "3\n"
    command("best", "amber", "-o", "best.txt")
    assert (folder / "best.txt").read_text() == "3"


def test_a_run_is_forked_and_replayed_and_goes_on_from_there(command, server):
    server.replies(block(3), block(2), block(5))
    command(*RUN, "--name", "amber", "--steps", 2)
    forked = command("fork", "amber", 1)
    assert re.search(r"To continue: \S*llm-optimize resume amber-2", forked)
    assert (
        json.loads(command("resume", "amber-2", "--steps", 2, "--json"))["best_score"]
        == 5.0
    )
    again = json.loads(command("replay", "amber", "--json"))
    assert (again["name"], again["best_score"], again["usage"]["calls"]) == (
        "amber-replay",
        3.0,
        0,
    )
    other = json.loads(command("replay", "amber", "--func", "task.py:dash", "--json"))
    assert other["best_score"] == 0.0
    assert "finished trials are 0 to 2" in command("fork", "amber", 9, code=2)


def test_a_folder_of_files_is_one_candidate(command, folder, server):
    (folder / "src" / "deep").mkdir(parents=True)
    (folder / "src" / "a.py").write_bytes(b"x = 1\r\n")
    (folder / "src" / "deep" / "b.txt").write_text("y")
    (folder / "src" / ".hidden").write_text("z")
    (folder / "task.py").write_text(
        "def f(x):\n    return float(sum(map(len, x.values())))"
    )
    server.replies("### a.py\n```\nx = 10\n```")
    command(
        "run",
        "--task",
        "Longer.",
        "--func",
        "task.py:f",
        "--x0",
        "src",
        "--steps",
        1,
        "--name",
        "amber",
    )
    assert json.loads(command("best", "amber", "--json"))["x"] == {
        "a.py": "x = 10\r\n",
        "deep/b.txt": "y",
    }
    command("best", "amber", "-o", "found")
    assert (folder / "found" / "a.py").read_bytes() == b"x = 10\r\n"
    assert (folder / "found" / "deep" / "b.txt").read_text() == "y"
    (folder / "empty").mkdir()
    assert "has no file" in command(
        "run", "--task", "t", "--func", "task.py:f", "--x0", "empty", code=2
    )


def test_a_watcher_of_a_run_steers_it_from_another_terminal(command, folder):
    with closing(Store(folder / "runs.db")) as store:
        store.create_run("amber", {})
        assert "it stops after" in command("steer", "amber", "stop")
        assert "has the hint" in command("steer", "amber", "hint", "Be bold.")
        paused = command("steer", "amber", "pause")
        assert paused.endswith("llm-optimize steer amber go\n")
        assert "did you mean 'stop'" in command("steer", "amber", "stopp", code=2)
        assert "the hint is empty" in command("steer", "amber", "hint", code=2)


def test_money_is_capped_and_needs_a_price(command, server):
    server.replies(*[block(n) for n in range(2, 9)])
    assert "the price of the model 'm' is unknown" in command(
        *RUN, "--model", "m", "--max-usd", 1, code=2
    )
    priced = (*RUN, "--model", "m", "--price", "1e6/1e6")
    facts = json.loads(command(*priced, "--max-usd", 40, "--json"))
    assert facts["stop_reason"] == "budget: usd"
    assert 40 <= facts["usage"]["cost_usd"] < 60
    assert "write dollars per million" in command(
        *RUN, "--model", "m", "--price", "cheap", code=2
    )


def test_json_is_json(command, server):
    server.replies(block(3), block("oops"))
    facts = json.loads(command(*RUN, "--name", "amber", "--steps", 2, "--json"))
    assert (facts["name"], facts["best_score"], facts["best_x"], facts["trials"]) == (
        "amber",
        3.0,
        "3",
        3,
    )
    assert json.loads(command("list", "--json"))[0]["best_score"] == 3.0
    assert [
        trial["score"] for trial in json.loads(command("show", "amber", "--json"))
    ] == [1.0, 3.0, None]
    assert json.loads(command("show", "amber", 1, "--json"))["calls"][0]["reply"][
        "text"
    ] == block(3)
    assert json.loads(command("best", "amber", "--json"))["x"] == "3"
    assert json.loads(command("resume", "amber", "--json"))["best_score"] == 3.0


def test_x0_and_task_come_from_files_and_the_best_comes_out_to_the_byte(
    command, folder, server
):
    (folder / "x0.txt").write_bytes(b"a-b\r\nc\n\n")
    (folder / "task.txt").write_text("Many dashes.")
    server.replies(block("none"))
    command(
        "run",
        "--task",
        "@task.txt",
        "--x0-file",
        "x0.txt",
        "--func",
        "task:dash",
        "--steps",
        1,
        "--name",
        "a",
    )
    assert server.requests[0]["messages"][0]["content"].count("Many dashes.") == 1
    env = environment(server)
    best = subprocess.run(
        [sys.executable, "-m", "llm_optimize", "best", "a"],
        cwd=folder,
        env=env,
        capture_output=True,
    )
    assert best.stdout == b"a-b\r\nc\n\n"


def test_a_finished_run_is_extended_from_where_its_f_is_known(command, server):
    server.replies(block(3), block(5))
    command(*RUN, "--name", "amber", "--steps", 1)
    assert "best 5 in trial 2" in command("resume", "amber", "--steps", 2)


WRONG = [
    (("--func", "task.py:g"), "task.py has no function 'g'"),
    (("--func", "nowhere.py:f"), "the file nowhere.py of --func does not exist"),
    (("--func", "task.py"), "names no function"),
    (("--func", "task.py:not_callable"), "is of type int, not a function"),
    (("--func", "no_such_module:f"), "No module named 'no_such_module'"),
    (
        ("--func", "broken.py:f"),
        r"broken.py cannot be imported: ZeroDivisionError.*line 2",
    ),
    (("--x0-file", "missing.txt"), "the file missing.txt cannot be read"),
    (("--workers", "0"), "--workers is 0"),
    (("--steps", "-1"), "--steps is -1"),
    (("--timeout", "0"), "--timeout is 0"),
    (("--search", "bets"), "unknown search 'bets': did you mean 'best'"),
    (("--sandbox", "proces"), "unknown sandbox 'proces': did you mean 'process'"),
    (("--store", "task.py"), "is not a database"),
    (("--store", "no/where/runs.db"), "does not exist"),
    (("--steps", "many"), "Invalid value for '--steps'"),
    (("--no-such-option",), "No such option"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG)
def test_wrong_usage_is_one_sentence_and_exit_code_2(command, folder, arguments, words):
    (folder / "broken.py").write_text("x = 1\nx / 0\n")
    said = command(*RUN, *arguments, code=2)
    assert re.search(words, said)
    assert len(said.strip().splitlines()) == 1
    assert "Traceback" not in said


def test_a_run_that_does_not_exist_names_the_nearest(command, server):
    server.replies()
    command(*RUN, "--name", "amber-birch", "--steps", 0)
    for verb in ("show", "best", "resume"):
        assert "did you mean 'amber-birch'" in command(verb, "amber-brich", code=2)
    assert "no finished trial 7" in command("show", "amber-birch", 7, code=2)


def test_without_a_store_nothing_is_made(command, folder):
    assert "there is no store" in command("list", code=2)
    assert not (folder / "runs.db").exists()


def test_no_key_is_one_sentence(command):
    said = command(*RUN, code=2, key=None)
    assert "export OPENAI_API_KEY=" in said
    assert "mutation" in said


def test_without_a_model_no_key_is_needed(command):
    assert "0 model calls" in command(
        *RUN, "--model", "mutation", "--steps", 4, "--seed", 1, key=None
    )


def test_a_model_that_refuses_ends_the_run_with_its_best_and_exit_code_1(
    command, server
):
    from server import error

    server.replies(block(3), error(401, "bad key"))
    said = command(*RUN, "--name", "amber", code=1)
    assert "look at OPENAI_API_KEY" in said
    assert command("best", "amber") == "3\n"
    assert "sk-test" not in said


@pytest.fixture
def stopped(folder, server):
    """Return a function that sends a run a signal in the middle of a scoring.

    It returns how the run ended: its exit code and what it wrote to standard error.
    """

    def stopped(number):
        server.replies(block("slow"), block(7))
        command = [
            sys.executable,
            "-m",
            "llm_optimize",
            *RUN,
            "--name",
            "amber",
            "--steps",
            "2",
        ]
        pipe = subprocess.PIPE
        options = {
            "cwd": folder,
            "env": environment(server),
            "stdout": pipe,
            "stderr": pipe,
            "text": True,
        }
        run = subprocess.Popen(command, start_new_session=True, **options)
        deadline = time.monotonic() + 30
        while not (folder / "slow-began").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(run.pid, number)
        begun = time.monotonic()
        _, said = run.communicate(timeout=30)
        assert time.monotonic() - begun < 10
        return run.returncode, said

    return stopped


def goes_on(command, folder, server):
    """Check that resume scores what was not scored, and asks for nothing that was answered."""
    (folder / "quick-now").touch()
    assert "best 7 in trial 2" in command("resume", "amber")
    assert [
        trial["score"] for trial in json.loads(command("show", "amber", "--json"))
    ] == [1.0, 4.0, 7.0]
    assert len(server.requests) == 2


posix = pytest.mark.skipif(
    os.name != "posix", reason="signals are sent to a process group"
)


@posix
def test_ctrl_c_keeps_everything_and_says_how_to_go_on(
    command, folder, server, stopped
):
    code, said = stopped(signal.SIGINT)
    assert code == 130
    assert re.search(r"To resume: \S*llm-optimize resume amber", said)
    assert "Traceback" not in said
    goes_on(command, folder, server)


@posix
def test_a_killed_run_goes_on_where_it_was(command, folder, server, stopped):
    assert stopped(signal.SIGKILL)[0] == -signal.SIGKILL
    assert " dead " in command("list")
    goes_on(command, folder, server)


def test_a_closed_pipe_is_no_error(command, folder, server):
    server.replies()
    command(*RUN, "--steps", 0, "--name", "amber")
    line = f"{sys.executable} -m llm_optimize show amber 0 | head -c 1"
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=folder,
        env=environment(server),
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr


def test_without_a_command_the_help_is_shown(command):
    said = command(code=2)
    assert said.startswith("Usage: ")
    assert "resume" in said


def test_an_address_where_nobody_answers_ends_it_soon_with_one_sentence(command):
    # A call has 300 s in all; `command` waits for 60.
    said = command(*RUN, "--base-url", "http://127.0.0.1:9/v1", code=1)
    assert said.count("no connection to http://127.0.0.1:9/v1") == 1
    assert len(said.strip().splitlines()) == 1


def test_what_candidates_wrote_cannot_move_the_cursor(command, server):
    server.replies(block("\x1b[2J3"))
    command(*RUN, "--steps", 1, "--name", "amber")
    for out in (command("show", "amber"), command("show", "amber", 1), command("list")):
        assert "\x1b" not in out


def cpu_secs(*arguments):
    """Return the processor time of a fresh interpreter, the least of five.

    Not the wall clock: on a machine that others load, that says how long it waited for its turn.
    """
    taken = []
    for _ in range(5):
        program = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(program.pid, 0)
        program.returncode = os.waitstatus_to_exitcode(status)
        assert program.returncode == 0
        taken.append(usage.ru_utime + usage.ru_stime)
    return min(taken)


@posix
def test_help_is_quick_beside_the_import_of_what_it_is_made_with():
    bare = cpu_secs("-c", "import asyncio, typer")
    assert (
        cpu_secs("-m", "llm_optimize", "--help") < 5 * bare
    )  # it takes 3 times as long
