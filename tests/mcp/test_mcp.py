"""The server for coding agents, by the SDK's own client over stdio, with real runs."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from agents import ended, processes_in, talk, until, write_tasks
from llm_optimize.store import Store

pytest.importorskip("mcp", reason='needs the SDK: pip install "llm_optimize[mcp]"')
SUM = """\
title = "Raise a sum"
task = "Raise f."
func = "judge.py:f"
x0 = "1 2"
model = "mutation"
max_steps = 6
sandbox = "inline"
timeout_secs = 20

[budget]
scorings = 50

[agent]
may_set = ["max_steps", "budget", "seed", "x0", "hint"]
max_steps = 8
"""
NEAR = """\
task = "Near 3."
func = "judge.py:g"
model = "mutation"
max_steps = 3
sandbox = "inline"
seed = 1

[space]
a = { kind = "int", low = 0, high = 9 }
b = { kind = "choice", options = ["u", "v"] }
"""
SLOW = """\
task = "Wait."
func = "judge.py:slow"
x0 = "1"
model = "mutation"
max_steps = 0

[limits]
writable = ["."]
"""
READING = {"list_tasks", "follow_run", "best_of_run", "show_trial", "list_runs"}
STARTING = {
    "start_run": True,
    "resume_run": True,
    "stop_run": False,
    "steer_run": False,
}


async def follow_a_run(call):
    begun = await call(
        "start_run", task="sum", name="amber", budget={"scorings": 40}, seed=3
    )
    assert begun == {"name": "amber", "state": "running"}
    told = await ended(call, "amber")
    assert (told["state"], told["stop_reason"], told["finished_trials"]) == (
        "finished",
        "max_steps",
        7,
    )
    assert told["error"] == ""
    whole = await call("follow_run", name="amber")
    assert [trial["number"] for trial in whole["trials"]] == list(range(7))
    assert whole["next_since"] == 7
    assert len(whole["trials"][0]["feedback"]) <= 300
    assert "\\x1b[2J" in whole["trials"][0]["feedback"]
    assert (await call("follow_run", name="amber", since=5))["trials"][0]["number"] == 5
    best = await call("best_of_run", name="amber")
    assert best["score"] == max(trial["score"] for trial in whole["trials"])
    assert sum(map(float, best["x"].split())) == best["score"]
    assert (await call("show_trial", name="amber", number=0))["x"] == "1 2"
    refused = await call("steer_run", name="amber", kind="hint", text="Larger.")
    assert "has finished (max_steps): resume it first" in refused
    assert (await call("resume_run", name="amber", max_steps=8))["state"] == "running"
    assert (await ended(call, "amber", since=7))["finished_trials"] == 9
    (listed,) = (await call("list_runs"))["runs"]
    assert (listed["name"], listed["state"], listed["finished_trials"]) == (
        "amber",
        "finished",
        9,
    )


async def take_parameters_as_objects(call):
    begun = await call("start_run", task="near")
    await ended(call, begun["name"])
    best = await call("best_of_run", name=begun["name"])
    assert set(best["x"]) == {"a", "b"}
    assert best["score"] == -abs(best["x"]["a"] - 3)


async def take_texts_as_they_were_sent(call):
    for x0 in ("[5, 3]", " 5\n", '"5"'):
        begun = await call(
            "start_run", task="sum", x0=x0, max_steps=0, budget='{"scorings": 9}'
        )
        await ended(call, begun["name"])
        assert (await call("show_trial", name=begun["name"], number=0))["x"] == x0


def test_runs_are_started_followed_and_their_best_fetched(tmp_path):
    """One long conversation, from a folder without a store: a server takes seconds to start."""
    write_tasks(tmp_path, sum=SUM, near=NEAR)

    async def conversation(client, call):
        assert "there is no store" in await call("list_runs")
        assert not (tmp_path / "runs.db").exists()
        await describe_themselves(client, call)
        await follow_a_run(call)
        await take_parameters_as_objects(call)
        await take_texts_as_they_were_sent(call)

    async def describe_themselves(client, call):
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == READING | set(STARTING)
        for name, tool in tools.items():
            hints = tool.annotations
            assert (hints.read_only_hint, hints.destructive_hint) == (
                name in READING,
                False,
            )
            assert hints.open_world_hint is STARTING.get(name, False)
            assert hints.title == tool.title
            assert len(tool.description) > 60
            assert hints.idempotent_hint is (name in READING or name == "stop_run")
            assert tool.input_schema["additionalProperties"] is False
        told = {task["name"]: task for task in (await call("list_tasks"))["tasks"]}
        assert (told["sum"]["title"], told["near"]["title"]) == ("Raise a sum", "near")
        assert (
            told["sum"]["max_steps"],
            told["sum"]["most_steps"],
            told["sum"]["budget"],
        ) == (6, 8, {"scorings": 50})

    assert talk(tmp_path, conversation, allow=["."]) == ""


WRONG = [
    (
        "start_run",
        {"task": "sums"},
        "no task 'sums' is allowed here: did you mean 'sum'?",
    ),
    ("start_run", {"task": "broken"}, "has no function 'h'"),
    ("start_run", {"task": "keyless"}, "OPENAI_API_KEY"),
    (
        "start_run",
        {"task": "sum", "max_steps": -1},
        "max_steps is -1: give at least 0",
    ),
    (
        "start_run",
        {"task": "sum", "max_steps": "6"},
        "max_steps is '6': give a whole number",
    ),
    (
        "start_run",
        {"task": "sum", "max_steps": True},
        "max_steps is True: give a whole number",
    ),
    ("start_run", {"task": "sum", "budget": {"usd": -1}}, "usd is -1"),
    (
        "start_run",
        {"task": "sum", "budget": {"dollars": 1}},
        "unknown key in budget 'dollars'",
    ),
    ("start_run", {"task": "sum", "name": "a"}, "a run named 'a'"),
    ("start_run", {}, "start_run needs task"),
    ("start", {}, "unknown tool 'start': did you mean 'start_run'"),
    ("follow_run", {"name": "b"}, "no run named 'b'"),
    (
        "follow_run",
        {"nam": "a"},
        "unknown argument of follow_run 'nam': did you mean 'name'?",
    ),
    ("resume_run", {"name": "aa"}, "did you mean 'a'"),
    ("best_of_run", {"name": "a"}, "has a score yet"),
    ("show_trial", {"name": "a", "number": 7}, "no finished trial 7"),
]


def test_what_is_wrong_is_said_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store("runs.db")
    store.create_run("a", {"task": {"description": "d"}, "func": None}).close()
    store.close()
    plain = 'task = "t"\nfunc = "judge.py:{}"\n'
    write_tasks(tmp_path, sum=SUM, broken=plain.format("h"), keyless=plain.format("f"))

    async def conversation(client, call):
        for tool, arguments, words in WRONG:
            said = await call(tool, **arguments)
            assert isinstance(said, str), (tool, arguments, said)
            assert words in said, said
            assert "Traceback" not in said

    talk(tmp_path, conversation, allow=["sum.toml", "broken.toml", "keyless.toml"])


def test_a_run_is_stopped_and_goes_on(tmp_path):
    write_tasks(tmp_path, slow=SLOW)

    async def conversation(client, call):
        await call("start_run", task="slow", name="slow")
        await until((tmp_path / "began").exists)
        assert (await call("follow_run", name="slow"))["state"] == "running"
        assert (
            "pausing" in (await call("steer_run", name="slow", kind="pause"))["state"]
        )
        assert "stopping" in (await call("stop_run", name="slow"))["state"]
        assert (await call("follow_run", name="slow"))["state"] == "running"
        hint = await call("steer_run", name="slow", kind="go")
        assert hint["state"] == "going on"
        stopped = await call("stop_run", name="slow", at_once=True)
        assert stopped["state"] == "finished"
        told = await call("follow_run", name="slow")
        assert (told["state"], told["finished_trials"]) == ("finished", 0)
        assert told["stop_reason"] in ("interrupted", "stopped by an agent")
        (tmp_path / "go").touch()
        await call("resume_run", name="slow")
        told = await ended(call, "slow")
        assert (told["state"], told["finished_trials"], told["best"]["score"]) == (
            "finished",
            1,
            1.0,
        )

    talk(tmp_path, conversation, allow=["slow.toml"])
    store = Store(str(tmp_path / "runs.db"))
    assert [steer.kind for steer in store.run("slow").steers()] == [
        "pause",
        "stop",
        "go",
        "stop",
    ]
    store.close()


@pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="looks for processes in /proc"
)
@pytest.mark.parametrize("by", ["end of input", "SIGTERM"])
def test_runs_end_with_the_server(tmp_path, by):
    write_tasks(tmp_path, slow=SLOW)

    async def conversation(client, call):
        await call("start_run", task="slow", name="slow")
        await until((tmp_path / "began").exists)
        if by == "SIGTERM":
            (server,) = processes_in(tmp_path, "mcp")
            os.kill(server, signal.SIGTERM)

    talk(tmp_path, conversation, allow=["slow.toml"])
    deadline = time.monotonic() + 20
    while (
        processes_in(tmp_path, "llm_optimize.mcp.job") and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    assert processes_in(tmp_path, "llm_optimize.mcp.job") == []
    store = Store(str(tmp_path / "runs.db"))
    store.hold("slow").close()  # nobody writes it
    store.close()


DOCS = (Path(__file__).parents[2] / "docs/mcp.md").read_text(encoding="utf-8")


def test_the_example_of_the_docs_runs_as_it_stands(tmp_path, server):
    (task,) = re.findall(r"^```toml\n(.*?)^```$", DOCS, re.S | re.M)
    (judge,) = re.findall(r"^```python\n(.*?)^```$", DOCS, re.S | re.M)
    (told,) = re.findall(r"^```json\n(.*?)^```$", DOCS, re.S | re.M)
    options = json.loads(told)["mcpServers"]["llm-optimize"]["args"]
    assert options[:3] == ["mcp", "--store", "runs.db"]
    (tmp_path / "tasks").mkdir()
    (tmp_path / options[options.index("--allow") + 1]).write_text(task)
    (tmp_path / "tasks/judge.py").write_text(judge)
    server.replies(*(f"```\n[{n}, 1]\n```" for n in range(20, 0, -1)))

    async def conversation(client, call):
        (allowed,) = (await call("list_tasks"))["tasks"]
        begun = await call("start_run", task=allowed["name"], max_steps=2)
        assert not isinstance(begun, str), begun
        assert (await ended(call, begun["name"]))["finished_trials"] == 3

    keys = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": server.url}
    talk(tmp_path, conversation, options=options[3:], **keys)
