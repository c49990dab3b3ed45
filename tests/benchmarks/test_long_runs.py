"""Long runs are looked at in a time that grows as they do, and no faster."""

import time
from contextlib import closing
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import long_runs
from benchmarks.watch import bulk_run
from llm_optimize.cli.tables import trials_table
from llm_optimize.store import Store
from llm_optimize.text import show_number, show_numbers

CLOSE = st.integers(-5, 5).flatmap(
    lambda base: st.integers(0, 10**9).map(lambda more: base + more * 1e-12)
)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | CLOSE, max_size=30))
def test_all_numbers_at_once_are_shown_as_one_by_one(values):
    assert show_numbers(values) == [show_number(value, values) for value in values]


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    """Return the trials of a run of 8,000, written at once."""
    with closing(Store(str(tmp_path_factory.mktemp("long") / "runs.db"))) as store:
        bulk_run(store, "long", 8000, calls=False)
        return store.run("long").trials()


def cpu_secs(trials):
    """Return the least processor time of three tables."""
    taken = []
    for _ in range(3):
        begun = time.process_time()
        trials_table(trials, trials[-1])
        taken.append(time.process_time() - begun)
    return min(taken)


def test_the_table_of_four_times_the_trials_takes_about_four_times_as_long(trials):
    assert cpu_secs(trials) <= 6 * cpu_secs(trials[:2000])


def test_numbers_that_are_all_close_are_shown_in_linear_time():
    rng = Random(1)
    values = [1 + rng.random() * 1e-9 for _ in range(8000)]

    def cpu_secs(values):
        begun = time.process_time()
        assert len(set(show_numbers(values))) == len(set(values))
        return time.process_time() - begun

    assert min(cpu_secs(values) for _ in range(3)) <= 8 * min(
        cpu_secs(values[:2000]) for _ in range(3)
    )


def test_the_benchmark_measures_each_command():
    bars = long_runs.commands(trials=30)
    assert len(bars) == 6
    assert all(bar.value > 0 for bar in bars)
