"""A followed run: the columns that a page shows, grown by what is new in the store."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from ...records import Status, Trial
from ...store import Again, Seen, Store
from ..report import bundle, facts
from ..run_view import RowCounts

MAX_DIGITS = 18  # of a number in a request: more do not fit into a column of integers

_COUNTED = ("number", "status", "source", "score", "scorings")


class Followed:
    """One run, read once and then incrementally; any thread may call.

    Args:
        store: that holds the run.
        name: of the run.

    Raises RunNotFound.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.run = store.run(name)
        info = store.info(name)
        self._store = store
        self._about = facts.about(self.run, info)
        self._about["plotly"] = bundle.plotly_version()
        self.columns = facts.columns([])
        self.state = facts.state([], [], info.state, ())
        self._counts = RowCounts(self.run)
        self._place: dict[int, int] = {}  # trial number -> row
        self._again: list[Again] = []
        self._steers = self.run.steers()
        self._above = -1  # all trials up to this number are known
        self._read_at = 0.0
        self._lock = threading.Lock()
        self.refresh()

    def refresh(self, fresh_secs: float = 0.0) -> None:
        """Read what is new, unless that was done less than this many seconds ago."""
        with self._lock:
            if time.monotonic() - self._read_at < fresh_secs:
                return
            # Before the trials: of a run that has finished all of them are read.
            run_state = self._store.state(self.run.name)
            again = self._again[-1].key if self._again else 0
            seen = Seen(self._above, len(self._place), again)
            news = self.run.progress(seen)
            new = [one for one in news.finished if one.number not in self._place]
            self._take(new, deque(news.again))
            last_steer = self._steers[-1].key if self._steers else 0
            self._steers += self.run.steers(last_steer)
            caps = self._counts.caps(self._above)
            self.state = facts.state(news.begun, self._steers, run_state, caps)
            self._read_at = time.monotonic()

    def _take(
        self,
        trials: Iterable[Trial],
        agains: deque[Again],
    ) -> None:
        """Learn trials and re-scorings in the order in which the run itself learned them."""
        for trial in trials:
            while agains and agains[0].after <= len(self._place):
                self._score_again(agains.popleft())
            self._place[trial.number] = len(self._place)
            for name, values in facts.columns([trial]).items():
                self.columns[name] += values
            self._counts.observe(trial)
        for again in agains:
            self._score_again(again)
        while self._above + 1 in self._place:
            self._above += 1

    def _score_again(self, again: Again) -> None:
        self._again.append(again)
        row = self._place.get(again.trial)
        if row is None:
            return
        before = self._brief(row)
        self.columns["score"][row] = again.score
        self.columns["error"][row] = again.standard_error
        self.columns["scorings"][row] = again.scorings
        trials = map(self._brief, range(len(self._place)))
        self._counts.observe(self._brief(row), before, trials)

    def _brief(self, row: int) -> Trial:
        """Return as much of a trial as `RowCounts` looks at."""
        values = [self.columns[name][row] for name in _COUNTED]
        number, status, source, score, scorings = values
        return Trial.of(number, None, Status(status), source, score, scorings=scorings)

    def snapshot(self) -> dict[str, Any]:
        """Return all facts, and the cursor from which `since` goes on."""
        with self._lock:
            about = {
                **self._about,
                "written_at": time.time(),
                "stop_reason": self.state["stop_reason"],
            }
            columns = {}
            for name, values in self.columns.items():
                columns[name] = list(values)
            return {
                "run": about,
                "columns": columns,
                "state": self.state,
                "cursor": self._cursor(),
            }

    def since(self, cursor: str) -> dict[str, Any]:
        """Return the rows and re-scorings after a cursor, the state, and the next cursor."""
        rows, agains = _places(cursor)
        with self._lock:
            new = {}
            for name, values in self.columns.items():
                new[name] = values[rows:]
            return {
                "columns": new,
                "again": facts.plain(self._again[agains:]),
                "state": self.state,
                "cursor": self._cursor(),
            }

    def _cursor(self) -> str:
        return f"{len(self._place)}.{len(self._again)}"

    def parent(self, number: int) -> int | None:
        """Return the parent of a finished trial, if that is finished as well."""
        row = self._place.get(number)
        if row is None:
            return None
        parent: int | None = self.columns["parent"][row]
        return parent if parent in self._place else None


def _places(cursor: str) -> tuple[int, int]:
    """Read a cursor, "ROWS.AGAINS"; any other text is the beginning."""
    rows, _, agains = cursor.partition(".")
    for part in (rows, agains):
        if not part.isdecimal() or len(part) > MAX_DIGITS:
            return 0, 0
    return int(rows), int(agains)
