"""The default search: what it shows, how little that changes, and how it widens."""

from random import Random

import pytest

from llm_optimize.errors import UsageError
from llm_optimize.records import Status, Trial
from llm_optimize.search import Best, Chat, Islands, Pareto, Tree


def scored(number, score, x=None):
    return Trial.of(
        number, f"x{number}" if x is None else x, Status.COMPLETE, "m", score=score
    )


def failed(number):
    return Trial.of(number, f"x{number}", Status.FAILED, "m", feedback=f"boom {number}")


def observed(search, trials):
    for trial in trials:
        search.observe(trial)
    return search


def numbers(trials):
    return [trial.number for trial in trials]


def shown(search):
    return numbers(search.ask(Random(0), []).context)


def starts_with(longer, shorter):
    return longer[: len(shorter)] == shorter


# What is shown changes seldom.


def test_within_ten_trials_what_is_shown_is_only_added_to():
    search = observed(Best(), [scored(n, n * 37 % 101) for n in range(200)])
    rng = Random(1)
    breaks, before, failures = [], shown(search), ()
    for number in range(200, 300):
        search.observe(
            failed(number)
            if number % 4 == 0
            else scored(number, rng.uniform(0, 99 + number / 100))
        )
        plan = search.ask(Random(number), [])
        if not starts_with(numbers(plan.context), before) or not starts_with(
            plan.failures, failures
        ):
            breaks.append(number)
        before, failures = numbers(plan.context), plan.failures
    assert set(breaks) <= set(range(209, 300, 10))
    assert breaks


def test_a_new_batch_keeps_what_stays_in_its_old_order_and_puts_the_new_behind():
    search = observed(Best(shown=6), [scored(n, n % 13) for n in range(109)])
    before = shown(search)
    search.observe(scored(109, 12.5))
    after = shown(search)
    kept = [number for number in before if number in after]
    assert starts_with(after, kept)
    assert len(after) == 6
    assert 109 in after


def test_a_new_champion_is_shown_at_once_and_is_shown_as_a_parent_too():
    search = observed(Best(), [scored(n, n % 13) for n in range(104)])
    before = shown(search)
    search.observe(scored(104, 99))
    plans = [search.ask(Random(seed), []) for seed in range(20)]
    assert {tuple(numbers(plan.context)) for plan in plans} == {(*before, 104)}
    assert 104 in {plan.parent.number for plan in plans}


def test_a_run_of_champions_does_not_make_the_prompt_grow_without_end():
    search = Best(shown=4)
    sizes = []
    for number in range(100):
        search.observe(scored(number, number))
        sizes.append(len(search.ask(Random(number), []).context))
    assert max(sizes) <= 4 + 5
    assert sizes[-1] >= 4


def test_failures_are_remembered_the_newest_ones():
    search = observed(
        Best(failures=3), [scored(0, 1), *(failed(n) for n in range(1, 30))]
    )
    assert numbers(search.ask(Random(0), []).failures) == list(range(27, 30))


# Good and different.


def test_what_is_shown_is_far_apart_in_numbers():
    near = [scored(n, 100 - n / 100, f"[{1 + n / 1000}, 2.0]") for n in range(1, 14)]
    far = [scored(20, 90, "[9.0, 2.0]"), scored(21, 90, "[1.0, -7.0]")]
    plan = observed(
        Best(shown=3), [*near, *far, *(scored(n, -n, "[0, 0]") for n in range(30, 35))]
    ).ask(Random(0), [])
    assert numbers(plan.context) == [1, 20, 21]


def test_what_is_shown_is_far_apart_in_words():
    loop = (
        "def f(v):\n    total = 0\n    for i in v:\n        total += i * {}\n"
        "    return total\n\n\n# end\n# of it\n"
    )
    near = [scored(n, 100 - n / 100, loop.format(n)) for n in range(1, 20)]
    other = scored(
        20,
        90,
        "import math\n\n\ndef f(v):\n    return math.fsum(v)\n\n\n# short\n# and\n# quick\n",
    )
    plan = observed(
        Best(shown=2), [*near, other, *(scored(n, 1) for n in range(30, 35))]
    ).ask(Random(0), [])
    assert 20 in numbers(plan.context)


