"""A dry run shows what would be sent, and does nothing else."""

from __future__ import annotations

import json
import sys

import pytest

from llm_optimize import optimize
from llm_optimize.cli import main
from llm_optimize.errors import UsageError
from llm_optimize.llm import Chat, Price
from server import KEY
from simulated import block

OPEN = "its score is not known yet"


@pytest.mark.parametrize("search", ["best", "chat", "tree", "islands", "pareto"])
def test_the_prompt_is_the_one_that_a_run_sends_but_for_the_score(
    tmp_path, server, search
):
    server.replies(block("4, 4"))
    model = Chat("gpt", base_url=server.url, api_key=KEY)
    options = {
        "model": model,
        "max_steps": 1,
        "seed": 1,
        "search": search,
        "store": tmp_path / "r.db",
    }

    def f(x):
        called.append(x)
        return 12.5, "keep going"

    called = []
    planned = optimize.dry_run("Raise f.", "A better x?", f, x0="[5, 3]", **options)
    assert (called, server.requests, server.listings) == ([], [], [])
    assert list(tmp_path.iterdir()) == []
    optimize.run(
        "Raise f.",
        "A better x?",
        f,
        x0="[5, 3]",
        sandbox="inline",
        verbose=False,
        **options,
    )
    sent = [message["content"] for message in server.requests[0]["messages"]]
    shown = [message["content"] for message in planned.messages]
    assert len(shown) == len(sent)
    for one, other in zip(shown, sent, strict=True):
        assert one.replace(OPEN, "score 12.5\nkeep going") == other
    assert OPEN in "".join(shown)


def test_the_estimate_lies_between_prompts_that_stay_and_prompts_that_grow():
    model = Chat("gpt", price=Price(1.0, 10.0))
    planned = optimize.dry_run(
        "t", "q", x0="x" * 400, max_steps=20, model=model, max_prompt_tokens=5_000
    )
    reply = 400 // 4 + 500
    assert planned.calls == 20
    assert planned.tokens == (
        20 * (planned.prompt_tokens + reply),
        20 * (5_000 + reply),
    )
    assert planned.usd == pytest.approx(
        (
            20 * (planned.prompt_tokens + 10 * reply) / 1e6,
            20 * (5_000 + 10 * reply) / 1e6,
        )
    )
    assert (
        optimize.dry_run("t", "q", x0="1", model=Chat("gpt"), budget={"calls": 3}).calls
        == 3
    )
    assert "price is unknown" in str(
        optimize.dry_run("t", "q", x0="1", model=Chat("gpt-none"))
    )


def test_without_a_key_without_a_model_and_what_run_would_refuse():
    assert optimize.dry_run(
        "t", "q", x0="1", model="gpt-5-mini"
    ).messages  # without a key
    planned = optimize.dry_run("t", "q", x0="1", model="mutation")
    assert (planned.model, planned.messages) == (None, ())
    assert str(planned) == "no model is asked: the run costs no tokens"
    known = optimize.dry_run("t", "q", model=Chat("m"), known=[("7", 7.5, "near")])
    assert "score 7.5\nnear" in known.messages[-1]["content"]
    with pytest.raises(
        UsageError, match="unknown argument of dry_run 'max_step': did you mean"
    ):
        optimize.dry_run("t", "q", x0="1", max_step=3)
    with pytest.raises(UsageError, match="x0 has about 1,675,000 tokens"):
        optimize.dry_run("t", "q", x0="x" * 6_700_000, model=Chat("m"))


def test_the_command_line_shows_prompt_files_and_costs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "judge_of_dry.py").write_text("def f(x):\n    raise SystemExit(9)\n")
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "a.py").write_text("a = 1\n")
    (tmp_path / "program" / "b.py").write_text("b = 22\n")
    words = ["run", "--dry-run", "--task", "Be quick.", "--func", "judge_of_dry.py:f"]
    words += [
        "--x0",
        "program",
        "--model",
        "gpt-5-mini",
        "--price",
        "1/10",
        "--steps",
        "3",
    ]
    before = sorted(tmp_path.iterdir())

    def call(*more):
        with pytest.raises(SystemExit) as ended:
            main([*words, *more])
        assert ended.value.code == 0
        return capsys.readouterr().out

    shown = call()
    assert "Be quick." in shown
    assert "b = 22" in shown
    assert "x0: a.py, 6 characters" in shown
    assert "x0: b.py, 7 characters" in shown
    assert "gpt-5-mini: the first prompt has about" in shown
    assert "they cost about $0.0" in shown
    found = json.loads(call("--json"))
    assert (found["calls"], found["parts"]) == (3, {"a.py": 6, "b.py": 7})
    after = [path for path in sorted(tmp_path.iterdir()) if path.name != "__pycache__"]
    assert after == before
