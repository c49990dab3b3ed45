"""Golden record of the searches: the same seed makes the same plans, from version to version.

Each search runs on a seeded landscape with several workers, failures, duplicates, failed stages and
trials that are scored again. A digest of all its plans is compared with the one that was recorded.
After a change that is meant to change plans, this prints the new record:
`PYTHONPATH=tests python tests/search/test_search_golden.py`.
"""

import asyncio
import hashlib
import re
from random import Random

import pytest

from llm_optimize.llm import Ensemble, Price
from llm_optimize.records import Reply, Status, Trial, Usage
from llm_optimize.search import Best, BestOfN, Chat, Islands, Pareto, Tree
from llm_optimize.testing import changed

STEPS = 300
OPTIMUM = (1.0, -2.0, 3.0, 0.5)

SEARCHES = {
    "best": Best,
    "best, novel": lambda: Best(
        shown=3, failures=2, champion_share=0.5, patience=5, novelty=1.0
    ),
    "best_of_n": BestOfN,
    "chat": Chat,
    "chat, short": lambda: Chat(max_trials=7),
    "tree": Tree,
    "tree, repairing": lambda: Tree(
        drafts=6, repair_share=0.8, max_repairs=2, patience=2, shown=3, failures=3
    ),
    "islands": Islands,
    "islands, many": lambda: Islands(
        islands=2,
        max_islands=4,
        population=6,
        metrics=["norm"],
        migrate_every=3,
        patience=4,
        shown=3,
        failures=3,
    ),
    "pareto": Pareto,
    "pareto, metrics": lambda: Pareto(
        metrics=["norm", "-first"], merge_share=0.6, kept=8, shown=3, failures=3
    ),
}


def x_of(values, rng):
    """Write numbers as x: mostly as a list, now and then as a program or as named texts."""
    numbers = ", ".join(f"{value:.3f}" for value in values)
    kind = rng.random()
    if kind < 0.7:
        return f"[{numbers}]"
    if kind < 0.85:
        lines = [f"step_{rng.randrange(4)}()" for _ in range(rng.randrange(2, 12))]
        return "\n".join([f"x = [{numbers}]", *lines])
    return {"main": f"x = [{numbers}]", "note": "n" * rng.randrange(40)}


def values_of(trial):
    text = trial.x if isinstance(trial.x, str) else trial.x["main"]
    return [float(number) for number in re.findall(r"-?\d+\.\d+", text)[:4]]


def first_trial():
    x = "[4.000, 4.000, -4.000, -4.000]"
    return evaluated(0, x, [4.0, 4.0, -4.0, -4.0], None, Random(0), "x0")


def evaluated(number, x, values, parent, rng, source="model:m"):
    """Score x on the landscape; one in eight fails, a few stop at an early stage or have no x."""
    kind = 1.0 if parent is None else rng.random()
    if kind < 0.03:
        return Trial.of(
            number, None, Status.INVALID, source, feedback="no x", parent=parent
        )
    if kind < 0.15:
        return Trial.of(
            number, x, Status.FAILED, source, feedback="ValueError", parent=parent
        )
    if kind < 0.19:
        return Trial.of(
            number,
            x,
            Status.FAILED,
            source,
            feedback="slow",
            parent=parent,
            stage="quick",
        )
    misses = [(a - b) ** 2 for a, b in zip(values, OPTIMUM, strict=True)]
    score = -round(sum(misses), 6)
    instances = {f"case {place}": -round(miss, 6) for place, miss in enumerate(misses)}
    if number % 5 == 0:
        instances = {}
    metrics = {"norm": round(sum(map(abs, values)), 6), "first": values[0]}
    status = Status.DUPLICATE if kind < 0.22 else Status.COMPLETE
    return Trial.of(
        number,
        x,
        status,
        source,
        score=score,
        parent=parent,
        metrics=metrics,
        instances=instances,
    )


def child_of(plan, number, rng):
    """Move some numbers of the parent, or go towards another that is shown."""
    parent = plan.parent
    values = values_of(parent)
    if rng.random() < 0.05:
        return evaluated(number, parent.x, values, parent.number, rng)
    others = [trial for trial in plan.context if trial.number != parent.number]
    if others and rng.random() < 0.3:
        other = values_of(rng.choice(others))
        values = [
            a + rng.random() * (b - a) for a, b in zip(values, other, strict=True)
        ]
    else:
        values = [value + rng.gauss(0, 0.5) * (rng.random() < 0.5) for value in values]
    values = [round(value, 3) for value in values]
    return evaluated(number, x_of(values, rng), values, parent.number, rng)