@pytest.mark.parametrize(
    "x",
    ["", "1e999 -1e999 1e5", "9" * 5000, "\0\n" * 50, "a" * 100_000, "1.2.3 -.5e 0x1f"],
)
def test_odd_texts_can_be_compared(x):
    search = observed(Best(), [scored(n, n, f"{x}{n or ''}") for n in range(21)])
    assert search.ask(Random(0), []).parent.number in range(21)


def test_without_novelty_the_very_best_are_shown():
    search = observed(Best(shown=3, novelty=0), [scored(n, n) for n in range(20)])
    assert sorted(shown(search)) == [17, 18, 19]


# When a run is stale.


def parents_and_hints(search, asks=300):
    plans = [search.ask(Random(seed), []) for seed in range(asks)]
    return [plan.parent.number for plan in plans], [plan.hint for plan in plans]


def test_a_stale_run_builds_on_weaker_parents_and_asks_for_other_ideas():
    search = observed(
        Best(patience=20),
        [scored(0, 100), *(scored(n, n / 1000) for n in range(1, 20))],
    )
    fresh, hints = parents_and_hints(search)
    assert set(hints) == {""}
    observed(search, [scored(n, n / 1000) for n in range(20, 80)])
    stale, hints = parents_and_hints(search)
    assert stale.count(0) < 0.8 * fresh.count(0)
    assert len(set(stale)) > len(set(fresh))
    assert 0.3 < sum(map(bool, hints)) / len(hints) < 0.7
    assert any("unlike everything" in hint for hint in hints)
    assert any("Combine" in hint for hint in hints)


def test_a_hint_to_combine_names_the_parent_and_one_that_is_shown():
    search = observed(
        Best(patience=1), [scored(0, 100), *(scored(n, n) for n in range(1, 20))]
    )
    plans = [search.ask(Random(seed), []) for seed in range(100)]
    combining = [plan for plan in plans if "Combine" in plan.hint]
    assert combining
    for plan in combining:
        others = [n for n in numbers(plan.context) if n != plan.parent.number]
        assert any(f"Trials {plan.parent.number} and {n} " in plan.hint for n in others)


def test_a_new_champion_ends_it():
    search = observed(
        Best(patience=5),
        [scored(0, 1), *(scored(n, 0) for n in range(1, 30)), scored(30, 2)],
    )
    assert set(parents_and_hints(search)[1]) == {""}


def test_a_champion_that_loses_its_score_makes_way():
    search = observed(
        Best(),
        [
            scored(0, 1),
            scored(1, 9),
            scored(2, 5),
            Trial.of(1, "x1", Status.COMPLETE, "m", score=0.5),
        ],
    )
    chosen, _ = parents_and_hints(search)
    assert max(set(chosen), key=chosen.count) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Best(shown=0),
            "best: shown is 0, it must be a whole number of at least 1",
        ),
        (
            lambda: Best(champion_share=1.5),
            "best: champion_share is 1.5, it must be a number from 0 to 1",
        ),
        (lambda: Best(novelty=float("nan")), "best: novelty is nan"),
        (lambda: Best(patience=2.5), "best: patience is 2.5"),
        (lambda: Best(failures=True), "best: failures is True"),
        (lambda: Chat(max_trials=0), "chat: max_trials is 0"),
        (
            lambda: Tree(drafts=-1),
            "tree: drafts is -1, it must be a whole number of at least 0",
        ),
        (lambda: Tree(repair_share="a"), "tree: repair_share is 'a'"),
        (
            lambda: Islands(islands=4, max_islands=3),
            "max_islands is 3, it must be at least islands, 4",
        ),
        (lambda: Islands(population=1), "islands: population is 1"),
        (lambda: Pareto(kept=1), "pareto: kept is 1"),
        (lambda: Pareto(merge_share=-0.1), "pareto: merge_share is -0.1"),
    ],
)
def test_a_wrong_option_is_named_with_its_value(make, message):
    with pytest.raises(UsageError, match=message):
        make()
