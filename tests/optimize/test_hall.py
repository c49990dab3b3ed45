"""What a caller of a run or an `Optimizer` meets: protected regions, several open trials, plain
errors."""

import asyncio
import os
import subprocess
import sys
import threading
import time

import pytest

from llm_optimize import optimize
from llm_optimize.errors import UsageError
from llm_optimize.records import Proposal, Status
from llm_optimize.store import Store
from simulated import block, f, runner

FRAME = "LIMIT = 10\n# EVOLVE-BLOCK-START\nx = 1\n# EVOLVE-BLOCK-END\nprint(LIMIT)\n"


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'runs.db'}"


@pytest.fixture
def go(url):
    return runner(url)


class Rewriter:
    """A proposer of a user's, which writes what it was given, one after the other."""

    def __init__(self, *xs):
        self.xs = list(xs)

    async def propose(self, plan, ask, rng):
        return Proposal(self.xs.pop(0), "rewriter")

    def observe(self, trial):
        pass


@pytest.mark.parametrize(
    ("x0", "inside", "outside"),
    [
        (
            FRAME,
            FRAME.replace("x = 1", "x = 2"),
            FRAME.replace("LIMIT = 10", "LIMIT = 99"),
        ),
        (
            {"a.py": FRAME, "free.txt": "one"},
            {"a.py": FRAME.replace("x = 1", "x = 2"), "free.txt": "two"},
            {"free.txt": "two"},
        ),
    ],
)
def test_regions_are_protected_whoever_wrote_x(go, x0, inside, outside):
    called = []

    def f(x):
        called.append(x)
        return 1.0

    result = go(
        None,
        f,
        x0=x0 if isinstance(x0, str) else [x0],
        proposer=Rewriter(outside, inside),
        max_steps=2,
    )
    assert [trial.status for trial in result.trials] == [
        Status.COMPLETE,
        Status.INVALID,
        Status.COMPLETE,
    ]
    assert called == [x0, inside]
    assert "EVOLVE-BLOCK" in result.trials[1].feedback
    assert result.trials[1].scorings == 0


def test_a_callable_model_that_raises_ends_the_run_with_its_best(go, url):
    def model(messages):
        if len(Store(url).run("amber").trials()) == 2:
            raise RuntimeError("the GPU is gone")
        return block(7)

    result = go(model, name="amber", max_steps=9)
    assert result.best_score == 7.0
    assert (
        result.stop_reason
        == "error: the model model raised RuntimeError: the GPU is gone"
    )
    again = optimize.resume(
        "amber", f, model=lambda _: block(8), store=url, verbose=False
    )
    assert again.best_score == 8.0


def test_a_callable_model_that_runs_dry_ends_the_run(go):
    replies = iter([block(3)])
    result = go(lambda _: next(replies), max_steps=9)
    assert result.best_score == 3.0
    assert result.stop_reason.endswith(
        "raised RuntimeError: StopIteration: it has no further reply"
    )


def test_a_run_that_has_nothing_to_change_says_so_and_ends(go):
    result = go(
        "mutation", lambda x: float(len(x)), x0="no number at all", max_steps=50
    )
    assert len(result.trials) == 1
    assert result.stop_reason.startswith(
        "nothing left to propose: mutation finds nothing to change in x"
    )


def test_a_trial_is_told_once(url):
    with optimize.Optimizer(
        "Raise f.", "Better?", "1", model=lambda _: block(2), store=url
    ) as opt:
        trial = opt.ask()
        assert opt.tell(trial, 1.0).score == 1.0
        with pytest.raises(
            UsageError, match=r"trial 0 does not wait for a score: it was told already"
        ):
            opt.tell(trial, 2.0)
        assert opt.result.best_score == 1.0


def test_several_trials_may_be_open_and_are_told_in_any_order(url):
    replies = iter(range(2, 9))
    with optimize.Optimizer(
        "Raise f.", "Better?", "1", model=lambda _: block(next(replies)), store=url
    ) as opt:
        opt.tell(opt.ask(), 1.0)
        trials = [opt.ask() for _ in range(3)]
        assert [trial.status for trial in trials] == [Status.PENDING] * 3
        for trial in reversed(trials):
            opt.tell(trial, float(trial.x), "told late")
        assert opt.result.scores == [1.0, 2.0, 3.0, 4.0]
    stored = Store(url).run(opt.result.name).trials()
    assert [trial.number for trial in stored] == [0, 3, 2, 1]


def test_trials_may_be_asked_for_inside_a_running_loop(url):
    async def main():
        ticks = []

        async def tick():
            while True:
                ticks.append(1)
                await asyncio.sleep(0.005)

        ticking = asyncio.create_task(tick())
        trials = [await opt.aask()]
        opt.tell(trials[0], 1.0)
        before = len(ticks)
        trials.append(await opt.aask())
        ticking.cancel()
        return [trial.x for trial in trials], len(ticks) - before

    def slow(_):
        time.sleep(0.3)
        return block(2)

    with optimize.Optimizer("Raise f.", "Better?", "1", model=slow, store=url) as opt:
        xs, meanwhile = asyncio.run(main())
    assert xs == ["1", "2"]
    assert meanwhile > 3  # the caller's loop went on while the model wrote


def test_an_open_trial_waits_in_the_store_for_a_resume(url):
    opt = optimize.Optimizer(
        "Raise f.", "Better?", "1", model=lambda _: block(2), store=url, name="amber"
    )
    opt.tell(opt.ask(), 1.0)
    opt.ask()
    opt.close()
    opt.close()
    asked = []
    result = optimize.resume(
        "amber", float, model=asked.append, store=url, max_steps=1, verbose=False
    )
    assert (result.scores, asked) == ([1.0, 2.0], [])


def test_an_optimizer_leaves_no_thread_behind(url):
    before = set(threading.enumerate())
    opt = optimize.Optimizer(
        "Raise f.", "Better?", "1", model=lambda _: block(2), store=url
    )
    opt.tell(opt.ask(), 1.0)
    opt.close()
    assert {
        thread
        for thread in set(threading.enumerate()) - before
        if thread.name == "llm_optimize"
    } == set()


def test_errors_of_the_synchronous_api_come_without_the_loop_s_own(tmp_path):
    program = "from llm_optimize import optimize\noptimize.run('t', 'q', float, '1', model='m')\n"
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OPENAI", "LLM_OPTIMIZE"))
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "MissingKey" in done.stderr.splitlines()[-1]
    assert "During handling" not in done.stderr
    assert "no running event loop" not in done.stderr
