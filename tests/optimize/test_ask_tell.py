"""The loop of the user: several trials in flight, told in any order, and gone on with later."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from llm_optimize import optimize
from llm_optimize.errors import UsageError
from llm_optimize.space import Float
from llm_optimize.store import Store
from simulated import LONG_SECS, Counting, block, f


@pytest.fixture
def url(tmp_path):
    return str(tmp_path / "runs.db")


@pytest.fixture
def begin(url):
    """Return a function that begins an optimizer, which is closed at the end."""
    begun = []

    def make(model=None, **options):
        model = model or Counting()
        opt = optimize.Optimizer(
            "t", "q", model=model, store=url, seed=1, **{"x0": "1", **options}
        )
        begun.append(opt)
        return opt

    yield make
    for opt in begun:
        opt.close()


def test_asked_twice_before_anything_is_told_there_are_two_trials(begin):
    model = Counting()
    opt = begin(model)
    first, second = opt.ask(), opt.ask()
    assert [(one.number, one.x, one.parent) for one in (first, second)] == [
        (0, "1", None),
        (1, "2", 0),
    ]
    assert "its score is not known yet" in str(model.asked[0])
    opt.tell(second, 2.0)
    opt.tell(first, 1.0)
    assert opt.result.scores == [1.0, 2.0]
    assert opt.ask().parent == 1


def test_n_trials_are_written_concurrently(begin):
    together = threading.Barrier(3)

    def model(messages):
        together.wait(LONG_SECS)  # nobody goes on alone
        return block(next(numbers))

    numbers = iter(range(2, 99))
    opt = begin(model)
    trials = opt.ask(4)
    assert [trial.number for trial in trials] == [0, 1, 2, 3]
    assert len({trial.x for trial in trials}) == 4
    for trial in reversed(trials):
        opt.tell(trial, f(trial.x))
    assert opt.result.best_score == 4.0


def test_batches_of_every_search_and_without_x0(begin, url):
    for search in ("best", "chat", "tree", "islands", "pareto", "best_of_n"):
        with begin("mutation", search=search, x0="value = 100") as opt:
            for _ in range(2):
                trials = opt.ask(3)
                assert len(trials) == 3
                for trial in trials:
                    opt.tell(trial, float(len(trial.x)))
    opt = begin(x0=None, space={"a": Float(0, 1)}, proposer="random")
    assert len({trial.x["a"] for trial in opt.ask(5)}) == 5


def test_a_cap_ends_a_batch_and_then_there_is_nothing_to_ask(begin):
    opt = begin(max_steps=2)
    trials = opt.ask(9)
    assert [trial.number for trial in trials] == [0, 1, 2]
    with pytest.raises(
        UsageError, match="nothing to ask: tell the score of an open trial"
    ):
        opt.ask()
    for trial in trials:
        opt.tell(trial, 1.0)
    with pytest.raises(UsageError, match="nothing to ask: max_steps"):
        opt.ask(2)


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "2"])
def test_n_is_a_number_of_trials(begin, n):
    with pytest.raises(UsageError, match="give how many trials to ask for, at least 1"):
        begin().ask(n)


def test_duplicates_cost_no_ask(begin):
    """Each reply comes twice: whoever waits for the second of them gets another trial."""
    replies = iter(number // 2 for number in range(4, 99))
    opt = begin(lambda _: block(next(replies)))
    xs = [trial.x for trial in (*opt.ask(3), *opt.ask(3))]
    assert xs == ["1", "2", "3", "4", "5", "6"]


def test_threads_share_an_optimizer(begin):
    opt = begin()

    def work(_):
        trial = opt.ask()
        return opt.tell(trial, f(trial.x)).number

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(work, range(24)))
    assert sorted(numbers) == list(range(24))
    assert opt.result.best_score == 24.0


def test_inside_a_running_loop_n_trials_are_awaited(begin):
    async def main():
        opt = begin()
        trials = await opt.aask(3)
        trials += opt.ask(2)
        return [trial.number for trial in trials]

    assert asyncio.run(main()) == [0, 1, 2, 3, 4]


def test_a_trial_of_another_run_and_one_told_twice_are_refused(begin):
    opt, other = begin(), begin(x0="7")
    trial, stranger = opt.ask(), other.ask()
    for wrong in (stranger, opt.tell(trial, 1.0)):
        with pytest.raises(UsageError, match="trial 0 does not wait for a score"):
            opt.tell(wrong, 1.0)


def test_after_close_every_call_is_one_sentence(begin):
    with begin(name="amber") as opt:
        trial = opt.ask()
    for call in (opt.ask, lambda: opt.ask(2), lambda: opt.tell(trial, 1.0)):
        with pytest.raises(
            UsageError, match=r"the run 'amber' is closed: .*load_if_exists=True"
        ):
            call()
    opt.close()
    assert opt.result.trials == ()


def test_open_asks_come_again_when_the_optimizer_goes_on(begin, url):
    first = begin(name="amber")
    trials = first.ask(4)
    first.tell(trials[2], 3.0)
    first.close()
    model = Counting()
    again = begin(model, name="amber", load_if_exists=True)
    assert [(one.number, one.x) for one in again.ask(3)] == [
        (0, "1"),
        (1, "2"),
        (3, "4"),
    ]
    assert model.asked == []  # their replies were stored
    # The model of this session proposes 2, 3 and 4 once more, which are open or told already.
    assert (again.ask().number, len(model.asked)) == (7, 4)
    for trial in trials[:2]:
        again.tell(trial, f(trial.x))
    assert again.result.scores[:3] == [1.0, 2.0, 3.0]
    with closing(Store(url)) as store:
        assert store.run("amber").answered_calls() == 7
    with pytest.raises(UsageError, match="x0 is "):
        begin(x0="9", name="amber", load_if_exists=True)


def test_open_asks_are_scored_by_f_where_resume_goes_on(begin, url):
    with begin(name="amber") as opt:
        opt.ask(3)
    result = optimize.resume(
        "amber", f, store=url, model=Counting(), max_steps=2, verbose=False
    )
    assert result.scores == [1.0, 2.0, 3.0]
    assert result.usage.calls == 2


def test_an_ask_that_is_given_up_loses_no_trial(begin):
    hold, asked = threading.Event(), threading.Event()

    def model(messages):
        asked.set()
        hold.wait(LONG_SECS)
        return block(5)

    opt = begin(model)
    opt.tell(opt.ask(), 1.0)

    async def give_up():
        waiting = asyncio.ensure_future(opt.aask())
        await asyncio.to_thread(asked.wait, LONG_SECS)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(give_up())
    hold.set()
    assert (opt.ask().number, opt.ask.__self__.result.usage.calls) == (1, 1)
