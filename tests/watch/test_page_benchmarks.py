"""Each benchmark of report and page at a tiny size: it ends, and measures what it names."""

from contextlib import closing

import pytest

from benchmarks import watch
from llm_optimize.store import Store
from pages import browser_path


def test_a_bulk_run_is_one_that_a_run_could_have_written(tmp_path):
    with closing(Store(str(tmp_path / "runs.db"))) as store:
        watch.bulk_run(store, "long", 50, calls=True)
        run = store.run("long")
        trials = run.trials()
        assert [trial.number for trial in trials] == list(range(50))
        assert all(trial.parent < trial.number for trial in trials[1:])
        assert len(run.calls()) == 49
        assert run.calls(7)[0].reply.text.count(trials[7].x) == 1


def test_the_report_is_measured():
    written, size = watch.report_file(trials=30)
    assert 0 < written.value < 5
    assert 1 < size.value < 8


@pytest.mark.skipif(browser_path() is None, reason="no browser on this machine")
def test_the_opening_of_a_page_is_measured():
    opened, longest = watch.page_opens(trials=40)
    assert opened.value > 0
    assert 0 < longest.value < opened.value + 5


def test_watching_is_measured_by_turns():
    (ratio,) = watch.watched(trials=80, scoring_secs=0.001)
    assert 0.2 < ratio.value < 5
