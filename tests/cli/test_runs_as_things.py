"""Runs on the command line: their list and head, delete, rename, tag, steer, printed commands."""

import json
import re
import shlex
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from builders import complete_trial, write_finished
from llm_optimize.records import Plan
from llm_optimize.store import Store, command_line

ROOT = Path(__file__).parents[2]
TASK = {"description": "Raise the number, as far as it goes.", "question": "Which?"}
SETTINGS = {"task": TASK, "x0": ["x0"], "max_steps": 200, "search": "best", "seed": 7}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "my runs.db"


@pytest.fixture
def command(path):
    """Return a function that runs a command about the store, and checks its exit code."""

    def command(*words, code=0, columns="", **options):
        program = [sys.executable, "-m", "llm_optimize", *map(str, words)]
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
        if columns:
            environment["COLUMNS"] = str(columns)
        done = subprocess.run(
            [*program, "--store", str(path)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **options,
        )
        assert done.returncode == code, done.stdout + done.stderr
        if code:
            assert len(done.stderr.splitlines()) == 1, done.stderr
        return done.stdout if not code else done.stderr

    return command


def written(store, name, scores=(0.5, 0.75), reason="max_steps", **settings):
    run = store.create_run(name, {**SETTINGS, **settings})
    run.end(None)
    for number, score in enumerate(scores):
        write_finished(run, complete_trial(number, score), number + 1)
    if reason:
        run.end(reason)
        run.close()
    return run


@pytest.fixture
def store(path):
    with closing(Store(path)) as opened:
        yield opened


# The list.


def test_the_list_has_states_progress_and_the_time_left(store, command):
    written(store, "amber")
    written(store, "birch", reason="budget: usd", budget={"usd": 0.5})
    running = written(store, "cedar", reason=None)
    listed = command("list").splitlines()
    assert re.search(
        r"amber +finished \(all steps done\) +0.75 +1 of 200 steps", listed[1]
    )
    assert re.search(r"birch +finished \(budget of cost used\)", listed[2])
    assert re.search(
        r"cedar +running +0.75 +1 of 200 steps +about \d+ \w+ left", listed[3]
    )
    store.steer("cedar", "pause")
    (paused,) = (line for line in command("list").splitlines() if "cedar" in line)
    assert "paused" in paused
    assert "left" not in paused
    running.close()
    assert re.search(r"cedar +dead", command("list"))


def test_the_time_left_is_that_of_the_pace_so_far(store, command):
    """100 of 200 steps took 50 s: the other 100 take 50 s more, less what has passed since."""
    run = store.create_run("amber", SETTINGS)
    run.end(None)
    now = time.time()
    for number in range(101):
        trial = complete_trial(number, 1.0, finished_at=now - 50 + number / 2)
        write_finished(run, trial, number + 1)
    with store.begin(write=True) as connection:
        table = store.tables.run
        connection.execute(table.update().values(session_at=now - 50))
    (facts,) = json.loads(command("list", "--json"))
    assert facts["caps"] == {"max_steps": {"used": 100, "cap": 200}}
    assert 30 < facts["seconds_left"] <= 50
    assert re.fullmatch(r"about \d\d s left", facts["left"])
    assert facts["state"] == {"word": "running", "why": ""}


@pytest.mark.parametrize("columns", [45, 60, 80, 110, 200])
def test_the_list_fits_the_terminal(store, command, columns):
    written(store, "amber")
    written(
        store,
        "a-long-name/of-a-contender/12",
        scores=(0.5,),
        reason="error: " + "x" * 99,
    )
    store.tag("amber", "good", "paper")
    lines = command("list", columns=columns).splitlines()
    assert max(map(len, lines)) <= columns
    assert "0.75" in lines[1]
    assert "finished" in lines[1]
    assert ("good paper" in lines[1]) is (columns >= 110)
    assert lines[2].startswith("a-long-name/of-a")


def test_the_list_is_whole_in_a_pipe_and_as_json(store, command):
    written(store, "amber", reason="error: " + "x" * 99)
    assert "Raise the number, as far as it goes." in command("list")
    (facts,) = json.loads(command("list", "--json"))
    assert facts["stop_reason"] == "error: " + "x" * 99
    assert facts["settings"]["seed"] == 7
    assert (facts["best_score"], facts["trials"], facts["tags"]) == (0.75, 2, [])


def test_show_begins_with_what_one_wants_to_know(store, command):
    written(store, "amber", scores=(0.5, 0.25, 0.75))
    shown = command("show", "amber")
    head, _, table = shown.partition("\ntrial ")
    assert "state     finished (all steps done)" in head
    assert "best      0.75 in trial 2 by x0; x0 has 0.5 (+0.25)" in head
    assert "used      steps 2/200" in head
    assert "search best" in head
    assert "seed 7" in head
    assert "x of trial 2:\n  x2\n" in head
    assert len(table.splitlines()) == 4


def test_where_lower_is_better_the_lowest_is_the_best(store, command):
    written(store, "amber", scores=(0.5, 0.25, 0.75), direction="minimize")
    assert re.search(r"amber +finished.* 0.25 ", command("list"))
    shown = command("show", "amber")
    assert "best      0.25 in trial 1 by x0; x0 has 0.5 (-0.25)" in shown
    assert "a lower score is better" in shown


# Delete, rename, tag.


def test_a_run_is_deleted_after_a_yes(store, command):
    written(store, "amber")
    written(store, "birch")
    refused = command("delete", "amber", "birch", code=2)
    assert "amber, birch would be deleted for good, with 4 trials: add --yes" in refused
    assert command("delete", "amber", "--yes") == "deleted 1 run\n"
    assert store.names() == ["birch"]


def test_a_comparison_is_deleted_with_all(store, command):
    for seed in range(3):
        written(store, f"packing/best/{seed}")
    assert "is a comparison of 3 runs" in command("delete", "packing", "--yes", code=2)
    assert (
        command("delete", "packing", "--yes", "--all", "--compact")
        == "deleted 3 runs\n"
    )
    assert store.names() == []


def test_a_run_that_goes_on_is_neither_deleted_nor_renamed(store, command):
    written(store, "amber", reason=None)
    assert "is held by process" in command("delete", "amber", "--yes", code=1)
    assert "is held by process" in command("rename", "amber", "birch", code=1)
    assert store.names() == ["amber"]


def test_a_run_is_renamed_and_tagged(store, command):
    written(store, "amber")
    written(store, "birch")
    command("rename", "amber", "a new name")
    assert command("tag", "a new name", "good", "paper") == "a new name: good paper\n"
    listed = command("list", "--tag", "good")
    assert "a new name" in listed
    assert "birch" not in listed
    assert "good paper" in listed
    assert command("tag", "a new name", "good", "--remove") == "a new name: paper\n"
    assert command("list", "--tag", "good") == "no runs yet\n"
    assert "exists: choose another name" in command(
        "rename", "a new name", "birch", code=2
    )


# Steering.


@pytest.mark.parametrize("kind", ["pause", "go", "stop", "hint"])
def test_a_run_that_nobody_writes_is_not_steered(store, command, kind):
    written(store, "amber")
    dead = written(store, "birch", reason=None)
    dead.close()
    text = ["Smaller."] if kind == "hint" else []
    assert "has finished (max_steps): resume it" in command(
        "steer", "amber", kind, *text, code=2
    )
    assert "is dead" in command("steer", "birch", kind, *text, code=2)


# Printed commands.


def commands_in(text):
    """Return the commands that a text tells to run, as the shell would read them."""
    return re.findall(
        r"((?:\S*llm-optimize|\S*python\S* -m llm_optimize) \w.*?)[`.]?$", text, re.M
    )


def run_in_a_shell(line, folder):
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        line,
        shell=True,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (line, done.stderr)
    return done.stdout


NAMES = ["amber", "a b", "it's/best/0", "-dash", "$(touch pwned)", "a\nb"]


@pytest.mark.parametrize("name", NAMES)
def test_a_printed_command_works_whatever_the_names_hold(tmp_path, name, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    folder = tmp_path / "a folder"
    folder.mkdir()
    path = folder / "it's $HOME.db"
    with closing(Store(path)) as store:
        written(store, name)
    monkeypatch.chdir(
        tmp_path
    )  # a path below the present folder is printed relative to it
    line = command_line("show", name, store=str(path))
    assert "in trial 1" in run_in_a_shell(line, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a folder"]


def test_a_printed_command_starts_this_installation(monkeypatch, tmp_path):
    """The bare name is printed only where it leads to the interpreter that runs now."""
    other = tmp_path / "llm-optimize"
    other.write_text("#!/bin/sh\nexit 3\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    assert (
        "usage"
        in run_in_a_shell(command_line("show", options="--help"), tmp_path).lower()
    )
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    if Path(sys.executable).with_name("llm-optimize").exists():
        assert command_line("list") == "llm-optimize list"


def test_a_password_is_not_printed():
    line = command_line("show", "amber", store="postgresql://ada:secret@host/db")
    assert "secret" not in line
    assert "host/db" in line


FILE = """\
def f(x):
    return float(len(x))
"""


def test_every_command_that_commands_print_works(tmp_path):
    """From a shell whose PATH has no llm-optimize, with a store and a name that need quotes."""
    (tmp_path / "task.py").write_text(FILE)
    run = [sys.executable, "-m", "llm_optimize"]
    task = [
        "--task",
        "Longer.",
        "--func",
        "task.py:f",
        "--x0",
        "1",
        "--model",
        "mutation",
    ]
    task += ["--sandbox", "inline", "--store", "my runs.db", "--seed", "1"]
    contenders = [
        "--contender",
        "best",
        "--contender",
        "none=best_of_n",
        "--seeds",
        "1",
    ]
    where = ["--store", "my runs.db"]
    commands = [
        [*run, "run", *task, "--name", "a b", "--steps", "2"],
        [*run, "fork", "a b", "1", *where, "--name", "c d"],
        [*run, "compare", *task[:-2], *contenders, "--budget", "3", "--name", "e f"],
    ]
    printed = []
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    pipes = {"env": environment, "capture_output": True, "text": True, "check": False}
    for words in commands:
        done = subprocess.run(words, cwd=tmp_path, **pipes)
        assert done.returncode == 0, done.stderr
        printed += commands_in(done.stdout + done.stderr)
    assert "6 of 6 scorings" in done.stderr, "of the comparison"
    verbs = [shlex.split(line.partition("optimize ")[2])[0] for line in printed]
    assert verbs == ["show", "resume", "show", "report"]
    for line in printed:
        run_in_a_shell(line, tmp_path)


def test_a_pending_trial_is_no_progress(store, command):
    run = store.create_run("amber", SETTINGS)
    run.end(None)
    run.plan(0, Plan(None))
    assert "0 of 200 steps" in command("list")


def test_a_comparison_of_one_is_refused_before_it_is_paid_for(command, path):
    task = ["--task", "t", "--func", "task.py:f", "--x0", "1", "--model", "mutation"]
    refused = command("compare", *task, "--contender", "best", code=2)
    assert "--contender best has nothing to compare with" in refused
    assert not path.exists()


def test_of_many_runs_the_newest_are_named(store, command):
    for number in range(25):
        store.create_run(f"run-{number:02d}", {}).close()
    refused = command("show", "zzz", code=2)
    assert "the newest of 25 are run-24, run-23" in refused
    assert "list shows all" in refused
