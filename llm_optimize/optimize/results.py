"""The result of a run, from what is known of it."""

from __future__ import annotations

from functools import partial

from ..records import Result
from ..store import Run
from ..watch import report
from .state import RunState


def result_of(run: Run, state: RunState, reason: str) -> Result:
    """Return what a run found so far, and why it ended."""
    url = run.store.url
    return Result(
        run.name,
        state.by_number(),
        state.counts.total_usage,
        reason,
        run.test_scores,
        direction=state.settings.direction,
        store=url,
        write_report=partial(report.write_stored, url, run.name),
    )
