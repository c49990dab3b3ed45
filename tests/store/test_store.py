"""Store: what is written survives and is read back the same, and wrong files are refused."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from builders import write_finished
from llm_optimize.errors import NewerStore, NotAStore, RunNotFound, UsageError
from llm_optimize.records import Plan, Proposal, Reply, Status, Trial, Usage
from llm_optimize.store import Store

X0 = Trial.of(
    0,
    "a",
    Status.COMPLETE,
    "x0",
    score=0.1,
    feedback="bad \ud800",
    metrics={"size": 3.0},
    output="\x00out",
)
FAILED = Trial.of(
    1,
    {"b": [1, 2.5, None]},
    Status.FAILED,
    "model:m",
    feedback="no",
    parent=0,
    usage=Usage(1, 10, 5),
)


@pytest.fixture
def store(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'runs.db'}")
    yield store
    store.close()


def test_trials_come_back_as_they_were_and_in_the_order_of_finishing(store):
    run = store.create_run("amber", {"seed": 1})
    run.plan(0, Plan(None))
    run.plan(1, Plan(None))
    run.finish(FAILED, 1)
    run.finish(X0, 2)
    first, second = store.run("amber").trials()
    assert second.x == "a"
    assert second.score == 0.1  # to the last bit
    assert second.feedback == "bad \\ud800"  # no database holds a lone surrogate
    assert second.metrics == {"size": 3.0}
    assert second.output == "\x00out"
    assert (first.x, first.status, first.usage) == (
        FAILED.x,
        Status.FAILED,
        FAILED.usage,
    )


def test_a_pending_trial_comes_back_with_its_plan_and_its_proposal(store):
    run = store.create_run("amber", {})
    write_finished(run, X0, 1)
    write_finished(run, FAILED, 2)
    plan = Plan(
        parent=X0, context=(X0,), failures=(FAILED,), transcript=True, hint="try less"
    )
    run.plan(2, plan)
    run.plan(3, plan)
    run.propose(3, Proposal("c", "model:m", Usage(1)))
    planned, proposed = run.pending()
    assert (planned.number, planned.proposal) == (2, None)
    assert planned.plan.parent.number == 0
    assert [trial.number for trial in planned.plan.failures] == [1]
    assert (planned.plan.transcript, planned.plan.hint) == (True, "try less")
    assert proposed.proposal == Proposal("c", "model:m", Usage(1))


def test_a_call_is_uncertain_between_sending_and_its_reply(store):
    run = store.create_run("amber", {})
    call = run.sent(2, 0, "gpt", [{"role": "user", "content": "hi \ud800"}])
    assert run.calls(2)[0].uncertain
    reply = Reply(
        "text \ud800", Usage(1, 3, 4, cost_usd=0.5), "gpt", 1.5, "thought", "length"
    )
    run.received(call, reply)
    failed = run.sent(2, 1, "gpt", [])
    run.call_failed(failed, "no \ud800")
    answered, error = run.calls(2)
    assert answered.reply == reply
    assert answered.messages == [{"role": "user", "content": "hi \ud800"}]
    assert not answered.uncertain
    assert not error.uncertain
    assert run.calls(5) == []


def test_runs_are_listed_with_their_best(store):
    write_finished(store.create_run("amber", {}), X0, 1)
    run = store.create_run("birch", {"task": "t"})
    write_finished(run, X0, 1)
    write_finished(run, FAILED, 2)
    run.end("max_steps")
    store.create_run("cedar", {})
    assert [
        (info.name, info.trials, info.best_score, info.stop_reason)
        for info in store.runs()
    ] == [
        ("amber", 1, 0.1, None),
        ("birch", 2, 0.1, "max_steps"),
        ("cedar", 0, None, None),
    ]


def test_a_taken_name_and_an_unknown_one_are_refused_with_a_repair(store):
    store.create_run("amber", {})
    with pytest.raises(
        UsageError, match=r"exists in .*: go on with it by load_if_exists=True"
    ):
        store.create_run("amber", {})
    with pytest.raises(RunNotFound, match="did you mean 'amber'"):
        store.run("ambre")


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda path: path.write_text("no database " * 1000),
            NotAStore,
            "not a database",
        ),
        (lambda path: path.mkdir(), NotAStore, "is a folder"),
        (
            lambda path: (
                sqlite3.connect(path).execute("create table t (x)").connection.close()
            ),
            NotAStore,
            "something else",
        ),
    ],
)
def test_what_is_no_store_is_refused_and_not_damaged(tmp_path, make, error, words):
    path = tmp_path / "runs.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(error, match=words):
        Store(f"sqlite:///{path}")
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_newer_store_is_refused(tmp_path):
    path = tmp_path / "runs.db"
    Store(str(path)).close()
    connection = sqlite3.connect(path)
    connection.execute("update llm_optimize set version = 99")
    connection.commit()
    connection.close()
    with pytest.raises(NewerStore, match="format 99"):
        Store(str(path))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense://x", "not a database URL"),
        ("sqlite://", "in memory would be lost"),
    ],
)
def test_a_url_that_cannot_work_is_refused(url, words):
    with pytest.raises(UsageError, match=words):
        Store(url)


def test_a_missing_folder_or_file_is_named(tmp_path):
    with pytest.raises(NotAStore, match="does not exist"):
        Store(f"sqlite:///{tmp_path}/no/runs.db")
    with pytest.raises(NotAStore, match="there is no store"):
        Store(f"sqlite:///{tmp_path}/runs.db", create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_does_not_wait_for_a_writer(store):
    run = store.create_run("amber", {})
    write_finished(run, X0, 1)
    reader = Store(store.url)
    with store.begin() as connection:
        connection.execute(store.tables.run.update().values(stop_reason="soon"))
        assert reader.run("amber").trials()[0].number == 0
        assert reader.runs()[0].stop_reason is None
    reader.close()


WRITER = """
import sys
from llm_optimize.store import Store
from llm_optimize.records import Plan, Trial, Status
run = Store(sys.argv[1]).create_run("amber", {})
for number in range(100_000):
    run.plan(number, Plan(None))
    run.finish(Trial.of(number, "x" * 1000, Status.COMPLETE, "m", score=float(number)), number + 1)
    print(number, flush=True)
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path):
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ},
    ) as writer:
        acknowledged = [int(writer.stdout.readline()) for _ in range(50)][-1]
        writer.send_signal(
            signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM
        )
        acknowledged = max(
            [acknowledged, *map(int, writer.stdout.read().split("\n")[:-1])]
        )
    store = Store(url)
    numbers = [trial.number for trial in store.run("amber").trials()]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > acknowledged
    store.close()
