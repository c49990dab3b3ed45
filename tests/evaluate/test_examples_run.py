"""optimize.run on a data set: pareto, minibatches, and a test that nobody sees before the end."""

from __future__ import annotations

import random
import re
from contextlib import closing

import pytest

from llm_optimize import optimize
from llm_optimize.records import TrialFinished
from llm_optimize.store import Store

SKILLS = ["short", "polite", "exact", "cited", "numbered", "plain"]
TRAIN = [
    {"id": f"train{n}", "needs": SKILLS[n % 6], "also": SKILLS[(n // 6) % 6]}
    for n in range(30)
]
TEST = [
    {"id": f"hidden{n}", "needs": SKILLS[n % 6], "also": SKILLS[n % 5]}
    for n in range(10)
]


def f(x, example):
    """Judge a prompt on one example: which of the wanted words it holds."""
    words = x.split()
    held = [example["needs"] in words, example["also"] in words]
    return sum(
        held
    ) / 2, f"{example['id']}: wanted {example['needs']} and {example['also']}"


class Writer:
    """A model that adds or drops a word of the prompt that it is shown, seldom to good effect."""

    name, price = "writer", None

    def __init__(self, seed):
        self._dice = random.Random(seed)
        self.prompts = []

    def __call__(self, messages):
        text = "\n".join(message["content"] for message in messages)
        self.prompts.append(text)
        shown = re.findall(r"^```\n(.*?)\n```$", text, re.M)
        words = set(self._dice.choice(shown).split()) if shown else set()
        words ^= {self._dice.choice([*SKILLS, *(f"filler{n}" for n in range(30))])}
        return "```\n" + " ".join(sorted(words) or ["Answer."]) + "\n```"


def go(url, seed, minibatch, steps=45, **options):
    model, calls = Writer(seed), []

    def count(event):
        if isinstance(event, TrialFinished):
            calls.append((event.trial.scorings, event.trial.score))

    result = optimize.run(
        "Write a prompt.",
        "A better one?",
        f,
        "Answer.",
        steps,
        model,
        False,
        search="pareto",
        examples=optimize.Examples(TRAIN, test=TEST, minibatch=minibatch),
        sandbox="inline",
        store=url,
        seed=seed,
        callbacks=[count],
        **options,
    )
    return result, model, calls


def calls_until(calls, goal):
    """Return how often f was called until a score reached the goal; all calls where none did."""
    total = 0
    for count, score in calls:
        total += count
        if score is not None and score >= goal:
            break
    return total


def test_a_few_examples_first_cost_less_than_half_to_the_same_score(tmp_path):
    factors = []
    for seed in range(3):
        few, _, few_calls = go(str(tmp_path / f"few{seed}.db"), seed, 3)
        every, _, every_calls = go(str(tmp_path / f"all{seed}.db"), seed, None)
        goal = min(few.best_score, every.best_score)
        factors.append(calls_until(every_calls, goal) / calls_until(few_calls, goal))
    assert sorted(factors)[1] >= 2.0, factors


def test_the_test_is_scored_once_at_the_end_and_is_in_no_prompt(tmp_path):
    url = str(tmp_path / "runs.db")
    result, model, _ = go(url, 1, 3, steps=20, name="amber")
    best = result.best
    assert set(result.test_scores) == {0, best.number}
    assert result.test_scores[0] == 0.0
    assert result.test_scores[best.number] > 0
    assert "train" in str(model.prompts)
    assert "hidden" not in str(model.prompts)
    with closing(Store(url)) as store:
        assert "hidden" not in str(store.run("amber").calls())
        assert store.run("amber").test_scores == result.test_scores
    again = optimize.resume(
        "amber",
        f,
        store=url,
        model=model,
        max_steps=20,
        verbose=False,
        examples=optimize.Examples(TRAIN, test=TEST),
    )
    assert again.test_scores == result.test_scores


def test_what_a_challenger_did_not_pass_is_said(tmp_path):
    result, _, _ = go(str(tmp_path / "runs.db"), 2, 3, steps=20)
    failed = [trial for trial in result.trials if trial.stage == "minibatch"]
    assert failed
    assert all(trial.score is None and trial.scorings <= 6 for trial in failed)


def test_noisy_scorings_and_examples_cannot_be_had_together(tmp_path):
    with pytest.raises(ValueError, match="examples already average several scorings"):
        go(str(tmp_path / "runs.db"), 1, 3, repeats=3)
