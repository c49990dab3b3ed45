"""Agents that want more than a human allowed: real servers, real files, real HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from agents import CANARY, SUM, ended, processes_in, talk, until, write_tasks
from llm_optimize import optimize
from llm_optimize.store import Store
from server import Server

pytest.importorskip("mcp", reason='needs the SDK: pip install "llm_optimize[mcp]"')
CHAT = """\
task = "Ask."
func = "judge.py:where"
x0 = "1"
max_steps = 2
model = "m"
base_url = "{}"
"""
MUTATION = 'x0 = "1"\nmodel = "mutation"\nmax_steps = 0\n'
SLOW = f'task = "Wait."\nfunc = "judge.py:slow"\n{MUTATION}[limits]\nwritable = ["."]\n'
EVIL = "import pathlib\npathlib.Path('PWNED').touch()\ndef f(x): return 1.0\n"


@pytest.fixture
def evil():
    """Yield the server of somebody who wants the key."""
    server = Server()
    server.replies("```\n9\n```", for_ever=True)
    server.start()
    yield server
    server.stop()


def keeping(call, said: list[str]):
    """Return `call`, which keeps all answers as the agent reads them."""

    async def kept(tool: str, **arguments: object):
        answer = await call(tool, **arguments)
        said.append(answer if isinstance(answer, str) else json.dumps(answer))
        return answer

    return kept


def smuggled(evil_url: str) -> list[dict[str, object]]:
    """Return what a call of start_run may try to bring along."""
    return [
        {"func": "os:system", "x0": "touch PWNED"},
        {"func": "subprocess:getoutput"},
        {"func": "evil.py:f"},
        {"options": {"sandbox": "inline"}},
        {"options": json.dumps({"base_url": evil_url})},
        {"sandbox": "inline"},
        {"limits": {"readable": ["/"], "env": ["OPENAI_API_KEY"]}},
        {"base_url": evil_url},
        {"env": {"OPENAI_BASE_URL": evil_url}},
        {"executor": "os:system"},
        {"store": "other.db"},
        {"timeout_secs": 1e9},
        {"budget": {"scorings": 10}},
        {"budget": {"base_url": evil_url}},
        {"budget": '{"scorings": 1e400}'},
        {"max_steps": 3},
        {"max_steps": 10**400},
        {"seed": 1},
        {"search": "chat"},
        {"x0": "9"},
        {"model": evil_url},
        {"model": "gpt-5"},
        {"model": {"base_url": evil_url}},
        {"name": "<script>alert(1)</script>"},
        {"name": "../../runs"},
        {"name": "a\u202eb"},
        {"name": "a\nb"},
        {"name": "n" * 61},
        {"name": "n" * 3_000_000},
        {"x0": "9" * 3_000_000},
        {"k" * 3_000_000: 1},
        {"__class__": "x"},
        {"self": "x"},
    ]


NAMES_OF_TASKS = [
    "evil",
    "link",
    "../evil.toml",
    "../../x.toml",
    "sum.toml",
    "sum\0",
    "\u017fum",
    "SUM",
    " sum",
    "judge",
]
NAMES_OF_TASKS += ["os:system", "", "[1]", "null", "\U0010ffff" * 200, "%2e%2e/evil"]


async def hold_on_to_the_file(call):
    """What a run may do is read from the file of its task, whatever the store says."""
    for tool, more in (
        ("resume_run", {}),
        ("stop_run", {}),
        ("steer_run", {"kind": "pause"}),
    ):
        assert "belongs to no task" in await call(tool, name="foreign", **more)
    assert "agents may not give hints" in await call(
        "steer_run", name="forged", kind="hint", text="x"
    )
    assert "unknown kind of steering 'stop'" in await call(
        "steer_run", name="forged", kind="stop"
    )
    assert "max_steps is 3" in await call("resume_run", name="forged", max_steps=3)
    assert (await call("resume_run", name="forged"))["state"] == "running"
    told = await ended(call, "forged")
    assert told["finished_trials"] == 3  # the file says 2 steps, the store 1000
    assert told["trials"][0]["feedback"] == "in a sandbox"  # the store says inline


async def keep_the_key(call):
    begun = await call("start_run", task="chat", max_steps=1)
    assert (await ended(call, begun["name"]))["best"]["score"] == 9.0


def test_an_agent_starts_nothing_but_what_is_allowed_and_as_it_is_allowed(
    tmp_path, server, evil
):
    """One server for all: the tasks of a folder, beside which lies what nobody allowed."""
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    write_tasks(
        tasks, sum=SUM, chat=CHAT.format(server.url), pyproject="[project]\nname = 'x'"
    )
    write_tasks(
        tmp_path, evil='task = "t"\nfunc = "evil.py:f"\nx0 = "1"\nmodel = "mutation"\n'
    )
    (tmp_path / "evil.py").write_text(EVIL)
    (tmp_path / "json.py").write_text(
        EVIL
    )  # the working directory is not where the server's modules come from
    (tasks / "link.toml").symlink_to(tmp_path / "evil.toml")
    server.replies("```\n9\n```", for_ever=True)
    plant_runs(tmp_path, evil)
    said: list[str] = []

    async def conversation(client, plain):
        call = keeping(plain, said)
        listed = await call("list_tasks")
        assert [task["name"] for task in listed["tasks"]] == ["chat", "sum"]
        assert listed["unusable"] == ["link.toml", "pyproject.toml"]
        for arguments in smuggled(evil.url):
            refused = await call("start_run", task="sum", **arguments)
            assert isinstance(refused, str), arguments
            assert len(refused) <= 1000
        for name in (
            *NAMES_OF_TASKS,
            str(tasks / "sum.toml"),
            str(tmp_path / "evil.toml"),
        ):
            assert isinstance(await call("start_run", task=name), str), name
        assert {run["name"] for run in (await call("list_runs"))["runs"]} == {
            "foreign",
            "forged",
        }
        await hold_on_to_the_file(call)
        await keep_the_key(call)

    log = talk(
        tmp_path,
        conversation,
        allow=["tasks"],
        OPENAI_API_KEY=CANARY,
        OPENAI_BASE_URL=server.url,
    )
    assert {request["headers"]["authorization"] for request in server.requests} == {
        f"Bearer {CANARY}"
    }
    assert evil.requests == []
    assert not list(tmp_path.rglob("PWNED"))
    assert not (tmp_path / "other.db").exists()
    assert all(
        word not in text for text in said for word in (CANARY, "Traceback", 'File "')
    )
    assert "link.toml is not offered: it is a link that leads out of the folder" in log
    store = Store(str(tmp_path / "runs.db"))
    assert store.run("foreign").steers() == []
    store.close()


def plant_runs(folder: Path, evil: Server) -> None:
    """Write runs that would run other code, or send the key elsewhere, if they were trusted."""
    kept = str(folder / "kept.db")
    optimize.run(
        "Ask.",
        "?",
        float,
        "1",
        0,
        "mutation",
        False,
        sandbox="inline",
        store=kept,
        name="plain",
    )
    store = Store(kept)
    settings = dict(store.run("plain").settings)
    store.close()
    evilly = {
        "model": "m",
        "proposer": "model",
        "base_url": evil.url,
        "sandbox": "inline",
        "max_steps": 1000,
    }
    store = Store(str(folder / "runs.db"))
    store.create_run("forged", {**settings, **evilly, "func": None}).close()
    store.create_run(
        "foreign", {**settings, **evilly, "func": f"{folder / 'evil.py'}:f"}
    ).close()
    store.close()


LEAKY = f'task = "Leak."\nfunc = "leaky.py:f"\n{MUTATION}[limits]\nenv = ["OPENAI_API_KEY"]\n'
SAYS = """\
import os