def plan_line(plan):
    parent = plan.parent.number if plan.parent else None
    context = [trial.number for trial in plan.context]
    failures = [trial.number for trial in plan.failures]
    hint = bool(plan.hint), re.findall(r"\d+", plan.hint)
    return f"{parent} {context} {failures} {hint} {plan.transcript}"


def plans(make, seed, workers):
    """Return a line for each plan of one run."""
    search, rng = make(), Random(f"landscape/{seed}")
    finished, flying, lines = [first_trial()], [], []
    search.observe(finished[0])
    for number in range(1, STEPS):
        pending = tuple(trial.parent for trial in flying)
        plan = search.ask(Random(f"plan/{seed}/{number}"), pending)
        lines.append(plan_line(plan))
        flying.append(child_of(plan, number, rng))
        if len(flying) == workers:
            trial = flying.pop(rng.randrange(workers))
            finished.append(trial)
            search.observe(trial)
        if number % 7 == 0:
            place = rng.randrange(len(finished))
            finished[place] = scored_again(finished[place], rng)
            search.observe(finished[place])
    return lines


def scored_again(trial, rng):
    if not trial.scored:
        return trial
    if rng.random() < 0.1:
        return changed(trial, status=Status.FAILED, score=None)
    score = round(trial.score + rng.gauss(0, 0.3), 6)
    return changed(trial, score=score, scorings=trial.scorings + 1)


def digest(make):
    together = hashlib.blake2b(digest_size=8)
    for seed in range(3):
        for workers in (1, 4):
            together.update("\n".join(plans(make, seed, workers)).encode())
    return together.hexdigest()


class Arm:
    """A model that costs something and writes nothing."""

    def __init__(self, name, price):
        self.name = name
        self.price = price

    async def reply(self, messages):
        return Reply("", Usage(1), self.name)

    async def aclose(self):
        pass


def choices(prices, choose, seed):
    """Return which of three models an ensemble asked, call by call."""
    arms = [Arm(f"m{place}", price) for place, price in enumerate(prices)]
    ensemble = Ensemble([(arms[0], 2.0), *arms[1:]], choose=choose, seed=seed)
    rng, names = Random(f"ensemble/{seed}"), []
    scores = {}
    for number in range(STEPS):
        reply = asyncio.run(ensemble.reply([]))
        names.append(reply.model)
        parent = rng.randrange(number) if number else None
        score = round(rng.gauss(int(reply.model[1]) * 0.2, 1.0), 6)
        usage = Usage(1, rng.randrange(500, 2000), rng.randrange(50, 500))
        source = f"model:{reply.model}"
        trial = Trial.of(
            number, f"x{number}", Status.COMPLETE, source, score=score, parent=parent
        )
        scores[number] = score
        ensemble.observe(changed(trial, usage=usage))
    return names


PRICES = [Price(1.0, 2.0), Price(0.5, 8.0), Price(3.0, 3.0)]
ENSEMBLES = {
    "bandit, per dollar": (PRICES, "bandit"),
    "bandit, per call": ([None, *PRICES[1:]], "bandit"),
    "weights": (PRICES, "weights"),
}


def ensemble_digest(prices, choose):
    together = hashlib.blake2b(digest_size=8)
    for seed in range(3):
        together.update(" ".join(choices(prices, choose, seed)).encode())
    return together.hexdigest()


RECORD = {
    "best": "bfb557fcb14c675f",
    "best, novel": "64decdfac5726f5c",
    "best_of_n": "395a5b1f2756c449",
    "chat": "d3946d709506746c",
    "chat, short": "dedce1e4282349a7",
    "tree": "0bd615928b3c00ad",
    "tree, repairing": "999ae209f6bb91f3",
    "islands": "f9a0f3053f177321",
    "islands, many": "12d6612035088d9a",
    "pareto": "9d431f1b27a8b6de",
    "pareto, metrics": "eb4130feefabac6b",
    "bandit, per dollar": "c3bebe74f00e0a60",
    "bandit, per call": "1f0d4e2d1cf4099a",
    "weights": "96e9194cf1fc514c",
}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_makes_the_recorded_plans(name):
    assert digest(SEARCHES[name]) == RECORD[name]


@pytest.mark.parametrize("name", ENSEMBLES)
def test_an_ensemble_makes_the_recorded_choices(name):
    assert ensemble_digest(*ENSEMBLES[name]) == RECORD[name]


if __name__ == "__main__":
    for name, make in SEARCHES.items():
        print(f'    "{name}": "{digest(make)}",')
    for name, arguments in ENSEMBLES.items():
        print(f'    "{name}": "{ensemble_digest(*arguments)}",')
