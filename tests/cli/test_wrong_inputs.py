"""Wrong inputs of the command line: one sentence in its own words, exit code 2, nothing written."""

from __future__ import annotations

import json
import re
import sys

import pytest

from llm_optimize import settings
from llm_optimize.cli import main
from llm_optimize.records import Limits

OK = ("--task", "Raise f.", "--func", "task.py:f", "--x0", "1", "--model", "mutation")
SPACE = ("--task", "Raise f.", "--func", "task.py:f", "--proposer", "random", "--space")
TWO = ("--contender", "best", "--contender", "chat")
FILES = {
    "task.py": "def f(x):\n    return 1.0\nnumber = 5\n",
    "broken.py": "x = 1\nx / 0\n",
    "ends.py": "import sys\ndef f(x):\n    return 1.0\nsys.exit(0)\n",
    "parses.py": "import argparse\np = argparse.ArgumentParser()\np.add_argument('a')\n"
    "p.parse_args()\n",
    "random.py": "def f(x):\n    return 1.0\n",
    "openai.py": "def f(x):\n    return 1.0\n",
    "latin.txt": b"\xe9t\xe9",
    "space.json": '{"lr": {"kind": "float", "low": 0, "high": 1}}',
    "list.json": "[1, 2]",
    "number.json": '{"lr": 5}',
    "empty.json": "{}",
    "cut.json": '{"lr": ',
    "kind.json": '{"lr": {"kind": "flaot", "low": 0, "high": 1}}',
    "high.json": '{"lr": {"kind": "float", "low": 0}}',
    "word.json": '{"lr": {"kind": "float", "low": 0, "hihg": 1}}',
    "text.json": '{"lr": {"kind": "int", "low": "a", "high": 1}}',
    "range.json": '{"lr": {"kind": "float", "low": 2, "high": 1}}',
    "half.json": '{"lr": {"kind": "int", "low": 0.5, "high": 2}}',
    "options.json": '{"lr": {"kind": "choice"}}',
    "no_list.json": '{"lr": {"kind": "choice", "options": "ab"}}',
    "schema.json": '{"type": "object", "properties": {"name": {"type": "string"}}}',
    "cut.toml": "task = ",
    "key.toml": 'task = "t"\nfunc = "task.py:f"\nstesp = 4\n',
    "no_task.toml": 'func = "task.py:f"\n',
    "no_file.toml": 'task = "t"\nfunc = "nowhere.py:f"\n',
    "value.toml": 'task = "t"\nfunc = "task.py:f"\nworkers = "two"\n',
}
WRONG = [
    # The task and f.
    ((), "--task is missing: add it, or name a TASK.toml"),
    (("--task", "t"), "--func is missing: add it"),
    ((*OK, "--task", ""), "--task is missing"),
    ((*OK, "--task", "@nowhere.txt"), "the file nowhere.txt cannot be read"),
    ((*OK, "--task", "@latin.txt"), "the file latin.txt is not UTF-8 text"),
    (
        (*OK, "--func", "task.py"),
        "--func is 'task.py', which names no function: write FILE",
    ),
    ((*OK, "--func", ":f"), "--func is ':f', which names no function"),
    ((*OK, "--func", "task.py:g"), "task.py has no function 'g': known are f"),
    (
        (*OK, "--func", "task.py:number"),
        "number in task.py is of type int, not a function",
    ),
    ((*OK, "--func", "nowhere.py:f"), "the file nowhere.py of --func does not exist"),
    ((*OK, "--func", "no_such_module:f"), "No module named 'no_such_module'"),
    (
        (*OK, "--func", "broken.py:f"),
        "broken.py cannot be imported: ZeroDivision.*line 2",
    ),
    (
        (*OK, "--func", "ends.py:f"),
        r"ends the program when it is imported \(exit code 0\)",
    ),
    (
        (*OK, "--func", "parses.py:f"),
        r"ends the program when it is imported \(exit code 2\)",
    ),
    ((*OK, "--func", "random.py:f"), "would hide: rename it, such as my_random.py"),
    ((*OK, "--func", "openai.py:f"), "would hide: rename it, such as my_openai.py"),
    # x0.
    ((*OK, "--x0", ""), "--x0 is empty: give a text, or the name of a folder"),
    ((*OK, "--x0", "  "), "--x0 is empty"),
    (
        (*OK, "--x0", "task.py"),
        "the name of a file: --x0-file task.py takes what is in it",
    ),
    ((*OK, "--x0", "empty"), "the folder empty of --x0 has no file"),
    ((*OK, "--x0-file", "nowhere.txt"), "the file nowhere.txt cannot be read"),
    ((*OK[:4], "--model", "mutation"), "give --x0 or --space, or another model"),
    # Numbers.
    ((*OK, "--steps", "-1"), r"--steps is -1: give 0 \(score x0 only\) or more"),
    ((*OK, "--steps", "many"), "Invalid value for '--steps'"),
    ((*OK, "--workers", "0"), "--workers is 0: give how many scorings"),
    ((*OK, "--model-slots", "0"), "--model-slots is 0: give how many candidates"),
    ((*OK, "--timeout", "0"), "--timeout is 0.0: a scoring needs more than 0 s"),
    ((*OK, "--timeout", "nan"), "--timeout is nan"),
    ((*OK, "--stop-score", "nan"), "--stop-score is nan: give a number"),
    ((*OK, "--max-score", "inf"), "--max-score is inf: give a finite number"),
    ((*OK, "--tune", "-1"), "--tune is -1"),
    (
        (*OK, "--repeats", "1"),
        "--repeats is 1: give a whole number of scorings, at least 2",
    ),
    ((*OK, "--max-prompt-tokens", "0"), "--max-prompt-tokens is 0"),
    ((*OK, "--temperature", "nan"), "--temperature is nan: give a number"),
    # Budget and limits.
    ((*OK, "--max-usd", "0"), "--max-usd is 0.0, it must be more than 0"),
    ((*OK, "--max-scorings", "0"), "--max-scorings is 0, it must be more than 0"),
    ((*OK, "--max-seconds", "-2"), "--max-seconds is -2.0"),
    ((*OK, "--max-calls", "0"), "--max-calls is 0"),
    ((*OK, "--stale-steps", "0"), "--stale-steps is 0"),
    ((*OK, "--memory", "0"), "--memory is 0, it must be at least 1"),
    ((*OK, "--limit", "memory=5"), "unknown limit 'memory': did you mean 'memory_mb'"),
    ((*OK, "--limit", "processes=few"), "processes takes a whole number"),
    ((*OK, "--limit", "processes=0"), "--limit processes is 0, it must be at least 1"),
    ((*OK, "--limit", "cpu_secs=0"), "--limit cpu_secs is 0.0, it must be more than 0"),
    (
        (*OK, "--model", "m", "--max-usd", "1"),
        "--max-usd is 1, .* such as --price 0.25/2",
    ),
    ((*OK, "--model", "m", "--price", "cheap"), "--price is 'cheap': write dollars"),
    (
        (*OK, "--model", "m", "--price=-1/2"),
        "write dollars per million|give US dollars",
    ),
    # Names.
    ((*OK, "--search", "bets"), "unknown search 'bets': did you mean 'best'"),
    ((*OK, "--proposer", "mutatoin"), "--proposer is 'mutatoin': give one of the two"),
    ((*OK, "--proposer", "tpe"), "--proposer is 'tpe': give one of the two"),
    ((*OK, "--temperature", "0.5"), "--temperature is 0.5, and mutation asks no model"),
    ((*OK, "--price", "1/2"), "--price is '1/2', and mutation asks no model"),
    ((*OK[:4], "--proposer", "tpe"), "chooses values of parameters: give --space"),
    ((*OK, "--sandbox", "proces"), "unknown sandbox 'proces': did you mean 'process'"),
    ((*OK, "--direction", "down"), "--direction|unknown direction"),
    ((*OK, "--reflect"), "--reflect asks a model for lessons, .* remove it"),
    ((*OK, "--no-such-option"), "No such option: --no-such-option"),
    ((*OK, "--store", "task.py"), "is no database|is not a database"),
    ((*OK, "--store", "no/where/runs.db"), "does not exist"),
    # The space, and x0 with it.
    ((*SPACE, "nope.json"), "the file nope.json cannot be read: No such file"),
    ((*SPACE, "cut.json"), "the file cut.json of --space is not JSON"),
    ((*SPACE, "list.json"), "an object with the parameters by name, or a JSON schema"),
    ((*SPACE, "number.json"), 'an object with its "kind", such as {"kind": "float"'),
    ((*SPACE, "empty.json"), "the space is empty: name at least one parameter"),
    ((*SPACE, "kind.json"), "unknown kind of parameter 'flaot': did you mean 'float'"),
    ((*SPACE, "high.json"), "the parameter 'lr' has no 'high': give it"),
    (
        (*SPACE, "word.json"),
        "unknown field of the parameter 'lr' 'hihg': did you mean 'high'",
    ),
    ((*SPACE, "text.json"), "the low of the parameter 'lr' is 'a': give a number"),
    ((*SPACE, "range.json"), "the range from 2.0 to 1.0 is empty"),
    ((*SPACE, "half.json"), 'give a whole number, or use the kind "float"'),
    ((*SPACE, "options.json"), "the parameter 'lr' has no 'options'"),
    ((*SPACE, "no_list.json"), "the options are 'ab': give a list"),
    ((*SPACE, "schema.json"), "free text has no range: list its values as enum"),
    (
        (*SPACE, "space.json", "--x0", "0.5"),
        "--x0 is '0.5': with --space, x0 is a JSON object",
    ),
    ((*SPACE, "space.json", "--x0", '{"rl": 1}'), "unknown parameter 'rl'"),
    (
        (*SPACE, "space.json", "--x0-file", "task.py"),
        "the file task.py of --x0-file is",
    ),
    # Task files.
    (("nowhere.toml",), "the file nowhere.toml cannot be read"),
    (("cut.toml",), "cut.toml is not TOML"),
    (("key.toml",), "unknown key in key.toml 'stesp'"),
    (("no_task.toml",), "no_task.toml has no 'task', which every task needs"),
    (
        ("no_file.toml",),
        "no_file.toml: the file nowhere.py of func does not exist beside it",
    ),
    (("value.toml",), "value.toml: workers is 'two': give a whole number"),
]
# What Python calls things, and a person at a shell has never heard of.
PYTHON_WORDS = [name for name in settings.options() if "_" in name]
PYTHON_WORDS += ["limits.", "budget.", "records.", "llm.", "space={", "model=", "pass "]
PYTHON_WORDS += [
    "None",
    "True",
    "Float",
    "Choice(",
    "a dict",
    "Traceback",
    "UsageError",
]


