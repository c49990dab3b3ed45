"""Runs as things: their states, and how they are deleted, renamed and tagged."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from builders import complete_trial, write_finished
from llm_optimize.errors import RunHeld, RunNotFound, UsageError
from llm_optimize.records import Reply, Usage
from llm_optimize.store import Store

SECRET = "the reply that shall be gone"
DATA = Path(__file__).parents[1] / "data"
WRITER = """
import sys
from llm_optimize.store import Store
store = Store(sys.argv[1])
run = store.create_run("held", {})
run.end(None)
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


@pytest.fixture
def store(path):
    with closing(Store(path)) as opened:
        yield opened


@pytest.fixture
def writer(path):
    """Yield another process that writes the run "held"."""
    command = [sys.executable, "-c", WRITER, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def ended(store, name, score=1.0, reason="max_steps"):
    """Write a run with one trial, one reply and one command, which has finished."""
    run = store.create_run(name, {"max_steps": 1})
    run.end(None)
    call = run.sent(0, 0, "m", [{"role": "user", "content": f"to {name}: {SECRET}"}])
    run.received(call, Reply(f"{SECRET} {name}", Usage(calls=1), "m", 0.1))
    write_finished(run, complete_trial(0, score), 1)
    run.score_again(complete_trial(0, score), after=1)
    store.steer(name, "hint", f"{SECRET} {name}")
    run.end(reason)
    run.close()
    return run


def counts(path):
    """Return how many rows each table has."""
    tables = ("run", "trial", "call", "steer", "scored_again", "holder")
    with closing(sqlite3.connect(path)) as connection:
        query = "select count(*) from {}"
        found = [connection.execute(query.format(table)) for table in tables]
        return [rows.fetchone()[0] for rows in found]


def bytes_of(path):
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


# States.


def test_a_run_is_running_paused_dead_or_finished(store, writer):
    def state():
        (info,) = store.runs()
        assert info.state == store.state("held")
        return str(info.state)

    assert state() == "running"
    store.steer("held", "pause")
    assert state() == "paused"
    store.steer("held", "hint", "Smaller.")
    assert state() == "paused"
    store.steer("held", "go")
    assert state() == "running"
    store.steer("held", "pause")
    writer.kill()
    writer.wait()
    assert state() == "dead"
    with closing(store.hold("held")) as run:
        run.end(None)
        assert state() == "running", "a pause is of the session in which it was given"
        run.end("budget: scorings")
    assert state() == "finished (budget: scorings)"


def test_a_dead_or_finished_run_is_not_steered(store, writer):
    ended(store, "amber")
    writer.kill()
    writer.wait()
    for kind, text in (("pause", ""), ("go", ""), ("stop", ""), ("hint", "Smaller.")):
        with pytest.raises(
            UsageError, match=r"'amber' has finished \(max_steps\): resume"
        ):
            store.steer("amber", kind, text)
        with pytest.raises(UsageError, match=r"'held' is dead.*: resume it first"):
            store.steer("held", kind, text)
    assert counts(store.files[0])[3] == 1, "that of `ended`"


def test_a_fork_that_was_never_resumed_is_not_dead(store):
    ended(store, "amber")
    store.fork("amber", 0, "birch")
    assert str(store.state("birch")) == "finished (forked)"


def test_a_run_in_another_container_is_asked_by_its_lock(store, path):
    """Its process cannot be seen from here: whether the lock is free tells."""
    run = store.create_run("amber", {})
    lock = Path(f"{path}-{run.key}.lock")
    holder = json.loads(lock.read_text())
    boot = holder["started"].split()[0]
    lock.write_text(json.dumps({**holder, "started": f"{boot} pid:[1] 5"}))
    assert str(store.state("amber")) == "running"
    copy = lock.read_text()
    run.close()
    lock.write_text(copy)
    assert str(store.state("amber")) == "dead"


def test_the_best_of_a_run_is_what_its_champion_scored_at_last(store):
    run = store.create_run("amber", {})
    write_finished(run, complete_trial(0, 5.0), 1)
    write_finished(run, complete_trial(1, 3.0), 2)
    run.score_again(complete_trial(0, 2.0), after=2)
    assert store.info("amber").best_score == 3.0


# Delete.


def test_what_is_deleted_is_gone_from_every_table_and_from_the_file(store, path):
    ended(store, "amber")
    ended(store, "birch")
    assert bytes_of(path).count(b"the reply that shall be gone amber") >= 2
    assert store.delete("amber") == 1
    assert store.names() == ["birch"]
    assert counts(path) == [1, 1, 1, 1, 1, 0]
    assert SECRET in store.replies("birch")[0].text
    assert b"gone amber" not in bytes_of(path)
    assert b"gone birch" in bytes_of(path)
    assert [file.name for file in path.parent.glob("*.lock")] == []


def test_a_file_is_made_smaller_only_where_that_is_asked_for(store, path):
    run = store.create_run("amber", {})
    write_finished(run, complete_trial(0, 1.0, feedback="x" * 500_000), 1)
    run.close()
    ended(store, "birch")
    size = path.stat().st_size
    store.delete("amber")
    assert path.stat().st_size >= size
    store.delete("birch", compact=True)
    assert path.stat().st_size < 200_000


def test_a_run_that_is_written_is_kept_and_so_are_the_others(store, writer):
    ended(store, "amber")
    for change in (
        lambda: store.delete("amber", "held"),
        lambda: store.rename("held", "new"),
    ):
        with pytest.raises(RunHeld, match=f"held by process {writer.pid}"):
            change()
    assert store.names() == ["held", "amber"]
    with closing(store.hold("amber")):
        pass  # its lock was given back


def test_a_comparison_is_deleted_as_one_thing_only_on_purpose(store):
    for name in ("packing/best/0", "packing/best/1", "packing2/best/0", "packing"):
        ended(store, name)
    store.delete("packing")
    with pytest.raises(UsageError, match=r"'packing' is a comparison of 2 runs.*--all"):
        store.delete("packing")
    assert store.delete("packing", all_below=True) == 2
    assert store.names() == ["packing2/best/0"]


def test_a_fork_outlives_its_origin(store):
    ended(store, "amber")
    store.fork("amber", 0, "birch")
    store.delete("amber")
    run = store.run("birch")
    assert (run.last_inherited, len(run.trials()), len(run.calls())) == (0, 1, 1)


def test_an_unknown_run_is_not_deleted(store):
    ended(store, "amber")
    for change in (
        lambda: store.delete("amber", "ambr"),
        lambda: store.rename("ambr", "birch"),
        lambda: store.tag("ambr", "good"),
    ):
        with pytest.raises(RunNotFound, match="did you mean 'amber'"):
            change()
    assert store.names() == ["amber"]


def test_a_reader_of_a_deleted_run_does_not_read_a_later_one(store):
    """SQLite gives the key of a deleted row to the next one."""
    ended(store, "amber")
    old = store.run("amber")
    store.delete("amber")
    with pytest.raises(RunNotFound):
        old.progress()
    new = ended(store, "birch")
    assert new.key == old.key
    with pytest.raises(RunNotFound):
        old.progress()


# Rename.


def test_a_run_is_renamed_with_what_forks_know_of_it(store):
    ended(store, "amber")
    store.fork("amber", 0, "birch")
    store.rename("amber", "a new name")
    assert store.names() == ["a new name", "birch"]
    assert store.run("birch").origin.run == "a new name"
    assert SECRET in store.replies("a new name")[0].text


def test_a_comparison_is_renamed_with_all_its_runs(store):
    for name in ("packing/best/0", "packing/best/1", "other"):
        ended(store, name)
    store.rename("packing", "boxes")
    assert store.names() == ["boxes/best/0", "boxes/best/1", "other"]


@pytest.mark.parametrize("new", ["", " a", "a\nb", "a/", "x" * 201, "birch"])
def test_a_name_that_cannot_be_one_is_refused(store, new):
    ended(store, "amber")
    ended(store, "birch")
    with pytest.raises(UsageError):
        store.rename("amber", new)
    assert store.names() == ["amber", "birch"]


# Tags.


def test_tags_are_added_and_taken_away_also_while_a_run_goes_on(store, writer):
    ended(store, "amber")
    assert store.tag("held", "good", "best") == ("best", "good")
    assert store.tag("held", "good", "1") == ("1", "best", "good")
    assert store.tag("held", "best", "never-there", remove=True) == ("1", "good")
    assert [info.tags for info in store.runs()] == [("1", "good"), ()]
    assert writer.poll() is None
    with pytest.raises(UsageError, match="'two words'"):
        store.tag("amber", "two words")


def test_tags_of_a_comparison_are_those_of_its_runs_and_a_fork_has_none(store):
    ended(store, "packing/best/0")
    ended(store, "packing/tree/0")
    store.tag("packing", "paper")
    assert [info.tags for info in store.runs()] == [("paper",), ("paper",)]
    store.fork("packing/best/0", 0, "birch")
    assert store.info("birch").tags == ()


# Stores of earlier formats.


@pytest.mark.parametrize("version", [1, 3, 4])
def test_a_store_of_an_earlier_format_is_managed(tmp_path, version):
    path = shutil.copy(DATA / f"store_v{version}.db", tmp_path / "old.db")
    with closing(Store(path)) as store:
        names = store.names()
        states = {info.name: str(info.state) for info in store.runs()}
        assert states["amber"].startswith("finished (")
        assert states["birch"] == ("dead" if version == 1 else "finished (forked)")
        assert store.tag("amber", "old") == ("old",)
        store.rename("amber", "ambra")
        store.delete("birch")
        assert store.names() == ["ambra", *names[2:]]
