"""Faults while writes wait: each task gets its error, no write is lost, no task waits for ever."""

import asyncio
import ctypes
import gc
import subprocess
import sys
import threading
from contextlib import closing

import pytest
from test_store_faults import ROOT, TEXT, check_integrity, fill, posix, small_disk
from test_store_writer import finished, locked, run

from llm_optimize.errors import StoreError, UsageError
from llm_optimize.records import Plan, Proposal
from llm_optimize.store import Store

__all__ = ["run", "small_disk"]  # fixtures

# What goes wrong.


def test_a_bad_write_fails_alone(run):
    async def write():
        writer, other = run.writer(), locked(run)
        first = writer.plan(0, Plan(None))
        await asyncio.sleep(
            0.05
        )  # the thread has that one; the others make the next group
        group = [
            writer.plan(1, Plan(None)),
            writer.plan(1, Plan(None)),  # a second time
            writer.sent(1, 2**70, "m", []),  # no column holds it
            writer.sent(1, 0, object(), []),
            writer.sent(1, 1, "lone \ud800", []),
            writer.plan(2, Plan(None)),
        ]
        with pytest.raises(UsageError, match="must not exceed"):
            writer.finish(finished(1, seed=2**64), 1)
        other.execute("ROLLBACK")
        await first
        return await asyncio.gather(*group, return_exceptions=True)

    outcomes = asyncio.run(write())
    assert outcomes[0] is None
    assert outcomes[5] is None
    assert isinstance(outcomes[1], StoreError)
    assert "UNIQUE constraint" in str(outcomes[1])
    assert isinstance(outcomes[2], OverflowError)
    assert isinstance(outcomes[3], StoreError)
    assert isinstance(outcomes[4], UnicodeEncodeError)
    assert [step.number for step in run.pending()] == [0, 1, 2]


def test_it_fails_as_the_methods_of_a_run_fail(run):
    run.plan(0, Plan(None))

    def error_of(write):
        with pytest.raises((StoreError, OverflowError)) as caught:
            write()
        return type(caught.value), str(caught.value)

    async def awaited(name, *arguments):
        await getattr(run.writer(), name)(*arguments)

    for name, *arguments in (
        ("plan", 0, Plan(None)),
        ("sent", 2**70, 0, "m", []),
        ("sent", 0, 0, object(), []),
    ):
        directly = error_of(
            lambda name=name, arguments=arguments: getattr(run, name)(*arguments)
        )
        assert directly == error_of(
            lambda name=name, arguments=arguments: asyncio.run(
                awaited(name, *arguments)
            )
        )


def test_a_lock_that_lasts_too_long_reaches_all_who_wait_and_later_writes_try_anew(
    tmp_path,
):
    with closing(Store(str(tmp_path / "runs.db"), wait_secs=0.3)) as store:
        run = store.create_run("amber", {})

        async def write():
            writer, other = run.writer(), locked(run)
            waiting = [writer.plan(number, Plan(None)) for number in range(10)]
            await asyncio.sleep(0.1)
            waiting += [writer.plan(number, Plan(None)) for number in range(10, 20)]
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
            assert {type(one) for one in outcomes} == {StoreError}
            assert {
                "was locked by another program for 0.3 s" in str(one)
                for one in outcomes
            } == {True}
            with pytest.raises(StoreError, match="was locked"):
                await writer.plan(0, Plan(None))
            other.execute("ROLLBACK")
            await asyncio.gather(
                *(writer.plan(number, Plan(None)) for number in range(20))
            )

        asyncio.run(write())
        assert len(run.pending()) == 20


async def fail_then_go_on(run, mend):
    """Write until the database refuses, mend it, and write the same again; return the error."""
    writer, number = run.writer(), 0
    try:
        for number in range(1000):
            waiting = [writer.propose(number, Proposal(TEXT, "m")) for _ in range(3)]
            await asyncio.gather(writer.plan(number, Plan(None, hint=TEXT)), *waiting)
    except StoreError as error:
        message = str(error)
    before = len(run.pending())
    assert (
        number <= before <= number + 1
    )  # the last group may be whole, and another one after it refused
    mend()
    number = before
    await writer.plan(number, Plan(None, hint=TEXT))
    await writer.propose(number, Proposal(TEXT, "m"))
    return message


def test_a_full_disk_is_an_error_and_once_there_is_space_it_goes_on(small_disk):
    filler = small_disk / "filler"
    filler.write_bytes(bytes(300_000))
    with closing(Store(str(small_disk / "runs.db"))) as store:
        run = store.create_run("amber", {})
        fill(small_disk / "filler2")
        message = asyncio.run(fail_then_go_on(run, filler.unlink))
        assert "make space" in message or "is the disk full" in message
    check_integrity(small_disk / "runs.db")


