"""Agents for tests: conversations with a real server over stdio, by the SDK's own client."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
JUDGE = """\
import os, pathlib, time

print("this must not get into the protocol")

def f(x):
    numbers = x.strip('[] \\n"').replace(",", " ").split()
    return {"score": sum(map(float, numbers)), "feedback": "fine \\x1b[2J" + "x" * 5000}

def where(x):
    return float(x), "with the key" if "OPENAI_API_KEY" in os.environ else "in a sandbox"

def slow(x):
    pathlib.Path("began").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.02)
    return 1.0

def g(x):
    return -abs(x["a"] - 3), "near"
"""
CANARY = "sk-canary-" + "7f3a" * 8
# A task of two steps, by random changes.
SUM = """\
task = "Raise f."
func = "judge.py:f"
x0 = "1 2"
model = "mutation"
max_steps = 2
sandbox = "inline"

[budget]
scorings = 9
"""


def write_tasks(folder: Path, **tasks: str) -> None:
    """Write a judge and TASK.toml files by their names."""
    (folder / "judge.py").write_text(JUDGE)
    for name, text in tasks.items():
        (folder / f"{name}.toml").write_text(text)


def talk(
    folder: Path,
    conversation: Callable[..., Awaitable[None]],
    allow: Iterable[object] = (),
    options: Iterable[str] = (),
    log: str = "said",
    **env: str,
) -> str:
    """Hold a conversation with a server of its own; return what it wrote to standard error."""
    import mcp

    arguments = ["-P", "-m", "llm_optimize", "mcp", "--store", "runs.db", *options]
    arguments += [word for path in allow for word in ("--allow", str(path))]
    env = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], **env}
    parameters = mcp.StdioServerParameters(
        command=sys.executable, args=arguments, env=env, cwd=str(folder)
    )

    async def main() -> None:
        with (folder / log).open("w") as said:
            async with mcp.Client(mcp.stdio_client(parameters, errlog=said)) as client:

                async def call(
                    tool: str, **arguments: object
                ) -> dict[str, object] | str:
                    answer = await client.call_tool(tool, arguments)
                    return (
                        answer.content[0].text
                        if answer.is_error
                        else json.loads(answer.content[0].text)
                    )

                await asyncio.wait_for(conversation(client, call), 90)

    asyncio.run(main())
    return (folder / log).read_text()


async def ended(call, name: str, since: int = 0) -> dict:
    """Follow a run to its end."""
    while True:
        told = await call("follow_run", name=name, since=since, wait_secs=20)
        if told["state"] != "running":
            return told


async def until(there: Callable[[], bool]) -> None:
    """Wait for something to be there."""
    deadline = time.monotonic() + 30
    while not there():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def processes_in(folder: Path, word: str) -> list[int]:
    """Return the processes in a working directory that have a word in their command."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, cwd = (
                (process / "cmdline").read_text(),
                os.readlink(process / "cwd"),
            )
        except OSError:
            continue
        if cwd == str(folder) and word in command.split("\0"):
            found.append(int(process.name))
    return found
