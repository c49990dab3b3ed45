"""`direction="minimize"`: the user sees the scores of f everywhere, and the search is the same."""

import math
import re
from contextlib import closing

import pytest

from llm_optimize import optimize, stop
from llm_optimize.errors import UnknownName, UsageError
from llm_optimize.evaluate import Examples, Repeats
from llm_optimize.propose import classical
from llm_optimize.records import (
    ChampionFound,
    Direction,
    Plan,
    Proposal,
    RunStarted,
    Status,
    Trial,
    TrialFinished,
)
from llm_optimize.space import Choice, Float, Int
from llm_optimize.store import Store
from llm_optimize.watch.run_view import RunView, stored_view

TWINS = (("maximize", -1.0), ("minimize", 1.0))  # the same task, said in two ways
NUMBERS = "a = 3\nb = -2\nc = 5"
SPACE = {"a": Float(-5, 5), "b": Int(-9, 9), "c": Choice("p", "q", "r")}


def error_of(x):
    """Return how far a text of three numbers is from the best one; some texts have no score."""
    values = [float(line.split("=")[1]) for line in x.splitlines()]
    if values[0] > 3.6:
        raise ValueError("a is too large")
    return sum((value - 1) ** 2 for value in values)


def judge_of(sign):
    """Return f of a text whose score is the error with a sign."""

    def f(x):
        value = error_of(x)
        parts = {"near": sign * round(value), "far": sign * (value + 1) ** 0.5}
        return sign * value, {"feedback": "seen", "size": len(x), "instances": parts}

    return f


def space_judge_of(sign):
    """Return f of parameters, with ties."""

    def f(x):
        return sign * round(x["a"] ** 2 + abs(x["b"]) + "pqr".index(x["c"]), 1)

    return f


def twins(url, make, x0=None, **options):
    """Return the results of the two runs, the one that maximizes first."""
    results = []
    for direction, sign in TWINS:
        results.append(
            optimize.run(
                "Make the error small.",
                "A better x?",
                make(sign),
                x0,
                verbose=False,
                sandbox="inline",
                seed=7,
                store=url,
                name=direction,
                direction=direction,
                **options,
            )
        )
    return results


def assert_mirrored(maximized, minimized):
    """The two proposed the same candidates, and differ in the sign of scores alone."""
    assert [one.x for one in minimized.trials] == [one.x for one in maximized.trials]
    assert [one.parent for one in minimized.trials] == [
        one.parent for one in maximized.trials
    ]
    assert [one.status for one in minimized.trials] == [
        one.status for one in maximized.trials
    ]
    for low, high in zip(minimized.trials, maximized.trials, strict=True):
        assert (low.score is None) == (high.score is None)
        assert low.score is None or low.score == -high.score
        assert low.instances == {name: -one for name, one in high.instances.items()}
        assert low.metrics == high.metrics
    assert minimized.best.number == maximized.best.number
    assert minimized.best_score == -maximized.best_score
    assert minimized.stop_reason == maximized.stop_reason


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'runs.db'}"


# The same candidates, whatever searches and proposes.


@pytest.mark.parametrize(
    "search", ["best", "chat", "tree", "islands", "pareto", "best_of_n"]
)
def test_a_search_minimizes_f_as_it_maximizes_minus_f(url, search):
    options = {"search": search, "model": "mutation", "max_steps": 20}
    results = twins(url, judge_of, NUMBERS, **options)
    assert_mirrored(*results)
    assert len({one.x for one in results[0].trials}) > 10
    assert results[1].best_score < results[1].scores[0]


@pytest.mark.parametrize(
    "proposer", ["mutation", "policy_gradient", *classical.SAMPLERS]
)
def test_a_proposer_minimizes_f_as_it_maximizes_minus_f(url, proposer):
    if proposer == "gp":
        pytest.importorskip("torch")
    results = twins(
        url,
        space_judge_of,
        {"a": 3.0, "b": 4, "c": "r"},
        space=SPACE,
        proposer=proposer,
        max_steps=20,
    )
    assert_mirrored(*results)
    assert results[1].best_score < results[1].scores[0]


