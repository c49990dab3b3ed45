"""Writes that were acknowledged are there, whenever the program is killed."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest
from test_store_faults import ROOT, check_integrity, posix

from llm_optimize.store import Store

VICTIM = """
import asyncio, itertools, os, sys
from llm_optimize.records import Plan, Proposal
from llm_optimize.store import Store

run = Store(sys.argv[1]).hold("amber")
numbers = itertools.count(int(sys.argv[2]))


async def live(writer):
    for number in numbers:
        await writer.plan(number, Plan(None))
        os.write(1, f"{number} planned\\n".encode())
        await writer.propose(number, Proposal(f"x{number}", "m"))
        os.write(1, f"{number} proposed\\n".encode())


async def main():
    writer = run.writer()
    await asyncio.gather(*(live(writer) for _ in range(20)))


asyncio.run(main())
"""


def kill_one(path, first, secs):
    """Kill a program `secs` after its first row; return the writes that it had acknowledged."""
    command = [sys.executable, "-c", VICTIM, path, str(first)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
        output = child.stdout.readline()
        time.sleep(secs)
        child.send_signal(signal.SIGKILL)
        output += child.stdout.read()
    acknowledged = []
    for line in output.decode().splitlines():
        number, step = line.split()
        acknowledged.append((int(number), step))
    return acknowledged


def check_kills(path, kills):
    """Kill a program so often, and see after each kill that all acknowledged writes are there."""
    rng = random.Random(kills)
    with closing(Store(str(path))) as store:
        store.create_run("amber", {}).close()
    for kill in range(kills):
        acknowledged = kill_one(path, 10_000 * kill, rng.uniform(0, 0.1))
        assert acknowledged
        with closing(Store(str(path))) as store:
            stored = {
                step.number: step.proposal for step in store.run("amber").pending()
            }
        for number, step in acknowledged:
            assert number in stored
            if step == "proposed":
                assert stored[number].x == f"x{number}"
    check_integrity(path)


@posix
def test_what_was_acknowledged_survives_a_kill(tmp_path):
    check_kills(tmp_path / "runs.db", 3)


@posix
@pytest.mark.soak
def test_what_was_acknowledged_survives_fifty_kills(tmp_path):
    check_kills(tmp_path / "runs.db", 50)


GROUPS = """
import asyncio, itertools, os, sys
from llm_optimize.records import Plan
from llm_optimize.store import Store

run = Store(sys.argv[1]).hold("amber")


async def main():
    writer, number = run.writer(), int(sys.argv[2])
    # Each round is one group: it is in the queue before the thread is awake, or while it commits.
    while True:
        await asyncio.gather(*(writer.plan(number + place, Plan(None)) for place in range(100)))
        number += 100
        os.write(1, b".")


asyncio.run(main())
"""


@posix
def test_rows_appear_in_the_order_of_the_calls_without_a_gap_at_a_kill(tmp_path):
    path = tmp_path / "runs.db"
    with closing(Store(str(path))) as store:
        store.create_run("amber", {}).close()
    for kill, secs in enumerate((0.003, 0.01, 0.03)):
        first = 100_000 * kill
        command = [sys.executable, "-c", GROUPS, path, str(first)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
            rounds = len(child.stdout.read(1))
            time.sleep(secs)
            os.kill(child.pid, signal.SIGKILL)
            rounds += len(child.stdout.read())
        with closing(Store(str(path))) as store:
            stored = [
                step.number
                for step in store.run("amber").pending()
                if step.number >= first
            ]
        assert stored == list(range(first, first + len(stored)))
        assert len(stored) >= 100 * rounds
