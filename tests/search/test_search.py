"""Searches: what to build on next."""

from random import Random

import pytest

from llm_optimize.errors import UnknownName
from llm_optimize.records import Status, Trial
from llm_optimize.search import Best, Chat, as_search


def scored(number, score, x=None):
    return Trial.of(number, x or f"x{number}", Status.COMPLETE, "m", score=score)


def failed(number):
    return Trial.of(number, f"x{number}", Status.FAILED, "m", feedback="boom")


def observed(search, trials):
    for trial in trials:
        search.observe(trial)
    return search


def parents(search, asks=400, pending=()):
    return [search.ask(Random(n), pending).parent.number for n in range(asks)]


def test_an_unknown_search_names_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'best'"):
        as_search("bets")


@pytest.mark.parametrize("name", ["best", "chat"])
def test_with_nothing_told_there_is_no_parent(name):
    assert as_search(name).ask(Random(0), []).parent is None


@pytest.mark.parametrize("name", ["best", "chat"])
def test_a_trial_without_an_x_is_never_built_on(name):
    search = observed(
        as_search(name),
        [Trial.of(0, None, Status.INVALID, "model:m", feedback="no block")],
    )
    assert search.ask(Random(0), []).parent is None


@pytest.mark.parametrize("name", ["best", "chat"])
def test_with_only_failures_the_newest_is_repaired(name):
    search = observed(as_search(name), [failed(0), failed(1)])
    assert search.ask(Random(0), []).parent.number == 1


@pytest.mark.parametrize("name", ["best", "chat"])
def test_a_search_told_the_same_again_plans_the_same(name):
    trials = [failed(n) if n % 3 == 0 else scored(n, (n * 7) % 11) for n in range(300)]
    one, other = observed(as_search(name), trials), observed(as_search(name), trials)
    assert [one.ask(Random(n), [2]) for n in range(20)] == [
        other.ask(Random(n), [2]) for n in range(20)
    ]


def test_best_builds_mostly_on_the_champion_and_sometimes_on_others():
    chosen = parents(observed(Best(), [scored(n, -abs(n - 7)) for n in range(20)]))
    assert 0.7 < chosen.count(7) / len(chosen) < 0.95
    assert set(chosen) - {7}


def test_best_takes_the_earlier_of_equals():
    chosen = parents(observed(Best(), [scored(n, 1.0) for n in range(5)]))
    assert max(set(chosen), key=chosen.count) == 0


def test_best_spreads_over_parents_that_others_do_not_build_on():
    search = observed(Best(), [scored(n, n) for n in range(5)])
    assert 4 not in parents(search, pending=[4])
    assert set(parents(search, pending=[0, 1, 2, 3, 4])) >= {4}


def test_best_shows_the_champion_and_others_and_remembers_failures():
    search = observed(
        Best(),
        [scored(0, 1), failed(1), scored(2, 3), scored(3, 2), scored(4, 3, x="x2")],
    )
    plan = search.ask(Random(0), [])
    assert plan.parent.number == 2
    assert [trial.number for trial in plan.context] == [0, 2, 3]
    assert [trial.number for trial in plan.failures] == [1]


def test_best_stays_small_and_quick_over_thousands():
    search = observed(Best(), [scored(n, (n * 7919) % 10_007) for n in range(10_000)])
    chosen = parents(search)
    champion = max(range(10_000), key=lambda n: (n * 7919) % 10_007)
    assert max(set(chosen), key=chosen.count) == champion
    plan = search.ask(Random(0), [])
    assert len(plan.context) + len(plan.failures) < 20


def test_chat_shows_all_in_order_with_the_newest_last():
    plan = observed(Chat(), [scored(0, 5), failed(1), scored(2, 3)]).ask(Random(0), [])
    assert plan.transcript
    assert [trial.number for trial in plan.context] == [0, 1]
    assert plan.parent.number == 2


def test_chat_forgets_the_older_half_but_never_the_champion():
    search = observed(
        Chat(max_trials=8), [scored(0, 99), *(scored(n, n) for n in range(1, 9))]
    )
    plan = search.ask(Random(0), [])
    assert [trial.number for trial in plan.context] == [0, 5, 6, 7]
    assert plan.parent.number == 8
    plan = observed(search, [scored(n, n) for n in range(9, 13)]).ask(Random(0), [])
    assert [trial.number for trial in plan.context] == [0, *range(5, 12)]
