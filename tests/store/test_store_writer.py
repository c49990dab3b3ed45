"""Writer of a run: durable when awaited, in order, in groups, and no task waits for ever."""

import asyncio
import random
import sqlite3
import threading
import time
from contextlib import closing

import pytest

from llm_optimize.records import Plan, Proposal, Reply, Status, Trial, Usage
from llm_optimize.store import Store

MESSAGES = [{"role": "user", "content": "hello \ud800"}]
USAGE = Usage(1, 10, 5, cost_usd=0.5)


def finished(number, **more):
    facts = {
        "score": 1 / 3,
        "feedback": "f \udfff",
        "metrics": {"a": 1.0},
        "seed": 7,
        "lesson": "l",
        **more,
    }
    return Trial.of(number, f"x{number}", Status.COMPLETE, "model:m", **facts)


@pytest.fixture
def run(tmp_path):
    with closing(Store(str(tmp_path / "runs.db"))) as store:
        yield store.create_run("amber", {}, "v1")


def locked(run):
    """Return another program's connection, which keeps all others from writing."""
    other = sqlite3.connect(
        run.store.files[0], isolation_level=None, check_same_thread=False
    )
    other.execute("BEGIN IMMEDIATE")
    return other


def dump(run):
    """Return all rows, without the times at which they were written."""
    with closing(sqlite3.connect(run.store.files[0])) as connection:
        connection.row_factory = sqlite3.Row
        found = []
        for table in ("run", "trial", "call", "scored_again"):
            found += map(dict, connection.execute(f"SELECT * FROM {table}"))
    for row in found:
        for name in [name for name in row if name.endswith("_at")]:
            del row[name]
    return found


# What is written.

LIFE = (
    ("plan", 0, Plan(None, hint="h")),
    ("sent", 0, 0, "gpt", MESSAGES),
    ("received", 1, Reply("a \udfff", USAGE, "gpt", 0.5)),
    ("sent", 0, 1, "gpt", MESSAGES),
    ("call_failed", 2, "down \ud800"),
    ("propose", 0, Proposal("x0", "model:m", USAGE, note="n \ud800")),
    ("judge", finished(0)),
    ("finish", finished(0), 1),
    ("plan", 1, Plan(finished(0), (finished(0),))),
    ("propose", 1, Proposal({"a": 1}, "mutation", parent=0)),
    ("finish", Trial.of(1, None, Status.FAILED, "m"), 2),
    ("score_again", finished(0, scorings=3), 2),
    ("test", {0: 0.25}),
    ("end", "max_steps"),
)


def test_it_writes_what_the_methods_of_a_run_write(tmp_path):
    dumps, keys = [], []
    for writes_of in (lambda run: run, lambda run: run.writer()):
        with closing(Store(str(tmp_path / f"{len(dumps)}.db"))) as store:
            run = store.create_run("amber", {}, "v1")

            async def live(run=run, writes_of=writes_of):
                for name, *arguments in LIFE:
                    done = getattr(writes_of(run), name)(*arguments)
                    keys.append(await done if asyncio.isfuture(done) else done)

            asyncio.run(live())
            assert run.test_scores == {0: 0.25}
            dumps.append(dump(run))
    assert dumps[0] == dumps[1]
    assert keys[: len(LIFE)] == keys[len(LIFE) :] == [None, 1, None, 2, *[None] * 10]


def test_the_order_of_calls_is_the_order_of_rows_also_across_trials(run):
    places = [(number, index) for number in range(200) for index in range(3)]
    random.Random(1).shuffle(places)

    async def write():
        writer = run.writer()
        keys = await asyncio.gather(
            *(writer.sent(*place, "m", MESSAGES) for place in places)
        )
        assert keys == sorted(keys)

    asyncio.run(write())
    assert [(call.trial, call.index) for call in run.calls()] == places


def test_a_thousand_at_a_time_on_one_loop(run):
    async def live(writer, number):
        await writer.plan(number, Plan(None))
        key = await writer.sent(number, 0, "m", MESSAGES)
        await writer.received(key, Reply(f"r{number}", USAGE, "m"))
        await writer.propose(number, Proposal(f"x{number}", "m"))
        await writer.finish(finished(number), number + 1)

    async def many():
        writer = run.writer()
        await asyncio.gather(*(live(writer, number) for number in range(1000)))

    asyncio.run(many())
    assert [trial.x for trial in run.trials()] == [
        f"x{number}" for number in range(1000)
    ]
    assert {call.reply.text for call in run.calls()} == {
        f"r{number}" for number in range(1000)
    }


def test_the_loop_goes_on_while_writes_wait_and_those_that_wait_are_one_commit(run):
    async def write():
        writer, other, ticks = run.writer(), locked(run), 0
        waiting = [writer.plan(number, Plan(None)) for number in range(100)]
        for _ in range(50):
            await asyncio.sleep(0.001)
            ticks += 1
        assert not any(one.done() for one in waiting)
        assert run.trials() == []  # reading is not blocked
        writes_before = other.execute("PRAGMA data_version").fetchone()
        other.execute("ROLLBACK")
        await asyncio.gather(*waiting)
        assert other.execute("PRAGMA data_version").fetchone() > writes_before
        return ticks

    assert asyncio.run(write()) == 50
    assert len(run.pending()) == 100


def test_readers_are_never_blocked(run):
    seen = []

    async def write():
        writer = run.writer()
        for number in range(100):
            await writer.plan(number, Plan(None))

    def read():
        with closing(Store(run.store.url, wait_secs=0)) as store:
            reader = store.run("amber")
            while not over.is_set():
                seen.append(len(reader.pending()))

    over = threading.Event()
    thread = threading.Thread(target=read)
    thread.start()
    asyncio.run(write())
    while not seen or seen[-1] < 100:
        assert thread.is_alive()
        time.sleep(0.001)
    over.set()
    thread.join()
    assert seen == sorted(seen)


def test_both_ways_of_writing_one_run_at_a_time(run):
    def directly():
        for number in range(1000, 1100):
            run.plan(number, Plan(None))

    async def write():
        writer = run.writer()
        other = asyncio.to_thread(directly)
        await asyncio.gather(
            other, *(writer.plan(number, Plan(None)) for number in range(100))
        )
        await writer.plan(2000, Plan(None))
        run.propose(2000, Proposal("after", "m"))  # what was awaited is there

    asyncio.run(write())
    assert len(run.pending()) == 201
    assert run.pending()[-1].proposal.x == "after"


def test_two_event_loops_share_it(run):
    async def write(first):
        writer = run.writer()
        await asyncio.gather(
            *(writer.plan(number, Plan(None)) for number in range(first, first + 100))
        )

    threads = [
        threading.Thread(target=lambda first=first: asyncio.run(write(first)))
        for first in (0, 100, 200)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(run.pending()) == 300
