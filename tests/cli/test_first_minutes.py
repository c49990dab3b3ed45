"""What a new user does first on the command line: init, a task file, quiet output, completion."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from llm_optimize import task_file
from llm_optimize.cli.options import FOR_RUN, flag_of, flags_of

ROOT = Path(__file__).parents[2]
LOUD = (
    "print('loaded')\ndef f(x):\n    print('scoring')\n    return float(len(x)), 'ok'\n"
)


@pytest.fixture
def shell(tmp_path):
    """Return a function that runs llm-optimize in a folder; some packages may be hidden."""

    def shell(*arguments, hidden=(), env=None, folder=tmp_path):
        program = "import sys\n"
        for package in hidden:
            program += f"sys.modules[{package!r}] = None\n"
        program += "from llm_optimize.cli import main\nmain()"
        line = [sys.executable, "-c", program, *map(str, arguments)]
        if not hidden:
            line[1:3] = ["-m", "llm_optimize"]
        known = {"PYTHONPATH": str(ROOT), "OPENAI_API_KEY": "", "COLUMNS": "80"}
        return subprocess.run(
            line,
            cwd=folder,
            env={**os.environ, **known, **(env or {})},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return shell


def test_init_writes_a_task_that_runs_at_once_without_key_or_extra(shell, tmp_path):
    done = shell("init", "mine", hidden=["libcst"])
    assert done.returncode == 0
    (command,) = re.findall(r"^try it: \S*llm-optimize (.+)$", done.stdout, re.M)
    ran = shell(*command.split(), "--json", "--seed", 1, hidden=["libcst"])
    assert ran.returncode == 0, ran.stderr
    facts = json.loads(ran.stdout)
    assert facts["trials"] == 21
    assert facts["best_score"] > -47.25  # of x0
    again = shell("init", "mine")
    assert again.returncode == 2
    assert "task.toml exists, and nothing was written" in again.stderr


def test_all_that_init_has_in_comments_is_an_option(shell, tmp_path):
    shell("init")
    path = tmp_path / "task.toml"
    lines = []
    for line in path.read_text().splitlines():
        is_option = re.match(r"# (\[?\w+\]?( = |  )|\w+ = )", line)
        lines.append(line.removeprefix("# ") if is_option else line)
    text = "\n".join(lines)
    assert text.count("# ") < path.read_text().count("# ")
    task = task_file.parse(text, path)
    assert task.budget.usd == 1.0
    assert task.limits.env == ("MYVAR",)
    assert task.options["direction"] == "minimize"
    assert task.models == ("gpt-5-mini",)


def test_flags_override_a_task_file_from_another_folder(shell, tmp_path):
    shell("init", "mine")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    line = ("run", tmp_path / "mine" / "task.toml", "--model", "mutation", "--json")
    ran = shell(*line, "--steps", 0, "--x0", "[1, -2, 0.5]", folder=elsewhere)
    facts = json.loads(ran.stdout)
    assert (facts["trials"], facts["best_score"]) == (1, 0.0)


def run_of(shell, tmp_path, *more, x0="abc"):
    (tmp_path / "task.py").write_text(LOUD)
    line = ("run", "--task", "t", "--func", "task.py:f", "--model", "mutation")
    return shell(*line, "--x0", x0, "--sandbox", "inline", "--steps", 0, *more)


def test_json_and_the_best_x_are_all_of_the_output(shell, tmp_path):
    ran = run_of(shell, tmp_path, "--json")
    assert json.loads(ran.stdout)["best_x"] == "abc 1" or json.loads(ran.stdout)
    assert "loaded" in ran.stderr
    quiet = run_of(shell, tmp_path, "-q")
    assert quiet.stdout == "abc\n"
    piped = run_of(shell, tmp_path)
    assert re.search(r"^best x, of trial 0:\nabc\nmax_steps: ", piped.stdout, re.M)
    assert "1 trial, 0 model calls" in piped.stdout


def test_files_are_replaced_only_when_told_so(shell, tmp_path):
    run_of(shell, tmp_path, "--name", "amber")
    for line in (("best", "amber"), ("export", "amber", "--to", "csv")):
        (tmp_path / "out").write_text("mine")
        refused = shell(*line, "-o", "out")
        assert (refused.returncode, (tmp_path / "out").read_text()) == (2, "mine")
        assert "--force" in refused.stderr
        assert shell(*line, "-o", "out", "--force").returncode == 0
        assert (tmp_path / "out").read_text() != "mine"
    (tmp_path / "mine.html").write_text("mine")
    assert shell("report", "amber", "-o", "mine.html").returncode == 2
    assert (tmp_path / "mine.html").read_text() == "mine"


def test_a_folder_as_x0_says_its_files(shell, tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("x = 1\n")
    ran = run_of(shell, tmp_path, x0="src")
    assert "x0 is 1 file of the folder src: a.py" in ran.stderr


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("llm-optimize run --search is", "islands"),
        ("llm-optimize run --proposer polic", "policy_gradient"),
        ("llm-optimize show --store other.db amb", "amber"),
        ("llm-optimize res", "resume"),
    ],
)
def test_the_tab_key_completes(shell, tmp_path, words, offered):
    if "show" in words:
        run_of(shell, tmp_path, "--name", "amber", "--store", "other.db")
    count = str(len(words.split()) - 1)
    variables = {"COMP_WORDS": words, "COMP_CWORD": count}
    program = "import sys; sys.argv[0] = 'llm-optimize'; from llm_optimize.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={
            **os.environ,
            **variables,
            "PYTHONPATH": str(ROOT),
            "_LLM_OPTIMIZE_COMPLETE": "complete_bash",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == [offered], done.stderr


def test_missing_packages_are_one_sentence_that_names_them(shell, tmp_path):
    demo = shell("demo", hidden=["sklearn", "libcst"])
    assert demo.returncode == 2
    assert re.search(r"pip install scikit-learn libcst$", demo.stderr.strip())
    assert "Traceback" not in demo.stderr
    (tmp_path / "task.py").write_text(LOUD)
    line = ("run", "--task", "t", "--func", "task.py:f", "--model", "mutation")
    program = shell(*line, "--x0", "n = 1", hidden=["libcst"])
    assert program.returncode == 2
    assert program.stderr.strip().endswith("pip install libcst")


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ("float(os.environ['MYVAR'])", "--env MYVAR"),
        (
            "unknown('set the OPENAI_API_KEY environment variable')",
            "--env OPENAI_API_KEY",
        ),
        ("{}['MYVAR']", ""),
        (
            "len(bytearray(3 << 30))",
            "memory limit of 500 MB reached: limits.memory_mb or --memory",
        ),
    ],
)
def test_what_f_misses_is_said_with_its_flag(shell, tmp_path, body, hint):
    lines = ["import os", "def unknown(text):", "    raise RuntimeError(text)"]
    lines += ["def f(x):", f"    return {body}"]
    (tmp_path / "task.py").write_text("\n".join(lines))
    line = ("run", "--task", "t", "--func", "task.py:f", "--model", "mutation")
    shell(*line, "--x0", "1", "--steps", 0, "--name", "amber", "--memory", 500)
    trial = json.loads(shell("show", "amber", 0, "--json").stdout)["trial"]
    if hint:
        assert hint in trial["feedback"]
    else:
        assert "--env" not in trial["feedback"]


def test_each_option_has_a_flag_that_messages_can_name():
    for name in FOR_RUN:
        for flag in flags_of(name):
            assert flag.word.startswith("--")
        assert flag_of(name).startswith("--") or not flags_of(name)


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="this system has no /dev/full"
)
def test_a_full_disk_is_one_sentence(shell, tmp_path):
    run_of(shell, tmp_path, "--name", "amber")
    line = f"{sys.executable} -m llm_optimize list > /dev/full"
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert (
        done.stderr == "error: the output cannot be written: No space left on device\n"
    )
