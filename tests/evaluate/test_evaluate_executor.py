"""Workers of executors score in their own sandboxes; deadlines hold, lost workers are reported."""

import asyncio
import os
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, contextmanager
from multiprocessing import get_context

import numpy as np
import psutil
import pytest

from llm_optimize.errors import (
    FunctionUnusable,
    SandboxUnavailable,
    UnknownName,
    UsageError,
)
from llm_optimize.evaluate import Evaluator, Examples, Judging, Repeats
from llm_optimize.evaluate.backends import BackendOptions, ExecutorBackend
from llm_optimize.records import Limits, Status
from llm_optimize.sandbox import OutcomeStatus

OPTIONS = {"limits": Limits(), "workers": 2, "timeout_secs": 20.0, "sandbox": "process"}


def act(x):
    if x == "raise":
        raise ValueError("no good")
    if x == "nan":
        return float("nan")
    if x == "exit":
        os._exit(3)
    if x == "loop":
        while True:
            pass
    return {"score": len(x), "feedback": x, "keeper": os.getppid(), "here": os.getpid()}


def evaluate(work, executor, func=act, judging=None, **options):
    async def main():
        made = judging or Judging(executor=executor)
        with closing(
            Evaluator(func, judging=made, **{**OPTIONS, **options})
        ) as evaluator:
            return await work(evaluator)

    return asyncio.run(main())


def score_all(xs, executor, func=act, **options):
    async def work(evaluator):
        return await asyncio.gather(
            *(evaluator.score(x, seed) for seed, x in enumerate(xs))
        )

    return evaluate(work, executor, func, **options)


def slow_pid():
    time.sleep(0.02)
    return os.getpid()


@contextmanager
def thread_pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@contextmanager
def process_pool(workers=2):
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        pids = set()
        while (
            len(pids) < workers
        ):  # until then a test might meet a worker that is not up
            pids |= {
                future.result(30)
                for future in [pool.submit(slow_pid) for _ in range(2 * workers)]
            }
        yield pool


class InThreads(Executor):
    """An executor of another library, whose workers are threads of this process."""

    def __init__(self):
        self._pool = ThreadPoolExecutor(2)

    def submit(self, fn, /, *args, **kwargs):
        return self._pool.submit(fn, *args, **kwargs)

    def shutdown(self, wait=True, *, cancel_futures=False):
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


@pytest.fixture(
    scope="module",
    params=[thread_pool, process_pool, InThreads],
    ids=["threads", "processes", "another"],
)
def executor(request):
    with request.param() as made:
        yield made


def test_an_executor_scores_as_this_machine_does_and_stays_open(executor):
    good, bad, nan, ended, slow = score_all(
        ["abc", "raise", "nan", "exit", "loop"], executor, timeout_secs=2.0
    )
    assert (good.status, good.score, good.feedback) == (Status.COMPLETE, 3.0, "abc")
    assert (bad.status, bad.score) == (Status.FAILED, None)
    assert bad.feedback.rstrip().endswith("ValueError: no good")
    assert nan.status is Status.INVALID
    assert "exit code 3" in ended.feedback
    assert slow.status is Status.TIMEOUT
    assert 2.0 <= slow.seconds < 4.0
    assert good.metrics["here"] not in (os.getpid(), good.metrics["keeper"])
    assert executor.submit(len, "abc").result(10) == 3


def test_stages_examples_and_repeats_go_there_too(executor):
    numbers = np.arange(4.0)
    judging = Judging(executor=executor, examples=Examples(numbers, test=[7.0, 8.0]))

    async def on_examples(evaluator):
        return await evaluator.score("1", 0), await evaluator.test("1")

    stages = [lambda x: len(x), lambda x, example: float(x) + float(example)]
    scored, tested = evaluate(on_examples, executor, stages, judging)
    assert (scored.score, tested.score) == (2.5, 8.5)
    assert scored.metrics == {"<lambda>.score": 1.0}

    async def twice(evaluator):
        return await evaluator.score("ab", 0)

    assert (
        evaluate(
            twice,
            executor,
            judging=Judging(executor=executor, repeats=Repeats(2, False)),
        ).scorings
        == 2
    )


def test_a_worker_keeps_its_sandbox_warm_and_f_is_sent_once():
    sent = []

    class Counting(InThreads):
        def submit(self, fn, /, *args, **kwargs):
            sent.append(args[1].payload is not None)
            return super().submit(fn, *args, **kwargs)

    with Counting() as counting:
        found = score_all(["a"], counting) + score_all(["b", "c", "d"], counting)
    assert [one.score for one in found] == [1.0] * 4
    assert (
        sent.count(True) <= 1 + 2
    )  # of each evaluator until one has answered; two at a time
    assert len(sent) == 4


def test_a_worker_that_does_not_know_f_gets_it():
    async def work():
        with process_pool(2) as pool:
            place = ExecutorBackend(
                act, BackendOptions("process", Limits(), (), 2), pool
            )
            first = await place.run("a", 20.0, 0)
            both = await asyncio.gather(
                *(place.run("abcd", 20.0, seed) for seed in range(6))
            )
            place.close()
            return [first, *both]

    assert [outcome.status for outcome in asyncio.run(work())] == [OutcomeStatus.OK] * 7


