"""Lines that no client would send, and bounds that a human sets."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from agents import CANARY, ROOT, SUM, write_tasks

pytest.importorskip("mcp", reason='needs the SDK: pip install "llm_optimize[mcp]"')


def test_lines_that_no_client_would_send_end_nothing(tmp_path):
    """Lone surrogates, depth, endless numbers: the SDK may drop them; the next call is answered."""
    write_tasks(tmp_path, sum=SUM)
    hello = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "a", "version": "1"},
    }
    lines = [
        json.dumps(
            {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
        ),
        json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        called(2, '{"task": "\\ud800"}'),
        called(3, '{"task": "sum", "name": "\\ud800"}'),
        called(4, '{"task": ' + "[" * 100_000 + "]" * 100_000 + "}"),
        called(5, '{"task": "sum", "max_steps": ' + "9" * 20_000 + "}"),
        called(6, '{"task": "sum", "budget": {"scorings": NaN}}'),
        called(7, '{"task": ' + json.dumps("x" * 3_000_000) + "}"),
        "not JSON",
        called(8, '{"task": "no"}'),
    ]
    command = [
        sys.executable,
        "-m",
        "llm_optimize",
        "mcp",
        "--store",
        "runs.db",
        "--allow",
        "sum.toml",
    ]
    env = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "SOME_TOKEN": CANARY}
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    answers = {}
    with process:
        process.stdin.write("".join(line + "\n" for line in lines).encode())
        process.stdin.flush()
        while 8 not in answers:
            answer = json.loads(process.stdout.readline())
            answers[answer["id"]] = answer
        process.stdin.close()
        assert process.wait(30) == 0
    assert "no task 'no' is allowed here" in answers[8]["result"]["content"][0]["text"]
    for number in set(answers) - {1}:
        assert "error" in answers[number] or answers[number]["result"]["isError"], (
            answers[number]
        )
        assert "Traceback" not in json.dumps(answers[number])
        assert len(json.dumps(answers[number])) < 2000
    assert not (tmp_path / "runs.db").exists()


def called(number: int, arguments: str) -> str:
    """Return a call of start_run as a line, its arguments as they are."""
    params = f'{{"name": "start_run", "arguments": {arguments}}}'
    return f'{{"jsonrpc": "2.0", "id": {number}, "method": "tools/call", "params": {params}}}'


def test_a_bound_on_what_a_human_names_is_checked_when_the_server_starts(tmp_path):
    write_tasks(
        tmp_path,
        sum=SUM,
        wrong=SUM.replace("max_steps", "max_stepz"),
        twin='name = "sum"\n' + SUM,
    )

    def says(*allowed: str) -> str:
        options = [word for name in allowed for word in ("--allow", name)]
        command = [sys.executable, "-m", "llm_optimize", "mcp", *options]
        env = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout) == (2, "")
        return done.stderr

    assert "unknown key in wrong.toml 'max_stepz': did you mean 'max_steps'" in says(
        "wrong.toml"
    )
    assert "are both the task 'sum'" in says("sum.toml", "twin.toml")
    assert "'no.toml' does not exist" in says("no.toml")
