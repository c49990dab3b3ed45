"""A run is written by one process at a time; dead ones hold nothing, readers are never refused."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llm_optimize import optimize
from llm_optimize.errors import RunHeld, StoreError
from llm_optimize.records import Plan, Status, Trial
from llm_optimize.store import Store
from llm_optimize.store.lock import Holder, Locked, RowLock, this_process
from llm_optimize.testing import ScriptedChat

ROOT = Path(__file__).parents[2]
posix = pytest.mark.skipif(
    not hasattr(signal, "SIGKILL"), reason="SIGKILL and fork are of POSIX"
)

HOLDER = """
import sys
from llm_optimize.store import Store
store = Store(sys.argv[1])
run = store.hold("amber") if "amber" in store.names() else store.create_run("amber", {})
print("held", flush=True)
sys.stdin.read()
store.close()
"""

# It leaves a forked child behind that has inherited all that is open.
PARENT = """
import os, sys
from llm_optimize.store import Store
run = Store(sys.argv[1]).create_run("amber", {})
if os.fork() == 0:
    try:
        run.end("by the child")
    except Exception as error:
        print("child:", error, flush=True)
sys.stdin.read()
"""

WRITER = """
import sys
from llm_optimize.store import Store
from llm_optimize.records import Plan, Proposal, Reply, Status, Trial, Usage
url, name = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
store = Store(url)
run = store.create_run(name, {})
for number in range(200):
    run.plan(number, Plan(None))
    call = run.sent(number, 0, "m", [{"role": "user", "content": name}])
    run.received(call, Reply(name, Usage(1), "m"))
    run.propose(number, Proposal(f"{name} {number}", "m"))
    trial = Trial.of(number, f"{name} {number}", Status.COMPLETE, "m", score=float(number))
    run.finish(trial, number + 1)
