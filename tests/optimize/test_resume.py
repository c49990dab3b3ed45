"""Kill it at any moment: what was answered is not asked again, what was scored is not scored
again."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from llm_optimize import optimize
from llm_optimize.errors import RunNotFound, UnknownName, UsageError
from llm_optimize.store import Store
from llm_optimize.testing import ScriptedChat

ROOT = Path(__file__).parents[2]
STEPS = 12

# A model and an f that write down each call before they answer, and take a moment, so that kills
# hit everywhere.
PROGRAM = """
import pathlib, sys, time
from llm_optimize import optimize

url, log, name = sys.argv[1:4]

def note(line):
    with open(log, "a") as file:
        file.write(line + "\\n")

def model(messages):
    note("ask")
    time.sleep(0.02)
    number = len([m for m in messages if m["role"]]) and sum(map(ord, str(messages))) % 1000
    note("answered")
    return f"```\\n{number / 10}\\n```"

def f(x):
    note("score " + x)
    time.sleep(0.02)
    note("scored " + x)
    return float(x), "ok"

options = dict(store=url, verbose=False)
if sys.argv[4] == "run":
    optimize.run("d", "q", f, "1", STEPS, model, name=name, seed=7, sandbox="inline", **options)
else:
    optimize.resume(name, f, model=model, **options)
