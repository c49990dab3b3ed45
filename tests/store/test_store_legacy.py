"""A store of an earlier format opens, is brought up to date, and loses nothing."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from test_store_faults import check_integrity, program

from llm_optimize import optimize
from llm_optimize.errors import NewerStore, StoreError
from llm_optimize.records import Plan, Status, Trial, Usage
from llm_optimize.store import Store
from llm_optimize.store.database import VERSION

OLD = Path(__file__).parents[1] / "data" / "store_v1.db"  # written by format 1


@pytest.fixture
def path(tmp_path):
    return Path(shutil.copy(OLD, tmp_path / "runs.db"))


def schema(path):
    with closing(sqlite3.connect(path)) as connection:
        tables = [
            name
            for (name,) in connection.execute(
                "select name from sqlite_master where type = 'table'"
            )
        ]
        indexes = connection.execute(
            "select name from sqlite_master where type = 'index' order by name"
        ).fetchall()
        return {
            table: connection.execute(f"pragma table_info({table})").fetchall()
            for table in tables
        }, indexes


def test_a_store_of_format_1_holds_what_it_held(path):
    paid = Usage(1, 10, 5, 2, 1, 0.25)
    with closing(Store(str(path), create=False)) as store:
        assert [
            (info.name, info.trials, info.best_score, info.stop_reason)
            for info in store.runs()
        ] == [
            ("amber", 2, 0.1, "killed"),
            ("birch", 0, None, None),
        ]
        run = store.run("amber")
        assert (run.settings["seed"], run.func_version, run.origin) == (7, None, None)
        metrics, instances = {"size": 3.0}, {"a": 1.0}
        x0 = Trial.of(
            0,
            "1",
            Status.COMPLETE,
            "x0",
            0.1,
            "ok é",
            metrics=metrics,
            instances=instances,
            output="out",
            seconds=0.5,
        )
        failed = Trial.of(
            1,
            {"b": [1, 2.5, None]},
            Status.FAILED,
            "model:gpt",
            feedback="no",
            parent=0,
            usage=paid,
        )
        assert run.trials() == [x0, failed]
        planned, proposed = run.pending()
        assert (planned.number, planned.plan.parent, planned.proposal) == (2, x0, None)
        assert (proposed.number, proposed.proposal.x) == (3, "3")
        answered, uncertain, error = run.calls()
        assert (answered.reply.usage, answered.cost_usd, answered.reply.reasoning) == (
            paid,
            0.25,
            "thought",
        )
        assert (uncertain.uncertain, error.error, error.cost_usd) == (
            True,
            "down",
            None,
        )


def test_it_becomes_like_a_new_one(path, tmp_path):
    Store(str(path)).close()
    Store(str(tmp_path / "new.db")).close()
    assert schema(path) == schema(tmp_path / "new.db")
    check_integrity(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("select version from llm_optimize").fetchall() == [
            (VERSION,)
        ]


def test_it_goes_on_with_what_is_new(path):
    with closing(Store(str(path))) as store:
        run = store.hold("amber", func_version="v1")
        run.plan(4, Plan(None))
        run.finish(Trial.of(4, "4", Status.COMPLETE, "m", score=4.0, seed=2**32 - 1), 3)
        assert run.trials()[-1].seed == 2**32 - 1
        assert [trial.seed for trial in run.trials()[:-1]] == [None, None]
        assert store.known_score("v1", "4").score == 4.0
        assert store.known_score("v1", "1") is None  # nobody knows which f judged it
        assert [trial.number for trial in store.fork("amber", 1).trials()] == [0, 1]


def test_a_run_of_format_1_is_resumed(tmp_path):
    fresh = tmp_path / "runs.db"
    result = optimize.run(
        "d",
        "q",
        float,
        "1",
        1,
        "mutation",
        False,
        store=str(fresh),
        name="amber",
        sandbox="inline",
    )
    to_format_1(fresh)
    more = optimize.resume("amber", float, store=str(fresh), max_steps=3, verbose=False)
    assert more.scores[:2] == result.scores
    assert len(more.scores) == 4


def to_format_1(path):
    """Take away what formats 2 to 5 added."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            """
            drop index trial_by_score_key;
            drop table holder;
            drop table scored_again;
            drop table steer;
            alter table run drop column func_version;
            alter table run drop column fork_of;
            alter table run drop column fork_at;
            alter table trial drop column seed;
            alter table trial drop column score_key;
            alter table trial drop column scorings;
            alter table trial drop column standard_error;
            alter table trial drop column stage;
            alter table trial drop column lesson;
            alter table trial drop column decision;
            alter table trial drop column note;
            alter table trial drop column scores;
            alter table run drop column test_scores;
            alter table run drop column tags;
            alter table run drop column session_at;
            alter table call drop column cost_usd;
            update llm_optimize set version = 1;
            """
        )


def test_a_migration_that_cannot_be_finished_changes_nothing(path):
    """The name of the new table is taken, so that the last step fails."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table holder (x)")
    before = schema(path)
    with pytest.raises(StoreError, match="table holder already exists"):
        Store(str(path))
    assert schema(path) == before
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("select version from llm_optimize").fetchall() == [
            (1,)
        ]


MANY = """
import sqlalchemy, sys
from llm_optimize.store import Store
print("ready", flush=True)
sys.stdin.readline()
print(len(Store(sys.argv[1]).run("amber").trials()))
"""


def test_several_processes_may_migrate_at_the_same_time(path):
    openers = [program(MANY, path) for _ in range(4)]
    for opener in openers:
        assert opener.stdout.readline() == "ready\n"
    for opener in openers:
        opener.stdin.write("go\n")
        opener.stdin.flush()
    assert [opener.communicate()[0] for opener in openers] == ["2\n"] * 4
    check_integrity(path)


def test_a_newer_format_is_refused_and_left_as_it_is(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("update llm_optimize set version = 99")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(NewerStore, match="format 99, this one knows"):
        Store(str(path))
    assert path.read_bytes() == before
