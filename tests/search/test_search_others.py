"""Tree, islands and pareto: what makes each of them different."""

from collections import Counter
from itertools import pairwise
from random import Random

import pytest

from llm_optimize.records import Status, Trial
from llm_optimize.search import Islands, Pareto, Tree
from llm_optimize.testing import changed


def scored(number, score, parent=None, **more):
    return Trial.of(
        number, f"x{number}", Status.COMPLETE, "m", score=score, parent=parent, **more
    )


def failed(number, parent=None, **more):
    return Trial.of(
        number, f"x{number}", Status.FAILED, "m", feedback="boom", parent=parent, **more
    )


def observed(search, trials):
    for trial in trials:
        search.observe(trial)
    return search


def parents(search, asks=200, pending=()):
    return Counter(
        search.ask(Random(seed), pending).parent.number for seed in range(asks)
    )


# Tree.


def test_a_tree_begins_with_drafts_that_see_nothing_else():
    search = observed(Tree(drafts=3), [scored(0, 1.0)])
    for number in range(1, 4):
        plan = search.ask(Random(number), [])
        assert (plan.parent.number, plan.context, plan.failures) == (0, (), ())
        assert "from scratch" in plan.hint
        search.observe(scored(number, number, parent=0))
    plan = search.ask(Random(9), [])
    assert plan.parent.number == 3
    assert plan.context
    assert not plan.hint


def test_drafts_in_flight_count():
    search = observed(Tree(drafts=3), [scored(0, 1.0), scored(1, 2.0, parent=0)])
    assert search.ask(Random(0), [0]).hint
    assert not search.ask(Random(0), [0, 0]).hint


def test_several_first_x_are_drafts():
    assert (
        observed(Tree(drafts=2), [scored(0, 1), scored(1, 3), scored(2, 2)])
        .ask(Random(0), [])
        .parent.number
        == 1
    )


def test_a_node_without_fruit_makes_way_for_the_next_best():
    search = observed(
        Tree(drafts=0, patience=5),
        [scored(0, 1), scored(1, 9, 0), scored(2, 8, 0), scored(3, 7, 0)],
    )
    built_on = []
    for number in range(4, 24):
        parent = search.ask(Random(number), []).parent.number
        built_on.append(parent)
        search.observe(scored(number, 0.5, parent))
    assert built_on[:6] == [1] * 6
    assert 2 in built_on[6:8]
    assert Counter(built_on).most_common(1)[0][0] == 1
    search.observe(scored(24, 10, parent=2))
    assert search.ask(Random(24), []).parent.number == 24


def test_the_promising_failure_is_repaired():
    search = observed(
        Tree(drafts=0, repair_share=1.0),
        [scored(0, 1), scored(1, 9, 0), failed(2, 1), failed(3, 0)],
    )
    plan = search.ask(Random(0), [])
    assert plan.parent.number == 2
    assert "failed" in plan.hint
    assert [trial.number for trial in plan.failures] == [3]
    assert search.ask(Random(0), [2]).parent.number == 3
    assert search.ask(Random(0), [2, 3]).parent.number == 1


def test_repairs_are_as_deep_as_allowed_and_a_repaired_one_is_left_alone():
    search = observed(
        Tree(drafts=0, repair_share=1.0, max_repairs=2), [scored(0, 1), failed(1, 0)]
    )
    assert search.ask(Random(0), []).parent.number == 1
    search.observe(failed(2, 1))
    assert search.ask(Random(0), []).parent.number == 2
    assert search.ask(Random(0), [2]).parent.number == 0  # 1 is not a leaf any more
    search.observe(failed(3, 2))
    assert search.ask(Random(0), []).parent.number == 0
    search = observed(
        Tree(drafts=0, repair_share=1.0),
        [scored(0, 1), failed(1, 0), scored(2, 0.5, 1)],
    )
    assert search.ask(Random(0), []).parent.number == 0


def test_what_did_not_pass_a_stage_is_not_repaired():
    search = observed(
        Tree(drafts=0, repair_share=1.0),
        [scored(0, 1), failed(1, 0, stage="minibatch")],
    )
    assert search.ask(Random(0), []).parent.number == 0


