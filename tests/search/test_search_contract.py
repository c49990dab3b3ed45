"""All searches keep the contract; and the contract finds those that do not."""

import pytest

from llm_optimize.records import Plan
from llm_optimize.search import Best, Chat, Islands, Pareto, Tree
from llm_optimize.testing import SearchContract


class TestBest(SearchContract):
    def make(self):
        return Best()


class TestChat(SearchContract):
    def make(self):
        return Chat()


class TestShortChat(SearchContract):
    def make(self):
        return Chat(max_trials=6)


class TestTree(SearchContract):
    def make(self):
        return Tree()


class TestTreeWithoutDrafts(SearchContract):
    def make(self):
        return Tree(drafts=0, patience=1, repair_share=0.8)


class TestIslands(SearchContract):
    def make(self):
        return Islands()


class TestSmallIslands(SearchContract):
    def make(self):
        return Islands(
            islands=2,
            max_islands=3,
            population=4,
            patience=3,
            migrate_every=2,
            metrics=["size"],
        )


class TestPareto(SearchContract):
    def make(self):
        return Pareto()


class TestSmallPareto(SearchContract):
    def make(self):
        return Pareto(metrics=["-size"], kept=2, merge_share=0.5)


# Searches that break a promise, and the test that tells.


class RememberingAsks(Best):
    asks = 0

    def ask(self, rng, pending):
        self.asks += 1
        return super().ask(rng, [number for number in pending if self.asks % 2])


class RandomOfItsOwn(Best):
    def ask(self, rng, pending):
        plan = super().ask(rng, pending)
        return Plan(plan.parent, hint=str(id(self)))


class Stubborn(Best):
    def ask(self, rng, pending):
        return super().ask(rng, [])


class Keeper(Best):
    def __init__(self):
        super().__init__()
        self.known = set()

    def observe(self, trial):
        if trial.number not in self.known:
            self.known.add(trial.number)
            super().observe(trial)


class Hoarder(Best):
    def __init__(self):
        super().__init__()
        self.all = []

    def observe(self, trial):
        super().observe(trial)
        self.all.append(trial)

    def ask(self, rng, pending):
        return Plan(super().ask(rng, pending).parent, context=tuple(self.all))


class Scribbler(Best):
    def observe(self, trial):
        if isinstance(trial.x, dict):
            trial.x["seen"] = True
        super().observe(trial)


class Inventor(Best):
    def ask(self, rng, pending):
        plan = super().ask(rng, pending)
        return plan if plan.parent else Plan(Keeper)


@pytest.mark.parametrize(
    ("search", "test"),
    [
        (RememberingAsks, "test_resume_equals_having_lived_through_it"),
        (RandomOfItsOwn, "test_the_same_seed_gives_the_same_plan"),
        (Stubborn, "test_what_is_in_flight_counts"),
        (Keeper, "test_a_trial_observed_again_replaces_what_was_known"),
        (Keeper, "test_what_is_shown_was_observed"),
        (Hoarder, "test_thousands_of_trials"),
        (Scribbler, "test_nothing_that_is_handed_in_is_changed"),
        (Inventor, "test_with_nothing_observed_there_is_nothing_to_build_on"),
    ],
)
def test_the_contract_finds_a_search_that_breaks_it(search, test):
    contract = SearchContract()
    contract.make = search
    with pytest.raises(AssertionError):
        getattr(contract, test)()