# The same prompts, but for the signs of scores and the words about them.


def neutral(messages):
    """Return what a model read, without signs and without the words that the direction chooses."""
    text = "\n".join(message["content"] for message in messages)
    text = text.replace("a lower score is better", "a higher score is better")
    text = text.replace(" (lower is better)", "").replace(", the lowest first", "")
    text = re.sub(r"\b(more|less)(?=[;.])", "apart", text)
    return re.sub(r"-(?=\d)", "", text)


def scripted(seen):
    """Return a model that notes what it reads; its replies have ties, failures and repetitions."""
    replies = [
        f"a = {a}\nb = {b}\nc = 2" for a, b in zip("2430153", "1210034", strict=True)
    ]

    def model(messages):
        seen.append(messages)
        return f"```\n{replies[len(seen) % 7]}\n```"

    return model


@pytest.mark.parametrize("search", ["best", "chat", "pareto"])
def test_prompts_differ_in_signs_and_words_alone(url, search):
    prompts = {}
    for direction, sign in TWINS:
        prompts[direction] = []
        optimize.run(
            "Make the error small.",
            "A better x?",
            judge_of(sign),
            NUMBERS,
            12,
            scripted(prompts[direction]),
            verbose=False,
            sandbox="inline",
            seed=7,
            store=url,
            name=direction,
            direction=direction,
            search=search,
            reflect=True,
            max_prompt_tokens=9_000,
        )
    high, low = prompts["maximize"], prompts["minimize"]
    assert [neutral(one) for one in low] == [neutral(one) for one in high]
    assert len(low) > 12  # lessons were asked for, too
    texts = [one["content"] for messages in low for one in messages]
    assert not any("higher" in text or re.search(r"score -\d", text) for text in texts)


def test_a_gate_asks_the_model_for_the_same_trials(url):
    def model(messages):
        return '```json\n{"a": 1.5, "b": 2, "c": "q"}\n```'

    results = twins(
        url,
        space_judge_of,
        {"a": 3.0, "b": 4, "c": "r"},
        space=SPACE,
        proposer="adaptive(model, tpe)",
        model=model,
        max_steps=16,
    )
    assert_mirrored(*results)
    decided = [[one.decision for one in result.trials] for result in results]
    assert decided[0] == decided[1]
    assert results[1].decisions["model"] > 0


def test_a_prompt_says_that_lower_is_better_and_shows_the_scores_of_f(url):
    seen = []

    def model(messages):
        seen.append("\n".join(one["content"] for one in messages))
        return f"```\n{'4673'[len(seen) - 1]}\n```"

    words = {"store": url, "verbose": False, "sandbox": "inline"}
    optimize.run("Lower g.", "q?", g, "5", 4, model, direction="minimize", **words)
    assert "a lower score is better" in seen[0]
    assert "score 5 (lower is better)\ng is 5.0" in seen[0]
    assert (
        "By score, the lowest first: 1. trial 1 (the x to improve); 2. trial 0, 1 more"
        in (seen[3])
    )
    assert "It is the best so far." in seen[3]


# What the user sees.


def g(x):
    value = float(x)
    if value < 0:
        raise ValueError("below zero")
    return value, f"g is {value}"


def go(url, replies=("4", "-1", "2", "3"), x0="5", **options):
    """Run g with a model that writes these x; return the result and the events."""
    left = list(replies)
    events = []
    words = {
        "func": g,
        "max_steps": len(left),
        "direction": "minimize",
        "name": "low",
        "sandbox": "inline",
        "callbacks": [events.append],
        **options,
    }
    result = optimize.run(
        "Lower g.",
        "A better x?",
        x0=x0,
        model=lambda messages: f"```\n{left.pop(0)}\n```",
        verbose=False,
        store=url,
        **words,
    )
    return result, events


def test_the_result_has_the_scores_of_f_and_the_lowest_is_best(url):
    result, _ = go(url)
    best_score, scores, best_x = result
    assert (best_score, best_x, result.best.number) == (2.0, "2", 3)
    assert math.isnan(scores.pop(2))
    assert scores == [5.0, 4.0, 2.0, 3.0]
    assert result.direction is Direction.MINIMIZE
    assert "best_score=2.0" in repr(result)
    assert result.best.feedback == "g is 2.0"