def test_without_any_score_the_tree_repairs():
    search = observed(
        Tree(drafts=0, max_repairs=1),
        [failed(0), failed(1, 0), failed(2, 1), failed(3, 2)],
    )
    assert search.ask(Random(0), []).parent.number in range(4)


# Islands.


def lived(search, count, score, islands=None):
    """Let a search plan and tell `count` trials; `score` is a function of number and parent."""
    search.observe(scored(0, 0.0))
    plans = []
    for number in range(1, count + 1):
        plan = search.ask(Random(number), [])
        plans.append(plan)
        search.observe(scored(number, score(number, plan.parent), plan.parent.number))
    return plans


def families(plans):
    """Return how many of the first children have descendants among the later trials."""
    root = {0: 0}
    for number, plan in enumerate(plans, 1):
        root[number] = root[plan.parent.number] or number
    return Counter(root.values())


def test_populations_live_side_by_side():
    rng = Random(5)
    plans = lived(
        Islands(islands=3, migrate_every=1000),
        150,
        lambda n, p: (p.score or 0) + rng.gauss(0, 1),
    )
    shares = sorted(families(plans[:100]).values(), reverse=True)[:3]
    assert len(shares) == 3
    assert min(shares) > 5


def test_one_island_gets_more_when_it_earns_them():
    search = Islands(islands=2, migrate_every=1000, patience=1000)
    observed(search, [scored(0, 0.0), scored(1, 1.0, 0), scored(2, 1.0, 0)])
    family = {1: 1, 2: 2}
    best = {1: 1.0, 2: 1.0}
    for number in range(3, 120):
        plan = search.ask(Random(number), [])
        side = family[plan.parent.number] if plan.parent.number else 1 + number % 2
        best[side] += 1.0 if side == 1 else 0.0
        family[number] = side
        search.observe(
            scored(number, best[side] if side == 1 else 0.5, plan.parent.number)
        )
    shares = Counter(family.values())
    assert shares[1] > 1.5 * shares[2]
    assert shares[2] > 5


def test_an_island_that_does_not_improve_explores_more():
    still = observed(
        Islands(islands=1, patience=1000),
        [scored(0, 9.0), *(scored(n, n / 99, 0) for n in range(1, 60))],
    )
    rising = observed(
        Islands(islands=1, patience=1000),
        [scored(n, 1.1**n, n - 1 if n else None) for n in range(60)],
    )
    assert 1 - parents(still)[0] / 200 > 1.25 * (1 - parents(rising)[59] / 200)


def test_the_second_best_moves_on_and_is_built_on_there():
    search = Islands(islands=2, migrate_every=4, patience=1000)
    observed(search, [scored(0, 0.0), scored(1, 1.0, 0), scored(2, -1.0, 0)])
    observed(search, [scored(3, 5.0, 1), scored(4, 6.0, 3), scored(5, 2.0, 1)])
    shown = [
        {trial.number for trial in search.ask(Random(seed), []).context}
        for seed in range(50)
    ]
    shown += [
        {trial.number for trial in search.ask(Random(seed), [4] * 9).context}
        for seed in range(50)
    ]
    assert any({2, 3} <= numbers for numbers in shown)  # 3 lives with 2 now
    assert not any({4, 3} <= numbers for numbers in shown)


def test_when_all_are_stale_a_new_island_is_founded_with_one_guidance():
    search = Islands(islands=2, max_islands=3, patience=5, migrate_every=1000)
    plans = lived(search, 100, lambda n, p: -float(n))
    guided = [
        number
        for number, plan in enumerate(plans)
        if "fundamentally different" in plan.hint
    ]
    assert guided
    assert guided[0] >= 10
    assert all(b - a > 5 for a, b in pairwise(guided))
    assert len(search._islands) == 3


def test_a_guidance_that_is_in_flight_is_not_repeated():
    search = Islands(islands=1, patience=3)
    observed(search, [scored(0, 9.0), *(scored(n, n, 0) for n in range(1, 4))])
    plan = search.ask(Random(0), [])
    assert "fundamentally different" in plan.hint
    assert not search.ask(Random(0), [plan.parent.number]).hint


