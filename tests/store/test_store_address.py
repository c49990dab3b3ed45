"""Odd names of folders and files: each leads to exactly that file, or is refused."""

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from llm_optimize import optimize
from llm_optimize.errors import LlmOptimizeError, UsageError
from llm_optimize.store import Store, option_of
from pages import TASK

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
NAMES = [
    "q?mark",
    "q?mode=1",
    "hash#tag",
    "per%20cent",
    "100%",
    "%2e%2e",
    "a&b=c",
    "a b  c",
    "it's",
    'a "quote"',
    "ünï-日本-👩‍💻",
    "new\nline",
    "dots...",
    "~",
    "a:b@c",
    "$(touch pwned);`x`",
    "sqlite:",
    "-dash",
    "back\\slash",
]
posix = pytest.mark.skipif(os.name != "posix", reason="names that only POSIX has")
pytestmark = posix


def files_below(folder):
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    )


def new_run(where):
    with closing(Store(where)) as store:
        store.create_run("amber", {"task": TASK}).close()
        return store.url


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "form", [str, Path, "sqlite:///{}".format, "sqlite+pysqlite:///{}".format]
)
def test_each_name_is_taken_literally(tmp_path, name, form):
    (tmp_path / name).mkdir()
    url = new_run(form(tmp_path / name / "runs.db"))
    assert files_below(tmp_path) == [f"{name}/runs.db"]
    with closing(Store(url, create=False)) as again:
        assert again.names() == ["amber"]
        assert again.files[0] == str(tmp_path / name / "runs.db")


@pytest.mark.parametrize("name", NAMES)
def test_a_relative_path_is_one(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    url = new_run(f"{name}/runs.db")
    monkeypatch.chdir(tmp_path / name)
    new_run(Path(f"{name}.db"))
    assert files_below(tmp_path) == sorted([f"{name}/runs.db", f"{name}/{name}.db"])
    monkeypatch.chdir(tmp_path)
    with closing(Store(url, create=False)) as again:
        assert again.names() == ["amber"]


def test_an_open_store_stays_where_it_is_though_the_program_goes_elsewhere(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "else").mkdir()
    with closing(Store("runs.db")) as store:
        monkeypatch.chdir(tmp_path / "else")
        store.create_run("amber", {}).close()
    assert files_below(tmp_path) == ["runs.db"]


def test_what_reads_like_options_is_refused_in_a_url_and_a_name_in_a_path(tmp_path):
    for options in ("?mode=ro", "?timeout=5&uri=true", "?immutable=1"):
        path = tmp_path / f"runs.db{options}"
        with pytest.raises(UsageError, match="a file takes no options: leave them out"):
            Store(f"sqlite:///{path}")
        assert not files_below(tmp_path)
        url = new_run(path)
        assert files_below(tmp_path) == [path.name]
        with closing(Store(url, create=False)) as again:
            assert again.names() == ["amber"]
        path.unlink()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "name a file"),
        ("sqlite://", "name a file"),
        ("sqlite:///", "name a file"),
        ("sqlite:///:memory:", "name a file"),
        (":memory:", "name a file"),
        ("sqlite://host/runs.db", "write sqlite:///"),
        ("a\0b", "null character"),
        (b"runs.db", "is not text and no path"),
        (7, "is not text and no path"),
        (None, "is not text and no path"),
        ("nosuch://host/x", "is not a database URL that works here"),
        ("~/nowhere/runs.db", "write the folder of ~ in full"),
        ("n" * 300, "cannot be reached|cannot be opened"),
        ("no\nwhere/runs.db", r"the folder no\\nwhere of the store"),
    ],
)
def test_what_is_no_store_is_one_sentence(tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LlmOptimizeError, match=message) as caught:
        Store(given)
    assert "\n" not in str(caught.value)
    assert files_below(tmp_path) == []


# Commands, in real processes.


def llm_optimize(folder, *arguments):
    command = [sys.executable, "-m", "llm_optimize", *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


FAST = [
    "--task",
    "Longer.",
    "--func",
    "task.py:f",
    "--x0",
    "1",
    "--model",
    "mutation",
    "--sandbox",
    "inline",
    "--seed",
    "1",
    "-q",
]


def test_runs_are_begun_looked_at_and_resumed_under_odd_names(tmp_path):
    (tmp_path / "task.py").write_text("def f(x):\n    return float(len(x))\n")
    for name in ("q?mark per%20cent", "new\nline it's $(touch pwned);`x`"):
        (tmp_path / name).mkdir()
        store = f"{name}/runs.db"
        llm_optimize(
            tmp_path, "run", *FAST, "--steps", "1", "--name", "amber", "--store", store
        )
        assert f"{name}/runs.db" in files_below(tmp_path)
        assert (
            json.loads(llm_optimize(tmp_path, "list", "--json", "--store", store))[0][
                "trials"
            ]
            == 2
        )
        assert "mutation" in llm_optimize(
            tmp_path, "show", "amber", "--store", f"sqlite:///{store}"
        )
        llm_optimize(
            tmp_path, "report", "amber", "--store", store, "-o", f"{name}/report.html"
        )
        assert (tmp_path / name / "report.html").stat().st_size > 100_000
    assert not (tmp_path / "pwned").exists()


def test_a_printed_command_leads_to_the_same_store_through_a_shell(tmp_path):
    (tmp_path / "task.py").write_text("def f(x):\n    return float(len(x))\n")
    store = tmp_path / "a 'q?' $(touch pwned)" / "runs.db"
    store.parent.mkdir()
    llm_optimize(
        tmp_path,
        "run",
        *FAST,
        "--steps",
        "1",
        "--name",
        "am ber",
        "--store",
        str(store),
    )
    output = llm_optimize(
        tmp_path, "fork", "am ber", "0", "--name", "it's", "--store", str(store)
    )
    line = output.partition("To continue: ")[2].strip()
    subprocess.run(
        ["sh", "-c", f"{line} -q"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        check=True,
        timeout=60,
    )
    with closing(Store(store, create=False)) as opened:
        assert [(run.name, run.trials) for run in opened.runs()] == [
            ("am ber", 2),
            ("it's", 2),
        ]
    assert not (tmp_path / "pwned").exists()


def test_a_path_object_is_taken_by_all_that_take_a_store(tmp_path):
    store = tmp_path / "q?mark.db"
    common = {"store": store, "verbose": False, "sandbox": "inline"}
    words = ("Longer.", "Which?", len_of, "1")
    result = optimize.run(*words, 1, "mutation", name="amber", seed=1, **common)
    assert len(optimize.resume("amber", len_of, max_steps=2, **common).trials) == 3
    assert optimize.fork("amber", 1, store=store) == "amber-2"
    contenders = {"a": "best", "b": "best_of_n"}
    inline = {"model": "mutation", "sandbox": "inline", "store": store}
    found = optimize.compare(*words, contenders=contenders, budget=2, seeds=1, **inline)
    assert len(found.standings) == 2
    result.report(tmp_path / "report.html")
    assert files_below(tmp_path) == ["q?mark.db", "report.html"]


def len_of(x):
    return float(len(x))


def test_the_usual_store_needs_no_option():
    assert option_of("sqlite:///runs.db") == ""
    assert option_of("a b.db") == " --store 'a b.db'"