def test_events_have_the_scores_of_f_and_the_champion_is_the_lowest(url):
    _, events = go(url)
    [started] = [one for one in events if isinstance(one, RunStarted)]
    assert started.direction is Direction.MINIMIZE
    finished = [one for one in events if isinstance(one, TrialFinished)]
    assert [one.trial.score for one in finished] == [5.0, 4.0, None, 2.0, 3.0]
    assert [one.champion for one in finished] == [True, True, False, True, False]
    found = [one for one in events if isinstance(one, ChampionFound)]
    assert [one.trial.score for one in found] == [5.0, 4.0, 2.0]
    assert [one.before and one.before.score for one in found] == [None, 5.0, 4.0]


def test_rows_hold_the_scores_of_f(url):
    go(url)
    with closing(Store(url)) as store:
        run = store.run("low")
        assert [one.score for one in run.trials()] == [5.0, 4.0, None, 2.0, 3.0]
        assert run.direction is Direction.MINIMIZE
        [info] = store.runs()
        assert (info.best_score, info.direction) == (2.0, "minimize")


def test_the_view_of_a_run_is_the_same_from_events_and_from_rows(url):
    _, events = go(url)
    live = RunView()
    for event in events:
        live.update(event)
    with closing(Store(url)) as store:
        stored, _ = stored_view(store.run("low"), "max_steps")
    for view in (live, stored):
        assert view.champion.score == 2.0
        assert view.best_scores == [5.0, 4.0, 4.0, 2.0, 2.0]
        assert [change for _, change in view.last] == [None, -1.0, None, -2.0, 1.0]
        assert [view.is_gain(change) for change in (-1.0, 0.0, 1.0)] == [
            True,
            False,
            False,
        ]


def test_a_score_of_zero_is_shown_without_a_sign(url):
    result, _ = go(url, ["0"])
    assert math.copysign(1.0, result.best_score) == 1.0


# What the user says.


@pytest.mark.parametrize("rule", [{"stop_score": 2.5}, {"stop": stop.score(2.5)}])
def test_the_run_ends_at_a_score_that_is_low_enough(url, rule):
    result, _ = go(url, **rule)
    assert (len(result.trials), result.best_score) == (4, 2.0)
    assert result.stop_reason.startswith("stop")


def test_a_rule_sees_the_scores_of_f(url):
    seen = []

    def rule(progress):
        scores = [trial.score for trial in progress.trials]
        seen.append((scores, progress.best and progress.best.score))
        return False

    go(url, stop=rule)
    assert seen[0] == ([], None)
    assert seen[-1] == ([5.0, 4.0, None, 2.0, 3.0], 2.0)


def test_a_score_below_the_lowest_possible_one_is_invalid(url):
    result, _ = go(url, max_score=3.0)
    assert [one.status for one in result.trials][3:] == [
        Status.INVALID,
        Status.COMPLETE,
    ]
    assert (
        "the score 2 is below the lowest possible one, 3" in result.trials[3].feedback
    )
    assert result.best_score == 3.0


def test_a_stage_is_passed_by_a_score_at_or_below_its_threshold(url):
    def cheap(x):
        return float(x) + 0.5

    result, _ = go(url, func=[(cheap, 4.5), g])
    statuses = [one.status for one in result.trials]
    assert statuses[:2] == [Status.FAILED, Status.COMPLETE]
    assert "(score 5.5, above 4.5)" in result.trials[0].feedback
    assert result.trials[1].metrics == {"cheap.score": 4.5}


def test_repeats_keep_the_scores_of_f(url):
    calls = []

    def noisy(x):
        calls.append(x)
        return float(x) + (len(calls) % 2)

    result, _ = go(url, ["4", "2", "3"], func=noisy, repeats=Repeats(2))
    best = result.best
    assert best.scorings == 2
    assert best.score == sum(best.evaluation.scores) / 2 > 0
    assert f"mean of 2 scorings: {best.score:g}" in best.feedback


