"""Temperature and reasoning effort: given once, sent with each request, and kept by the store."""

from __future__ import annotations

import sys
from contextlib import closing

import pytest

from llm_optimize import optimize
from llm_optimize.__main__ import main
from llm_optimize.errors import UsageError
from llm_optimize.llm import Chat
from llm_optimize.store import Store
from server import KEY

NAMES = ("temperature", "reasoning_effort")


@pytest.fixture
def store(tmp_path, server, monkeypatch):
    """Return the address of a store, where a model answers and f is in a file."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    server.answer = lambda request: f"```\n{len(server.requests)}\n```"
    return str(tmp_path / "runs.db")


def run(store, **options):
    given = {"store": store, "name": "amber", "sandbox": "inline", "verbose": False}
    return optimize.run("d", "q", float, "0", 1, **given, **options)


def resume(store, **changes):
    return optimize.resume("amber", float, store=store, verbose=False, **changes)


def sent(server):
    """Return what the last request says of both."""
    return tuple(server.requests[-1].get(name) for name in NAMES)


def test_both_are_sent_and_survive_a_resume(store, server):
    url = server.url
    run(store, model="m", base_url=url, temperature=0.5, reasoning_effort="low")
    assert sent(server) == (0.5, "low")
    resume(store, max_steps=2)
    assert sent(server) == (0.5, "low")
    resume(store, max_steps=3, temperature=0)
    assert sent(server) == (0, "low")
    resume(store, max_steps=4)
    assert sent(server) == (0, "low")
    resume(store, max_steps=5, model="other", base_url=url)
    assert sent(server) == (None, None)
    assert len(server.requests) == 5


def test_a_temperature_that_cannot_be_is_refused_in_the_words_of_the_front_door(
    store, monkeypatch, capsys
):
    with pytest.raises(
        UsageError, match=r"^temperature is -1: give a number, 0 or more"
    ):
        run(store, model="m", temperature=-1)
    with open("judge.py", "w") as file:
        file.write("def f(x):\n    return float(x)\n")
    line = (
        "llm-optimize run --task d --x0 0 --func judge.py:f --model m --temperature -1"
    )
    monkeypatch.setattr(sys, "argv", line.split())
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "--temperature is -1.0: give a number, 0 or more" in capsys.readouterr().err


def test_those_of_a_chat_survive_a_resume(store, server):
    run(store, model=Chat("m", base_url=server.url, temperature=0.3))
    resume(store, max_steps=2)
    assert sent(server) == (0.3, None)


def test_several_models_by_name_all_have_them(store, server):
    run(store, model=["m", "n"], base_url=server.url, reasoning_effort="high")
    assert sent(server) == (None, "high")


def test_both_are_flags_and_a_resume_changes_one_beside_the_price(
    store, server, monkeypatch
):
    def typed(command):
        words = ["llm-optimize", *command.split(), "--store", store]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return sent(server)

    with open("judge.py", "w") as file:
        file.write("def f(x):\n    return float(x)\n")
    with_f = f"--func judge.py:f --sandbox inline --model m --base-url {server.url}"
    begun = f"run --task d --x0 0 --steps 1 --name amber {with_f}"
    assert typed(f"{begun} --temperature 0.7 --reasoning-effort low") == (0.7, "low")
    assert typed("resume amber --steps 2 --price 1/2") == (0.7, "low")
    changed = "resume amber --steps 3 --price 1/2 --temperature 0"
    assert typed(changed) == (0, "low")
    with closing(Store(store)) as opened:
        assert opened.run("amber").settings["temperature"] == 0
