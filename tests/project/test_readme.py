"""The code blocks of the README, all of them run: Python as it stands, commands as a user types."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.S | re.M)


def commands():
    lines = [
        line
        for language, block in BLOCKS
        if language == "console"
        for line in block.splitlines()
    ]
    return [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]


def environment(server):
    return {
        **os.environ,
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_BASE_URL": server.url,
        "PYTHONPATH": str(ROOT),
    }


def run(arguments, folder, env):
    done = subprocess.run(
        arguments,
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_the_readme_has_only_blocks_that_are_run_here():
    assert {language for language, _ in BLOCKS} == {"python", "console"}


def test_the_python_block_runs_as_it_stands(server, tmp_path):
    (code,) = [block for language, block in BLOCKS if language == "python"]
    server.replies(*(f"```\n[{n}, 1]\n```" for n in range(4, -6, -1)))
    (tmp_path / "task.py").write_text(code + "print(best_score, best_x)\n")
    assert run([sys.executable, "task.py"], tmp_path, environment(server)).endswith(
        "-1.0 [0, 1]\n"
    )


def test_the_commands_run_as_they_stand(server, tmp_path):
    (code,) = [block for language, block in BLOCKS if language == "python"]
    (tmp_path / "task.py").write_text(code[: code.index("best_score")])
    server.replies(*(f"```\n[{n}, 1]\n```" for n in range(20, 0, -1)))
    name, ran = None, []
    for program, *arguments in commands():
        if program != "llm-optimize":
            continue
        arguments = [
            name or word if word == "amber-birch" else word for word in arguments
        ]
        out = run(
            [sys.executable, "-m", "llm_optimize", *arguments],
            tmp_path,
            environment(server),
        )
        ran.append(arguments[0])
        if arguments[0] == "list":
            name = re.search(r"[a-z]+-[a-z]+", out.split("trials")[-1])[0]
        if arguments[0] == "best":
            assert out == "[1, 1]\n"
    assert ran == ["run", "list", "show", "best", "resume", "report"]


def test_the_other_commands_are_those_of_the_project():
    rest = [words for words in commands() if words[0] != "llm-optimize"]
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M)
    for program, *arguments in rest:
        assert program in ("make", "pip")
        if program == "make":
            assert arguments[0] in targets
        else:
            assert re.fullmatch(r"\.(\[(automl|view)\])?", arguments[1])


@pytest.mark.parametrize("path", re.findall(r"\]\(([^):]+)\)", README))
def test_what_the_readme_points_to_exists(path):
    assert (ROOT / path).exists()
