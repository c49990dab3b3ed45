"""The server for coding agents, by the SDK's own client over stdio, with real runs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from llm_optimize.store import Store

mcp = pytest.importorskip("mcp", reason='needs the SDK: pip install "llm_optimize[mcp]"')
ROOT = Path(__file__).parents[1]
TASK = """\
import pathlib, time

print("this must not get into the protocol")

def f(x):
    return {"score": sum(map(float, x.split())), "feedback": "fine \\x1b[2J" + "x" * 5000}

def slow(x):
    pathlib.Path("began").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.02)
    return 1.0

def g(x):
    return -abs(x["a"] - 3), "near"
"""


def talk(folder: Path, conversation: Callable[..., Awaitable[None]]) -> str:
    """Hold a conversation with a server of its own; return what it wrote to standard error."""
    (folder / "task.py").write_text(TASK)
    env = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    arguments = ["-m", "llm_optimize", "mcp", "--store", "runs.db"]
    parameters = mcp.StdioServerParameters(command=sys.executable, args=arguments, env=env, cwd=str(folder))

    async def main() -> None:
        with (folder / "said").open("w") as said:
            async with mcp.Client(mcp.stdio_client(parameters, errlog=said)) as client:

                async def call(tool: str, **arguments: object) -> dict[str, object] | str:
                    answer = await client.call_tool(tool, arguments)
                    return answer.content[0].text if answer.is_error else json.loads(answer.content[0].text)

                await asyncio.wait_for(conversation(client, call), 90)

    asyncio.run(main())
    return (folder / "said").read_text()


async def ended(call, name: str, since: int = 0) -> dict:
    """Follow a run to its end."""
    while True:
        told = await call("follow_run", name=name, since=since, wait_secs=20)
        if told["state"] != "running":
            return told


async def follow_a_run(client, call):
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == {"start_run", "follow_run", "stop_run", "resume_run", "best_of_run", "list_runs"}
    assert all(tool.description for tool in tools.values())
    assert set(tools["start_run"].input_schema["required"]) == {"func", "task"}
    begun = await call(
        "start_run", func="task.py:f", task="Raise f.", x0="1 2", steps=6, model="mutation", name="amber",
        budget={"scorings": 50}, options={"seed": 3, "sandbox": "inline", "timeout_secs": 20},
    )  # fmt: skip
    assert begun == {"name": "amber", "state": "running"}
    told = await ended(call, "amber")
    assert (told["state"], told["stop_reason"], told["finished_trials"]) == ("ended", "max_steps", 7)
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
    assert (await call("resume_run", name="amber", steps=8))["state"] == "running"
    assert (await ended(call, "amber", since=7))["finished_trials"] == 9
    (listed,) = (await call("list_runs"))["runs"]
    assert (listed["name"], listed["state"], listed["finished_trials"]) == ("amber", "ended", 9)


async def take_parameters_as_objects(call):
    space = {"a": {"kind": "int", "low": 0, "high": 9}, "b": {"kind": "choice", "options": ["u", "v"]}}
    options = {"space": space, "sandbox": "inline", "seed": 1}
    begun = await call("start_run", func="task.py:g", task="Near 3.", steps=3, model="mutation", options=options)
    await ended(call, begun["name"])
    best = await call("best_of_run", name=begun["name"])
    assert set(best["x"]) == {"a", "b"}
    assert best["score"] == -abs(best["x"]["a"] - 3)


def test_runs_are_started_followed_and_their_best_fetched(tmp_path):
    """One conversation from a folder without a store on, since each server takes seconds to begin."""

    async def conversation(client, call):
        await list_without_a_store(call)
        await follow_a_run(client, call)
        await take_parameters_as_objects(call)

    async def list_without_a_store(call):
        assert "there is no store" in await call("list_runs")
        assert not (tmp_path / "runs.db").exists()

    assert talk(tmp_path, conversation) == ""


WRONG = [
    ("start_run", {"func": "task.py:h", "task": "t"}, "task.py has no function 'h'"),
    ("start_run", {"func": "no.py:f", "task": "t"}, "the file no.py of --func does not exist"),
    ("start_run", {"func": "task.py:f", "task": "t"}, "OPENAI_API_KEY"),
    ("start_run", {"func": "task.py:f", "task": "t", "x0": "1", "steps": -1, "model": "mutation"}, "max_steps is -1"),
    ("start_run", {"func": "task.py:f", "task": "t", "budget": {"usd": -1}}, "usd is -1"),
    (
        "start_run",
        {"func": "task.py:f", "task": "t", "options": {"space": {"a": {"kind": "real"}}}},
        "unknown kind of parameter",
    ),
    ("start_run", {"func": "task.py:f", "task": "t", "x0": "1", "model": "mutation", "name": "a"}, "a run named 'a'"),
    ("follow_run", {"name": "b"}, "no run named 'b'"),
    ("stop_run", {"name": "a", "at_once": True}, "was not started here"),
    ("resume_run", {"name": "aa"}, "did you mean 'a'"),
    ("best_of_run", {"name": "a"}, "has a score yet"),
]


def test_what_is_wrong_is_said_in_a_sentence(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        store = Store("runs.db")
        store.create_run("a", {"task": {"description": "d"}, "func": None}).close()
        store.close()

    async def conversation(client, call):
        for tool, arguments, words in WRONG:
            said = await call(tool, **arguments)
            assert isinstance(said, str), (tool, arguments, said)
            assert words in said, said
            assert "Traceback" not in said

    talk(tmp_path, conversation)


async def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not there():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


SLOW = {"func": "task.py:slow", "task": "t", "x0": "1", "steps": 0, "model": "mutation", "name": "slow"}
SLOW |= {"options": {"sandbox": "process", "limits": {"writable": ["."]}}}


def test_a_run_is_stopped_and_goes_on(tmp_path):
    async def conversation(client, call):
        await call("start_run", **SLOW)
        await until((tmp_path / "began").exists)
        assert (await call("follow_run", name="slow"))["state"] == "running"
        assert "stopping" in (await call("stop_run", name="slow"))["state"]
        assert (await call("stop_run", name="slow", at_once=True))["state"] == "stopped"
        told = await call("follow_run", name="slow")
        assert (told["state"], told["finished_trials"]) == ("stopped", 0)
        (tmp_path / "go").touch()
        await call("resume_run", name="slow")
        told = await ended(call, "slow")
        assert (told["state"], told["finished_trials"], told["best"]["score"]) == ("ended", 1, 1.0)

    talk(tmp_path, conversation)
    store = Store(str(tmp_path / "runs.db"))
    assert [steer.kind for steer in store.run("slow").steers()] == ["stop", "stop"]
    store.close()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("by", ["end of input", "SIGTERM"])
def test_runs_end_with_the_server(tmp_path, by):
    async def conversation(client, call):
        await call("start_run", **SLOW)
        await until((tmp_path / "began").exists)
        if by == "SIGTERM":
            (server,) = children("mcp")
            os.kill(server, signal.SIGTERM)

    def children(word: str) -> list[int]:
        """Return the processes of this test that have a word in their command."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command, cwd = (folder / "cmdline").read_text(), os.readlink(folder / "cwd")
            except OSError:
                continue
            if cwd == str(tmp_path) and word in command.split("\0"):
                found.append(int(folder.name))
        return found

    talk(tmp_path, conversation)
    deadline = time.monotonic() + 20
    while children("llm_optimize._cli_job") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert children("llm_optimize._cli_job") == []
    store = Store(str(tmp_path / "runs.db"))
    store.hold("slow").close()  # nobody writes it
    store.close()
