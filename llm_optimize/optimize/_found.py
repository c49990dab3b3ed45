"""The result of a run that is in a store, and can be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from ..records import Result, Trial, Usage
from ..store import Store
from ..watch import report


class Found(Result):
    """A result that knows where its run is stored."""

    def __init__(
        self,
        name: str,
        trials: Sequence[Trial],
        usage: Usage,
        stop_reason: str,
        test_scores: Mapping[int, float] | None = None,
        *,
        store: str,
    ) -> None:
        """Take what a `Result` takes, and the URL of the store."""
        super().__init__(name, trials, usage, stop_reason, test_scores)
        self.store = store

    def report(self, path: str | Path = "report.html") -> Path:
        """Write one self-contained HTML file that shows all of the run, and return its path.

        Raises what `watch.report.write` raises: UsageError for a file that cannot be written, and MissingExtra.
        """
        with closing(Store(self.store, create=False)) as opened:
            return report.write(opened, self.name, path)