@pytest.fixture
def said(tmp_path, monkeypatch, capsys):
    """Return a function that runs the command line, and returns its sentence and exit code."""
    for name, text in FILES.items():
        data = text if isinstance(text, bytes) else text.encode()
        (tmp_path / name).write_bytes(data)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = dict(sys.modules)

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main([*map(str, arguments)])
        output = capsys.readouterr()
        return output.err, end.value.code, output.out

    yield run
    for name in set(sys.modules) - set(before):
        if name in ("task", "broken", "ends", "parses"):
            del sys.modules[name]


def test_the_table_is_long():
    assert len(WRONG) >= 60


@pytest.mark.parametrize(("arguments", "words"), WRONG)
def test_a_wrong_input_is_one_sentence_in_words_of_the_shell(
    said, tmp_path, arguments, words
):
    sentence, code, out = said("run", *arguments)
    line = sentence.strip().splitlines()[-1]
    assert code == 2, sentence
    assert re.search(words, line), line
    assert line.startswith("error: ")
    assert out == ""
    if not any(
        "parses.py" in one for one in arguments
    ):  # argparse prints its own usage
        assert len(sentence.strip().splitlines()) == 1, sentence
    if ".toml" not in " ".join(arguments):  # the keys of a file are the names in Python
        found = [word for word in PYTHON_WORDS if word in line]
        allowed = [name for name in Limits.__dataclass_fields__ if name in line]
        assert found == [] or allowed, line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("resume", "amber"), "there is no store"),
        (("compare", *TWO), "--task is missing"),
        (("compare", *OK, *TWO, "--seeds", "0"), "--seeds is 0: give how many"),
        (("compare", *OK, *TWO, "--contender", "bets"), "unknown contender 'bets'"),
        (("compare", *OK, *TWO[:2]), "best has nothing to compare with: give two"),
        (("steer", "amber", "stopp"), "there is no store|did you mean"),
        (("nonsense",), "No such command 'nonsense'"),
        (("check",), "nothing to check was named: add --sandbox"),
    ],
)
def test_other_commands_speak_the_same_way(said, arguments, words):
    sentence, code, _ = said(*arguments)
    assert code == 2
    assert re.search(words, sentence)
    assert [word for word in PYTHON_WORDS if word in sentence] == []


def test_a_missing_key_names_flags(said, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL")
    sentence, code, _ = said("run", *OK[:6])
    assert code == 2
    assert "export OPENAI_API_KEY=" in sentence
    assert "--base-url" in sentence
    assert "--model mutation" in sentence
    assert "llm.Chat" not in sentence


def test_x0_with_a_space_is_json(said):
    given = (*SPACE, "space.json", "--x0", '{"lr": 0.5}', "--steps", "0", "--json")
    _, code, out = said("run", *given)
    assert code == 0
    assert json.loads(out)["best_x"] == {"lr": 0.5}


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_whole_and_speaks_no_python(said, flag):
    _, code, out = said(flag)
    assert code == 0
    assert "..." not in out.replace("[ARGS]...", "")
    assert "130 interrupted" in out
    _, _, show = said("show", flag)
    assert "show [OPTIONS] NAME [TRIAL]" in show
    assert "tag [OPTIONS] NAME WORD..." in said("tag", "--help")[2]
    _, _, run = said("run", flag)
    assert "list[str]" not in run
    assert "[default: 10]" in run