def test_examples_are_minimized(url):
    def on(x, example):
        return abs(float(x) - example), f"on {example}"

    examples = Examples(train=[0.0, 1.0, 2.0, 3.0], test=[1.0, 2.0], minibatch=2)
    result, _ = go(url, ["4", "9", "2"], func=on, examples=examples)
    assert [one.score for one in result.trials] == [3.5, 2.5, None, 1.0]
    assert result.best.instances == {"0": 2.0, "1": 1.0, "2": 0.0, "3": 1.0}
    assert result.best.feedback.splitlines()[0] == "Mean of 4 train examples: 1."
    # The feedback of the worst example comes first.
    assert result.best.feedback.splitlines()[1] == "Example 0 (score 2): on 0.0"
    assert result.test_scores == {0: 3.5, 3: 0.5}


def test_an_optimizer_is_told_the_scores_of_f(url):
    options = {"model": "mutation", "seed": 1, "direction": "minimize"}
    with optimize.Optimizer("d", "q", NUMBERS, store=url, **options) as opt:
        for _ in range(6):
            trial = opt.ask()
            told = opt.tell(trial, len(trial.x) + trial.number)
            assert told.score == len(trial.x) + trial.number
        assert opt.result.best_score == min(opt.result.scores)


# The direction stays with the run.


def test_an_unknown_direction_is_refused_with_the_nearest():
    with pytest.raises(UnknownName, match=r"minimise.*minimize"):
        optimize.run("d", "q", g, "1", direction="minimise")


def test_resume_fork_and_replay_keep_the_direction(url):
    go(url, ["4", "2"], max_steps=1)
    model = {"model": lambda messages: "```\n3\n```"}
    common = {"store": url, "verbose": False}
    resumed = optimize.resume("low", g, max_steps=2, **model, **common)
    assert (resumed.scores, resumed.best_score) == ([5.0, 4.0, 3.0], 3.0)
    optimize.fork("low", 1, new_name="forked", store=url)
    model = {"model": lambda messages: "```\n9\n```"}
    forked = optimize.resume("forked", g, max_steps=2, **model, **common)
    assert (forked.scores, forked.best_score) == ([5.0, 4.0, 9.0], 4.0)
    replayed = optimize.replay("low", g, **common)
    assert (replayed.scores, replayed.best_score) == ([5.0, 4.0, 3.0], 3.0)
    for again in (optimize.resume, optimize.replay):
        with pytest.raises(UsageError, match="direction cannot change"):
            again("low", g, direction="maximize", **common)


def test_a_trial_that_was_scored_and_not_finished_keeps_its_score(url):
    """A kill between the scorings of a challenger leaves a trial with a score in the store."""
    go(url, [], max_steps=0)
    with closing(Store(url)) as store:
        run = store.hold("low")
        run.plan(1, Plan(run.trial(0)))
        run.propose(1, Proposal("2", "user"))
        run.judge(Trial.of(1, "2", Status.COMPLETE, "user", 2.0, parent=0))
        run.close()
    resumed = optimize.resume(
        "low", g, store=url, verbose=False, max_steps=1, model=lambda messages: ""
    )
    assert (resumed.scores, resumed.best.number) == ([5.0, 2.0], 1)


def test_known_scores_serve_runs_of_either_direction(url):
    calls = []

    def counted(x):
        calls.append(x)
        return float(x)

    go(url, ["4", "2"], func=counted, func_version="v1")
    assert len(calls) == 3
    result, _ = go(
        url,
        ["4", "2"],
        func=counted,
        func_version="v1",
        name="high",
        direction="maximize",
    )
    assert (len(calls), result.scores, result.best_score) == (3, [5.0, 4.0, 2.0], 5.0)


def test_a_store_of_an_older_version_maximizes(url):
    go(url, direction="maximize")
    with closing(Store(url)) as store:
        run = store.hold("low")
        settings = dict(run.settings)
        del settings["direction"]
        run.change(settings)
        run.close()
    model = {"model": lambda messages: "```\n6\n```"}
    resumed = optimize.resume("low", g, store=url, verbose=False, max_steps=5, **model)
    assert resumed.best_score == 6.0