def test_nothing_is_left_when_the_pool_is_gone(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with process_pool(1) as pool:
        (evaluation,) = score_all(["abc"], pool)
        assert psutil.pid_exists(int(evaluation.metrics["keeper"]))
    until = time.monotonic() + 10
    while psutil.pid_exists(int(evaluation.metrics["keeper"])) or list(
        tmp_path.glob("llm_optimize-*")
    ):
        assert time.monotonic() < until
        time.sleep(0.02)


# What goes wrong.


class Losing(InThreads):
    """An executor that loses the calls that a test names."""

    def __init__(self, *lost):
        super().__init__()
        self.lost = list(lost)

    def submit(self, fn, /, *args, **kwargs):
        error = self.lost.pop(0) if self.lost else None
        if error is None:
            return super().submit(fn, *args, **kwargs)
        future = Future()
        if error == "cancel":
            future.cancel()
        else:
            future.set_exception(error)
        return future


def one_by_one(xs, executor, **options):
    async def work(evaluator):
        found = []
        for x in xs:
            try:
                found.append(await evaluator.score(x, 0))
            except SandboxUnavailable as error:
                found.append(error)
        return found

    return evaluate(work, executor, **options)


def test_a_lost_scoring_is_a_failed_trial_and_the_third_in_a_row_an_error():
    gone = OSError("worker-3 went away")
    with Losing(gone, "cancel", None, gone, gone, gone) as losing:
        found = one_by_one("abcdefg", losing)
    assert [getattr(one, "status", "error") for one in found] == [
        "failed",
        "failed",
        "complete",
    ] + ["failed"] * 2 + [
        "error",
        "complete",
    ]
    assert "lost this scoring: OSError: worker-3 went away" in found[0].feedback
    assert "cancelled" in found[1].feedback
    assert "3 scorings in a row" in str(found[5])


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_worker_fails_its_trial_and_a_broken_pool_is_an_error_that_blames_no_x():
    async def work(evaluator):
        (first,) = await asyncio.gather(evaluator.score("abc", 0))
        task = asyncio.create_task(evaluator.score("loop", 0))
        await asyncio.sleep(0.2)
        for worker in list(pool._processes.values()):
            os.kill(worker.pid, signal.SIGKILL)
        lost = await task
        with pytest.raises(
            SandboxUnavailable, match=r"takes no more scorings \(BrokenProcessPool"
        ):
            await evaluator.score("abc", 0)
        return first, lost

    with process_pool(1) as pool:
        first, lost = evaluate(work, pool)
    assert first.score == 3.0
    assert (lost.status, lost.score) == (Status.FAILED, None)
    assert "the executor lost this scoring: BrokenProcessPool" in lost.feedback


def test_an_executor_that_was_shut_down_is_an_error():
    pool = InThreads()
    pool.shutdown()
    (error,) = one_by_one("a", pool)
    assert isinstance(error, SandboxUnavailable)
    assert "shutdown" in str(error)


class Silent(InThreads):
    """An executor that answers when it is let to."""

    def __init__(self):
        super().__init__()
        self.may_answer = threading.Event()

    def submit(self, fn, /, *args, **kwargs):
        def wait():
            self.may_answer.wait(20)
            return fn(*args, **kwargs)

        return self._pool.submit(wait)


def test_an_executor_that_says_nothing_is_not_waited_for_for_ever():
    async def work():
        with Silent() as silent:
            place = ExecutorBackend(
                act, BackendOptions("process", Limits(), (), 2), silent, margin_secs=0.2
            )
            outcome = await place.run("a", 0.2, 0)
            silent.may_answer.set()
            return outcome

    outcome = asyncio.run(work())
    assert outcome.status is OutcomeStatus.KILLED
    assert "no worker has answered for 0.4 s" in outcome.message


def test_a_queue_that_moves_is_waited_for():
    def nap(x):
        time.sleep(0.3)
        return 1.0

    async def work():
        with process_pool(1) as pool:
            place = ExecutorBackend(
                nap, BackendOptions("process", Limits(), (), 2), pool, margin_secs=1.0
            )
            await place.run("a", 20.0, 0)  # it is warm
            return await asyncio.gather(*(place.run("a", 0.5, 0) for _ in range(6)))

    assert {outcome.status for outcome in asyncio.run(work())} == {OutcomeStatus.OK}


def test_closing_gives_up_what_waits_and_cancelling_frees_the_slot():
    async def work(evaluator):
        waiting = [asyncio.create_task(evaluator.score("a", seed)) for seed in range(2)]
        await asyncio.sleep(0.05)
        waiting[0].cancel()
        third = asyncio.create_task(evaluator.score("a", 3))
        await asyncio.sleep(0.05)
        evaluator.close()
        return await asyncio.gather(*waiting, third, return_exceptions=True)

    with Silent() as silent:
        first, *others = evaluate(work, silent)
        silent.may_answer.set()
    assert isinstance(first, asyncio.CancelledError)
    assert [one.status for one in others] == [Status.FAILED] * 2


def test_what_is_no_executor_or_no_level_is_refused():
    with pytest.raises(UsageError, match="get_executor"):
        evaluate(None, object())
    with pytest.raises(UnknownName, match="process"), InThreads() as pool:
        evaluate(None, pool, sandbox="proces")


def test_a_function_that_cannot_travel_is_refused_at_once():
    lock = threading.Lock()
    with pytest.raises(FunctionUnusable, match="cannot be sent"), InThreads() as pool:
        evaluate(None, pool, lambda x: lock)


def test_a_function_that_a_worker_cannot_load_is_an_error_and_no_failed_trial(
    tmp_path, monkeypatch
):
    (tmp_path / "only_here.py").write_text("def f(x):\n    return 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import only_here

    with process_pool(1) as pool:
        # the worker has its path now
        monkeypatch.undo()
        os.rename(tmp_path / "only_here.py", tmp_path / "gone.py")
        with pytest.raises(FunctionUnusable, match="only_here"):
            score_all(["a"], pool, only_here.f)


def test_dask_scores():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, dashboard_address=None
    ) as cluster:
        with distributed.Client(cluster) as client:
            good, bad = score_all(["abc", "raise"], client.get_executor())
    assert (good.score, bad.status) == (3.0, Status.FAILED)