LIMITED = """
import asyncio, resource, sys
sys.path[:0] = ["tests", "tests/store"]
from llm_optimize.store import Store
from test_store_writer_faults import fail_then_go_on
run = Store(sys.argv[1]).create_run("amber", {})
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
mend = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
print(asyncio.run(fail_then_go_on(run, mend)))
"""


@posix
def test_a_limit_on_file_sizes_is_an_error_and_without_it_it_goes_on(tmp_path):
    path = tmp_path / "runs.db"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, path],
        check=False,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0
    assert "a limit on file sizes reached" in done.stdout
    check_integrity(path)


def test_who_is_cancelled_does_not_take_the_write_back(run, caplog):
    async def write():
        writer, other = run.writer(), locked(run)

        async def wait(number):
            await writer.plan(number, Plan(None))

        tasks = [asyncio.create_task(wait(number)) for number in (0, 1, 1)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() for task in tasks)
        other.execute("ROLLBACK")
        await writer.plan(2, Plan(None))

    asyncio.run(write())
    assert [step.number for step in run.pending()] == [0, 1, 2]
    assert (
        "a row of the table trial was not written" in caplog.text
    )  # the second 1: no task was left to get it


def test_close_writes_what_waits_and_what_comes_later_is_refused(run):
    async def write():
        writer, other = run.writer(), locked(run)
        waiting = [writer.plan(number, Plan(None)) for number in range(500)]
        threading.Timer(0.1, lambda: other.execute("ROLLBACK")).start()
        writer.close()
        writer.close()
        with pytest.raises(StoreError, match="is closed"):
            writer.plan(500, Plan(None))
        assert len(run.pending()) == 500
        await asyncio.gather(*waiting)
        await run.writer().plan(500, Plan(None))  # another one

    asyncio.run(write())
    assert len(run.pending()) == 501


@pytest.mark.parametrize("closed", ["run", "store"])
def test_closing_the_run_or_its_store_writes_what_waits_before_others_may_write_it(
    run, closed
):
    async def write():
        writer = run.writer()
        waiting = [writer.plan(number, Plan(None)) for number in range(300)]
        (run if closed == "run" else run.store).close()
        with pytest.raises(StoreError, match="open for reading only"):
            writer.plan(300, Plan(None))
        await asyncio.gather(*waiting)

    asyncio.run(write())
    with closing(Store(run.store.url)) as store:
        assert len(store.hold("amber").pending()) == 300


def test_a_run_that_is_only_read_has_no_writer(run):
    with pytest.raises(StoreError, match="open for reading only"):
        run.store.run("amber").writer()


def test_a_loop_that_ends_while_writes_wait_hangs_nothing(run, caplog):
    async def write():
        for number in (0, 1, 1):
            run.writer().plan(number, Plan(None))

    other = locked(run)
    asyncio.run(write())  # the loop is closed here
    other.execute("ROLLBACK")
    run.close()
    assert [step.number for step in run.pending()] == [0, 1]
    assert "was not written" in caplog.text


def test_a_forgotten_writer_writes_what_waits_and_its_thread_ends(tmp_path):
    before = set(threading.enumerate())

    async def write(store):
        run = store.create_run("amber", {})
        for number in range(50):
            run.writer().plan(number, Plan(None))

    with closing(Store(str(tmp_path / "runs.db"))) as store:
        asyncio.run(write(store))
    gc.collect()
    assert set(threading.enumerate()) <= before
    with closing(Store(str(tmp_path / "runs.db"))) as store:
        assert len(store.run("amber").pending()) == 50


@posix
def test_whatever_interrupts_the_thread_reaches_those_who_wait(run):
    async def write():
        writer, other = run.writer(), locked(run)
        waiting = [writer.plan(number, Plan(None)) for number in range(5)]
        await asyncio.sleep(0.05)
        thread = next(
            one for one in threading.enumerate() if one.name == "store of amber"
        )
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit)
        )
        other.execute("ROLLBACK")
        outcomes = await asyncio.wait_for(
            asyncio.gather(*waiting, return_exceptions=True), 20
        )
        assert all(isinstance(one, StoreError) for one in outcomes if one is not None)
        assert "was interrupted (SystemExit" in str(outcomes[-1])
        await writer.plan(9, Plan(None))

    asyncio.run(write())
    assert run.pending()[-1].number == 9


FORKED = """
import asyncio, os, sys
from llm_optimize.errors import StoreError
from llm_optimize.records import Plan
from llm_optimize.store import Store

store = Store(sys.argv[1])
run = store.create_run("amber", {})


async def write():
    writer = run.writer()
    waiting = [writer.plan(number, Plan(None)) for number in range(300)]
    pid = os.fork()
    if not pid:
        try:
            writer.plan(300, Plan(None))
        except StoreError:
            run.close()
            writer.close()
            os._exit(7)
    await asyncio.gather(*waiting)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), len(run.pending()))


asyncio.run(write())
"""


@posix
def test_a_forked_child_neither_writes_nor_hangs(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FORKED, tmp_path / "runs.db"],
        check=True,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == ["7", "300"]