def f(x):
    key = os.environ['OPENAI_API_KEY']
    print(key)
    return 1.0, 'y' * {} + key
"""


def test_no_answer_holds_a_key(tmp_path):
    """Not even where f gets the key and returns it just where its feedback is cut."""
    raising = "import os\nraise ValueError(os.environ['OPENAI_API_KEY'])\n"
    write_tasks(
        tmp_path,
        leaky=LEAKY,
        raising='task = "t"\nfunc = "raising.py:f"\nx0 = "1"\nmodel = "mutation"\n',
    )
    (tmp_path / "leaky.py").write_text(SAYS.format(280))
    (tmp_path / "raising.py").write_text(raising)
    said: list[str] = []

    async def conversation(client, plain):
        call = keeping(plain, said)
        assert "cannot be imported: ValueError: [withheld]" in await call(
            "start_run", task="raising"
        )
        begun = await call("start_run", task="leaky")
        told = await ended(call, begun["name"])
        assert (told["best"]["score"], "[withheld]" in json.dumps(told)) == (1.0, True)
        assert (await call("best_of_run", name=begun["name"]))[
            "output"
        ] == "[withheld]\n"
        assert "no run named '[withheld]'" in await call("follow_run", name=CANARY)

    talk(tmp_path, conversation, allow=["."], OPENAI_API_KEY=CANARY)
    assert all(CANARY[:14] not in text and "Traceback" not in text for text in said)


def test_files_that_change_after_the_start_are_no_longer_allowed(tmp_path):
    write_tasks(tmp_path, sum=SUM, second=SUM.replace("Raise", "Lift"))

    async def conversation(client, call):
        (tmp_path / "sum.toml").write_text(SUM.replace("inline", "process"))
        assert (
            "sum.toml of the task 'sum' has changed since this server started"
            in await call("start_run", task="sum")
        )
        (tmp_path / "late.toml").write_text(SUM)
        assert "no task 'late' is allowed here" in await call("start_run", task="late")
        begun = await call("start_run", task="second")
        await ended(call, begun["name"])
        (tmp_path / "judge.py").write_text(EVIL)
        for tool, named in (
            ("start_run", {"task": "second"}),
            ("resume_run", {"name": begun["name"]}),
        ):
            assert "judge.py of the task 'second' has changed" in await call(
                tool, **named
            )
        (tmp_path / "judge.py").unlink()
        assert "has changed" in await call("start_run", task="second")

    talk(tmp_path, conversation, allow=["sum.toml", "second.toml"])
    assert not (tmp_path / "PWNED").exists()


def test_without_a_task_an_agent_can_only_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    optimize.run(
        "t",
        "?",
        float,
        "1",
        0,
        "mutation",
        False,
        sandbox="inline",
        store="runs.db",
        name="a",
    )

    async def conversation(client, call):
        assert (await call("list_tasks"))["tasks"] == []
        assert (await call("best_of_run", name="a"))["score"] == 1.0
        starting = [
            ("start_run", {"task": "sum"}),
            ("resume_run", {"name": "a"}),
            ("stop_run", {"name": "a"}),
        ]
        for tool, arguments in (
            *starting,
            ("steer_run", {"name": "a", "kind": "pause"}),
        ):
            answer = await call(tool, **arguments)
            assert "no task is allowed here" in answer
            assert "--allow TASK.toml" in answer

    talk(tmp_path, conversation)


def test_no_more_runs_go_on_than_may_whoever_asks(tmp_path):
    """Twelve starts at once, for two places; then a second server on the same store."""
    write_tasks(tmp_path, slow=SLOW, few=SUM + "[agent]\nmax_runs = 1\n")

    async def conversation(client, call):
        answers = await asyncio.gather(
            *(call("start_run", task="slow", name=f"slow-{n}") for n in range(12))
        )
        begun = [answer["name"] for answer in answers if isinstance(answer, dict)]
        assert len(begun) == 2
        assert (
            sum(
                "2 runs go on, as many as may at a time" in str(answer)
                for answer in answers
            )
            == 10
        )
        await until((tmp_path / "began").exists)
        await asyncio.to_thread(
            talk, tmp_path, second(begun[0]), ["slow.toml", "few.toml"], log="second"
        )
        assert (await call("follow_run", name=begun[0]))["state"] == "running"
        (tmp_path / "go").touch()
        for name in begun:
            assert (await ended(call, name))["finished_trials"] == 1

    def second(name: str):
        async def conversation(client, call):
            assert "held by" in await call("resume_run", name=name)
            assert f"a run named {name!r} exists" in await call(
                "start_run", task="slow", name=name
            )
            assert "was not started here" in await call(
                "stop_run", name=name, at_once=True
            )
            answers = await asyncio.gather(
                *(call("start_run", task="few") for _ in range(3))
            )
            (few,) = [answer["name"] for answer in answers if isinstance(answer, dict)]
            assert (
                sum(
                    "the store holds 1 runs of the task 'few'" in str(answer)
                    for answer in answers
                )
                == 2
            )
            await ended(call, few)

        return conversation

    talk(tmp_path, conversation, allow=["slow.toml"], options=["--at-a-time", "2"])


IMPORTS = """\
import pathlib, time
pathlib.Path("importing").touch()
while not pathlib.Path("go").exists():
    time.sleep(0.02)