def test_the_best_of_each_niche_stays():
    small = [changed(scored(n, 50.0 + n, 0), x="s" * 10 + str(n)) for n in range(1, 30)]
    large = changed(scored(30, 1.0, 0), x="l" * 500)
    slow = [scored(n, 49.0, 0, metrics={"memory": 5.0}) for n in (31,)]
    search = observed(
        Islands(islands=1, population=5, metrics=["memory"], patience=999),
        [scored(0, 0), large, *slow],
    )
    observed(search, [changed(trial, metrics={"memory": 1.0}) for trial in small])
    assert {30, 31} <= set(parents(search, 500))


# Pareto.


def example(number, *values, parent=None):
    instances = {f"e{place}": value for place, value in enumerate(values)}
    return scored(number, sum(values) / len(values), parent, instances=instances)


def test_parents_are_picked_as_often_as_they_are_best():
    trials = [
        example(0, 1, 1, 1, 0),
        example(1, 0, 0, 0, 1),
        example(2, 0.9, 0.9, 0.9, 0.1),
    ]
    chosen = parents(observed(Pareto(merge_share=0), trials), 500)
    assert set(chosen) == {0, 1}
    assert (
        0.7 < chosen[0] / 500 < 0.9
    )  # best at three examples and in the mean, of five things


def test_one_that_another_equals_wherever_it_is_best_is_not_picked():
    chosen = parents(
        observed(
            Pareto(merge_share=0),
            [example(0, 1, 0, 0), example(1, 1, 1, 0), example(2, 0, 0, 1)],
        )
    )
    assert set(chosen) == {1, 2}


def test_two_that_are_good_at_different_things_are_merged():
    trials = [
        example(0, 1, 1, 0, 0),
        example(1, 0, 0, 1, 0.9),
        example(2, 0, 0, 0.2, 1),
    ]
    plans = [
        observed(Pareto(merge_share=1), trials).ask(Random(seed), [])
        for seed in range(60)
    ]
    merges = {(plan.parent.number, plan.hint) for plan in plans}
    for plan in plans:
        other = next(
            n
            for n in range(3)
            if f"Trial {n} is better than trial {plan.parent.number} at" in plan.hint
        )
        assert other != plan.parent.number
        assert other in [trial.number for trial in plan.context]
    assert any(
        parent == 0 and "Trial 1 is better than trial 0 at e2, e3" in hint
        for parent, hint in merges
    )


def test_many_examples_are_not_all_named():
    trials = [example(0, *[1] * 20, *[0] * 20), example(1, *[0] * 20, *[1] * 20)]
    assert (
        "and 15 more" in observed(Pareto(merge_share=1), trials).ask(Random(0), []).hint
    )


@pytest.mark.parametrize(
    ("metrics", "best"),
    [(None, {0, 1, 2}), (["a"], {0, 1}), (["-b"], {0, 1}), ([], {1})],
)
def test_metrics_count_where_there_are_no_examples(metrics, best):
    values = [(5, 0), (1, 1), (0, 5)]
    trials = [
        scored(n, 9 if n == 1 else 0, metrics={"a": a, "b": b})
        for n, (a, b) in enumerate(values)
    ]
    chosen = parents(observed(Pareto(metrics=metrics, merge_share=0), trials))
    assert {number for number, count in chosen.items() if count > 20} == best


def test_what_failed_a_minibatch_is_remembered_and_never_built_on():
    search = observed(
        Pareto(),
        [
            example(0, 1, 0),
            failed(1, 0, stage="minibatch", instances={"e0": 9.0, "e1": 9.0}),
        ],
    )
    plan = search.ask(Random(0), [])
    assert plan.parent.number == 0
    assert [trial.number for trial in plan.failures] == [1]


def test_a_trial_that_loses_its_place_gives_it_back():
    search = observed(
        Pareto(merge_share=0),
        [example(0, 1, 0), example(1, 0.5, 0.8), example(2, 0.2, 0.9)],
    )
    assert set(parents(search)) >= {0, 2}
    search.observe(example(0, 0.1, 0))
    assert set(parents(search)) == {1, 2}


def test_hundreds_of_examples_and_ties_stay_bounded():
    rng = Random(3)
    search = Pareto(kept=30)
    for number in range(600):
        search.observe(
            example(number, *(float(rng.random() < 0.5) for _ in range(200)))
        )
    assert len(search._front) <= 30
    assert len(set(parents(search))) > 5