print("done", flush=True)
""".replace("STEPS", str(STEPS))


def start(tmp_path, verb, log="log", name="amber"):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    arguments = [
        sys.executable,
        program,
        f"sqlite:///{tmp_path}/runs.db",
        tmp_path / log,
        name,
        verb,
    ]
    return subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def count_lines(log):
    return log.read_text().count("\n") if log.exists() else 0


def wait_for_lines(log, count, program):
    """Wait until the log has so many lines; False when the program ended before."""
    while count_lines(log) < count:
        if program.poll() is not None:
            return False
        time.sleep(0.002)
    return True


def story(tmp_path, name="amber"):
    store = Store(f"sqlite:///{tmp_path}/runs.db")
    trials = store.run(name).trials()
    calls = store.run(name).calls()
    store.close()
    return [
        (trial.number, trial.x, trial.score, trial.status) for trial in trials
    ], calls


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is of POSIX")
def test_a_run_that_is_killed_again_and_again_ends_as_if_it_had_not_been(tmp_path):
    assert start(tmp_path, "run", "undisturbed", "birch").communicate()[0] == "done\n"
    dice, log, kills, out = random.Random(5), tmp_path / "log", 0, ""
    while out != "done\n":
        before = count_lines(log)
        with start(tmp_path, "resume" if before else "run") as program:
            if kills < 8 and wait_for_lines(log, before + dice.randint(1, 12), program):
                time.sleep(dice.uniform(0, 0.03))  # anywhere between two lines
                program.send_signal(signal.SIGKILL)
                kills += 1
            out, _ = program.communicate()
    assert kills >= 3
    assert story(tmp_path)[0] == story(tmp_path, "birch")[0]

    lines = (tmp_path / "log").read_text().split("\n")
    undisturbed = (tmp_path / "undisturbed").read_text().split("\n")
    assert (
        lines.count("answered") - undisturbed.count("answered") <= kills
    )  # only what had not arrived
    for x in {line.split()[1] for line in undisturbed if line.startswith("scored")}:
        assert lines.count(f"scored {x}") <= 1 + kills
    assert (
        len([line for line in lines if line.startswith("scored")]) <= STEPS + 1 + kills
    )
    _, calls = story(tmp_path)
    assert sum(call.reply is not None for call in calls) == STEPS
    assert sum(call.uncertain for call in calls) <= kills


def block(x):
    return f"```\n{x}\n```"


def test_a_stored_reply_is_used_and_a_stored_x_is_scored_without_asking(tmp_path):
    """Die at each of the places between two commits, by raising out of the model or f, and
    resume."""
    url = f"sqlite:///{tmp_path}/runs.db"

    broken = [True]

    async def die_async(x):
        if x == "3" and broken:
            raise KeyboardInterrupt
        return float(x)

    with pytest.raises(KeyboardInterrupt):
        optimize.run(
            "d",
            "q",
            die_async,
            "1",
            3,
            ScriptedChat(block(2), block(3)),
            False,
            store=url,
            name="a",
            sandbox="inline",
        )
    broken.clear()
    rest = ScriptedChat(block(4))
    result = optimize.resume("a", die_async, store=url, model=rest, verbose=False)
    assert result.scores == [1.0, 2.0, 3.0, 4.0]
    assert result.usage.calls == 3
    assert len(rest.asked) == 1


def test_a_finished_run_is_extended(tmp_path):
    url = f"sqlite:///{tmp_path}/runs.db"
    first = optimize.run(
        "d",
        "q",
        float,
        "1",
        1,
        ScriptedChat(block(2)),
        False,
        store=url,
        sandbox="inline",
    )
    assert optimize.resume(
        first.name, float, store=url, model=ScriptedChat(), verbose=False
    ).scores == [1.0, 2.0]
    more = optimize.resume(
        first.name,
        float,
        store=url,
        model=ScriptedChat(block(5)),
        verbose=False,
        max_steps=2,
    )
    assert more.scores == [1.0, 2.0, 5.0]


def test_settings_are_kept(tmp_path):
    url = f"sqlite:///{tmp_path}/runs.db"
    optimize.run(
        "d",
        "q",
        float,
        "1",
        0,
        ScriptedChat(),
        False,
        "sys {task_description}",
        store=url,
        name="a",
        seed=3,
        search="chat",
    )
    store = Store(url)
    settings = store.run("a").settings
    store.close()
    assert json.dumps(settings)
    assert (
        settings["seed"],
        settings["search"],
        settings["task"]["system_prompt"],
    ) == (
        3,
        "chat",
        "sys {task_description}",
    )


def test_a_model_that_no_name_finds_again_is_asked_for(tmp_path):
    url = f"sqlite:///{tmp_path}/runs.db"
    optimize.run(
        "d",
        "q",
        float,
        "1",
        1,
        lambda messages: block(2),
        False,
        store=url,
        name="amber",
        sandbox="inline",
    )
    with pytest.raises(UsageError, match="not stored: pass model="):
        optimize.resume("amber", float, store=url, max_steps=2)
    more = optimize.resume(
        "amber",
        float,
        store=url,
        max_steps=2,
        model=lambda messages: block(3),
        verbose=False,
    )
    assert more.scores == [1.0, 2.0, 3.0]


def test_what_cannot_be_resumed_is_said(tmp_path):
    url = f"sqlite:///{tmp_path}/runs.db"
    optimize.run(
        "d", "q", float, "1", 0, ScriptedChat(), False, store=url, name="amber"
    )
    with pytest.raises(RunNotFound, match="did you mean 'amber'"):
        optimize.resume("ambr", float, store=url)
    with pytest.raises(UnknownName, match="did you mean 'max_steps'"):
        optimize.resume("amber", float, store=url, max_step=3)


def test_what_a_resume_changes_holds_from_there_on(tmp_path):
    """The caps with which a run goes on are those that the next resume, and everybody who looks,
    finds."""
    store, f = str(tmp_path / "runs.db"), float
    model = ScriptedChat(*(f"```\n{n}\n```" for n in range(1, 9)))
    words = {"store": store, "verbose": False}
    optimize.run("d", "q", f, "0", 2, model, name="amber", sandbox="inline", **words)
    optimize.resume("amber", f, model=model, max_steps=4, timeout_secs=7.0, **words)
    with closing(Store(store)) as opened:
        settings = opened.run("amber").settings
    assert (settings["max_steps"], settings["timeout_secs"]) == (4, 7.0)
    again = optimize.resume("amber", f, model=model, **words)
    finished = "finished: 4 of 4 steps; give max_steps=8 (--steps 8) for more"
    assert (len(again.trials), again.stop_reason) == (5, finished)