pathlib.Path("imported").touch()
def f(x): return 1.0
"""


@pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="looks for processes in /proc"
)
@pytest.mark.parametrize("by", ["the agent", "SIGTERM"])
def test_a_start_that_is_given_up_leaves_nothing_behind(tmp_path, by):
    """While the file of f is still being imported, there is no run yet that could be stopped."""
    write_tasks(
        tmp_path, sum=SUM, long=SUM.replace("judge", "long").replace("Raise", "Import")
    )
    (tmp_path / "long.py").write_text(IMPORTS)

    async def conversation(client, call):
        start = asyncio.create_task(call("start_run", task="long"))
        await until((tmp_path / "importing").exists)
        if by == "SIGTERM":
            (server,) = processes_in(tmp_path, "mcp")
            os.kill(server, signal.SIGTERM)
        else:
            start.cancel()
            begun = await call("start_run", task="sum")
            await ended(call, begun["name"])
        await until(lambda: not processes_in(tmp_path, "llm_optimize.mcp.job"))
        await asyncio.gather(start, return_exceptions=True)

    try:
        talk(
            tmp_path,
            conversation,
            allow=["sum.toml", "long.toml"],
            options=["--at-a-time", "1"],
        )
    finally:
        (tmp_path / "go").touch()
    assert not (tmp_path / "imported").exists()