store.close()
"""


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'runs.db'}"


def program(code, *arguments):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], text=True, cwd=ROOT, **pipes
    )


def let_go(programs):
    """Wait until all are ready, let them begin at once, and see that they end well."""
    for waiting in programs:
        assert waiting.stdout.readline() == "ready\n"
    for waiting in programs:
        waiting.stdin.write("go\n")
        waiting.stdin.flush()
    for waiting in programs:
        waiting.communicate()
    assert [ended.returncode for ended in programs] == [0] * len(programs)


def test_a_second_process_is_refused_at_once_with_the_name_of_the_holder(url):
    with program(HOLDER, url) as other:
        assert other.stdout.readline() == "held\n"
        store = Store(url)
        begun = time.monotonic()
        with pytest.raises(
            RunHeld,
            match=rf"'amber' .* held by process {other.pid} on host .*: wait until",
        ) as refused:
            store.hold("amber")
        with pytest.raises(RunHeld):
            optimize.resume(
                "amber", float, store=url, model=ScriptedChat(), verbose=False
            )
        assert time.monotonic() - begun < 2  # for two refusals
        assert refused.value.pid == other.pid
        assert store.run("amber").trials() == []  # reading is free
        assert [info.name for info in store.runs()] == ["amber"]
        other.communicate("")
        store.hold("amber").end("mine now")
        store.close()


@posix
def test_a_killed_holder_holds_nothing_from_that_moment_on(url, tmp_path):
    store = Store(url)
    for _ in range(5):
        with program(HOLDER, url) as other:
            assert other.stdout.readline() == "held\n"
            with pytest.raises(RunHeld):
                store.hold("amber")
            other.kill()
            other.wait()
            store.hold("amber").close()
    store.close()
    assert [file.name for file in tmp_path.iterdir()] == ["runs.db"]


@posix
def test_a_forked_child_neither_writes_nor_keeps_the_run_of_its_killed_parent(url):
    with program(PARENT, url) as parent:
        assert "open for reading only here" in parent.stdout.readline()
        store = Store(url)
        with pytest.raises(RunHeld):
            store.hold("amber")
        parent.kill()
        os.waitid(os.P_PID, parent.pid, os.WEXITED)
        store.hold("amber").end("after the kill")  # while the child lives
        store.close()
        parent.stdin.close()


def test_two_processes_write_two_runs_of_a_new_store_at_the_same_time(url, tmp_path):
    names = ["amber", "birch"]
    writers = [program(WRITER, url, name) for name in names]
    let_go(writers)
    store = Store(url)
    for name in names:
        assert [trial.x for trial in store.run(name).trials()] == [
            f"{name} {number}" for number in range(200)
        ]
        assert {reply.text for reply in store.replies(name)} == {name}
        assert len(store.replies(name)) == 200
    store.close()
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


MAKER = """
import sqlalchemy, sys
from llm_optimize.store import Store
print("ready", flush=True)
sys.stdin.readline()
Store(sys.argv[1]).create_run(sys.argv[2], {})
"""


def test_many_processes_may_make_the_same_new_store(url):
    makers = [program(MAKER, url, f"run-{number}") for number in range(6)]
    let_go(makers)
    store = Store(url)
    assert len(store.names()) == 6
    store.close()


def test_a_run_is_held_once_in_one_process_and_free_after_close(url):
    first, second = Store(url), Store(url)
    run = first.create_run("amber", {})
    for store in (first, second):
        with pytest.raises(
            RunHeld,
            match=f"process {os.getpid()} .* that is this very process, close it there first",
        ):
            store.hold("amber")
    first.create_run("birch", {})  # another run is another matter
    run.close()
    again = second.hold("amber")
    with pytest.raises(StoreError, match="open for reading only here"):
        run.end("too late")
    again.end("in time")
    second.close()
    assert first.hold("amber").trials() == []
    first.close()
    Store(url).hold("amber")  # and a forgotten one is free as well
    last = Store(url)
    last.hold("amber")
    last.close()


def test_the_way_to_a_store_does_not_matter(tmp_path, url, monkeypatch):
    store = Store(url)
    store.create_run("amber", {})
    (tmp_path / "link.db").symlink_to(tmp_path / "runs.db")
    monkeypatch.chdir(tmp_path)
    for other in (
        "runs.db",
        "link.db",
        f"sqlite:///{tmp_path}/../{tmp_path.name}/runs.db",
    ):
        reader = Store(other)
        with pytest.raises(RunHeld):
            reader.hold("amber")
        reader.close()
    store.close()


def test_a_run_opened_for_reading_writes_nothing(url):
    store = Store(url)
    store.create_run("amber", {})
    with pytest.raises(StoreError, match=r"open it with Store\.hold"):
        store.run("amber").finish(Trial.of(0, "x", Status.COMPLETE, "x0", 1.0), 1)
    with pytest.raises(StoreError, match="open for reading only here"):
        store.run("amber").plan(0, Plan(None))
    store.close()


def test_an_optimizer_that_the_user_owns_holds_its_run_until_close(url):
    owned = optimize.Optimizer("d", "q", "1", model="mutation", store=url, name="amber")
    with pytest.raises(RunHeld):
        optimize.resume("amber", float, store=url, model="mutation", verbose=False)
    owned.tell(owned.ask(), 1.0)
    owned.close()
    assert (
        len(
            optimize.resume(
                "amber", float, store=url, max_steps=1, verbose=False
            ).trials
        )
        == 2
    )


# In other databases a row says who holds a run.


@pytest.fixture
def rows(url):
    store = Store(url)
    store.create_run("amber", {}).close()
    yield lambda: RowLock(lambda: store.begin(write=True), store.tables, 1)
    store.close()


def write_holder(url, holder):
    store = Store(url)
    values = {
        "run_id": 1,
        "pid": holder.pid,
        "host": holder.host,
        "started": holder.started,
        "token": "other",
    }
    with store.begin(write=True) as connection:
        connection.execute(store.tables.holder.insert().values(values))
    store.close()


def test_a_row_holds_a_run_until_it_is_closed(rows):
    first = rows()
    with pytest.raises(Locked) as taken:
        rows()
    assert taken.value.holder == this_process()
    first.close()
    first.close()
    second = rows()
    first.close()  # which is not its own any more
    with pytest.raises(Locked):
        rows()
    assert (first.held, second.held) == (False, True)


@posix
def test_the_row_of_a_living_process_holds_and_that_of_a_killed_one_does_not(rows, url):
    speak = (
        "from llm_optimize.store.lock import this_process as t\n"
        "print(t().started, flush=True); input()"
    )
    with program(speak, url) as other:
        holder = Holder(
            other.pid, this_process().host, other.stdout.readline().rstrip("\n")
        )
        write_holder(url, holder)
        with pytest.raises(Locked, match=str(other.pid)) as taken:
            rows()
        assert "wait until it has ended, or end it, or start" in str(
            taken.value.as_error("amber", url)
        )
        other.kill()
        os.waitid(
            os.P_PID, other.pid, os.WEXITED | os.WNOWAIT
        )  # dead, but its pid is not free yet
        rows().close()


def test_the_row_of_an_earlier_process_with_the_same_pid_holds_nothing(rows, url):
    me = this_process()
    write_holder(url, Holder(me.pid, me.host, me.started + "1"))
    rows().close()


def test_the_row_of_another_host_holds_and_the_message_says_how_to_end_that(rows, url):
    write_holder(url, Holder(1, "far-away", "then"))
    with pytest.raises(Locked) as taken:
        rows()
    error = taken.value.as_error("amber", url)
    assert "process 1 on host far-away" in str(error)
    assert "delete its row in `holder`" in str(error)


def test_a_row_that_cannot_be_removed_ends_with_its_process(rows, url, caplog):
    hold = rows()
    store = Store(url)
    with store.begin(write=True) as connection:
        connection.exec_driver_sql("alter table holder rename to lost")
    store.close()
    hold.close()
    assert "the run stays held until this process has ended" in caplog.text
    assert not hold.held
