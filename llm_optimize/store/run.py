"""One run in a store: every step of a trial is one commit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import RunNotFound, StoreError, UsageError
from ..records import Direction, Message, Plan, Proposal, Reply, Trial, Usage
from . import rows, writes
from .reading import Progress, Seen, one_trial, progress
from .rows import Call, Pending, Steer
from .writer import Writer
from .writes import Write

if TYPE_CHECKING:
    from . import Store
    from .lock import Lock


class Run:
    """One run in a store.

    `Store.create_run` and `Store.hold` return it for writing, `Store.run` for reading.

    Attributes:
        store: the one that it is in.
        name: unique in the store.
        settings: as they were stored; plain data.
        direction: whether a higher or a lower score is better. Rows hold the scores of f.
        func_version: of f, as the user names it; trials that are finished from now on have it.
        stop_reason: why it had ended when this was read; None: it goes on, or was killed.
        origin: of a fork; None for any other run.
        test_scores: on examples that no model has seen, by trial.
        key: of its row.
    """

    def __init__(self, store: Store, row: Any, lock: Lock | None = None) -> None:
        self.store = store
        self.name: str = row.name
        with rows.undamaged(f"the run {self.name!r}"):
            self.settings: Mapping[str, Any] = json.loads(row.settings)
            self.direction = Direction.of_settings(self.settings)
        self.func_version: str | None = row.func_version
        self.stop_reason: str | None = row.stop_reason
        self.origin = rows.to_origin(row)
        self.test_scores = rows.to_test_scores(row)
        self.key: int = row.id
        self._identity = (row.name, row.created_at)
        self._lock = lock
        self._writer: Writer | None = None

    def close(self) -> None:
        """Write what the writer still has, and let others write this run; reading goes on."""
        if self._writer is not None:
            self._writer.close()
        if self._lock is not None:
            self._lock.close()

    def writer(self) -> Writer:
        """Return the writer for an event loop; it ends when it, the run or the store is closed.

        Raises StoreError when the run is open for reading only.
        """
        self.check_held()
        if self._writer is None or self._writer.closed:
            self._writer = Writer(self)
            self.store.close_before_the_locks(self._writer)
        return self._writer

    def check_held(self) -> None:
        """Raise StoreError when this run may not be written here."""
        if self._lock is None or not self._lock.held:
            raise StoreError(
                f"the run {self.name!r} is open for reading only here: "
                "open it with Store.hold, and write before close"
            )

    # Writing. `writer` does the same for an event loop.

    def plan(self, number: int, plan: Plan) -> None:
        """Write that trial `number` is begun, and what it builds on."""
        self._write(writes.plan(self.key, number, plan))

    def sent(
        self,
        trial: int,
        index: int,
        model: str,
        messages: Sequence[Message],
    ) -> int:
        """Write a model call that is about to be sent; return its key."""
        write = writes.sent(self.key, trial, index, model, messages)
        key = self._write(write)
        if key is None:
            raise StoreError(
                "the database did not return the key of a new row: "
                "use a database that does"
            )
        return key

    def received(self, call: int, reply: Reply) -> None:
        """Write the reply of a call, before anybody reads it."""
        self._write(writes.received(call, reply))

    def call_failed(self, call: int, error: str) -> None:
        """Write that a call ended without a reply."""
        self._write(writes.call_failed(call, error))

    def propose(self, number: int, proposal: Proposal) -> None:
        """Write the x of a trial, not yet scored."""
        self._write(writes.propose(self.key, number, proposal))

    def begin_with(self, known: Sequence[Trial], first: int) -> None:
        """Write finished trials into a run without rows, in one transaction.

        The trials below the number `first` are begun by it. The trials are shared with no other
        run: this version of f did not score them.
        """
        self.check_held()
        rows_of_all = [writes.plan(self.key, n, Plan(None)) for n in range(first)]
        for place, trial in enumerate(known, start=1):
            rows_of_all.append(writes.plan(self.key, trial.number, Plan(None)))
            rows_of_all.append(writes.finish(self.key, None, trial, place))
        for outcome in self.store.write_all(rows_of_all):
            if isinstance(outcome, BaseException):
                raise outcome

    def judge(self, trial: Trial) -> None:
        """Write the evaluation of a trial that is not finished yet.

        f need not be called again for it after a kill.
        """
        self._write(writes.judge(self.key, trial))

    def finish(self, trial: Trial, order: int) -> None:
        """Write a finished trial.

        `order` counts the finished ones, and is the order in which others learn of it.

        Raises UsageError when the trial's seed does not fit into 63 bits.
        """
        write = writes.finish(self.key, self.func_version, trial, order)
        self._write(write)

    def score_again(self, trial: Trial, after: int) -> None:
        """Write further scorings of a finished trial, when `after` trials were finished."""
        self._write(writes.score_again(self.key, trial, after))

    def end(self, stop_reason: str | None) -> None:
        """Write why the run ended; None means that it goes on."""
        self._write(writes.end(self.key, stop_reason))

    def change(self, settings: Mapping[str, Any]) -> None:
        """Write the settings with which the run goes on."""
        self.settings = dict(settings)
        self._write(writes.change(self.key, settings))

    def test(self, scores: Mapping[int, float]) -> None:
        """Write the scores of some trials on examples that no model has seen."""
        self.test_scores = dict(scores)
        self._write(writes.test(self.key, scores))

    def _write(self, write: Write) -> int | None:
        self.check_held()
        return self.store.write(write)

    # Reading.

    def trials(self) -> list[Trial]:
        """Return the finished trials in the order of finishing, each as it was scored last."""
        latest: dict[int, Trial] = {}
        for trial in self.history():
            latest[trial.number] = trial
        return list(latest.values())

    def trial(self, number: int) -> Trial:
        """Return one finished trial as it was scored last.

        Raises UsageError when there is none of this number.
        """
        found = self.find(number)
        if found is None:
            raise UsageError(f"the run {self.name!r} has no finished trial {number}")
        return found

    def find(self, number: int) -> Trial | None:
        """Return one finished trial as it was scored last; None if there is none."""
        tables = self.store.tables
        with self.store.begin() as connection:
            return one_trial(connection, tables, self.key, number)

    def progress(self, seen: Seen = Seen()) -> Progress:
        """Return what is newer than a cursor, read at one moment; by default everything.

        It costs little, however long the run is, while the trials that are in flight are among the
        last. Raises RunNotFound where the run was deleted or renamed.
        """
        tables = self.store.tables
        of_run = tables.run.select().where(tables.run.c.id == self.key)
        with self.store.begin() as connection:
            # The key of a deleted run may be that of a later one.
            row = connection.execute(of_run).one_or_none()
            if row is None or (row.name, row.created_at) != self._identity:
                raise RunNotFound(self.name, (), self.store.url)
            return progress(connection, tables, row, seen)

    def seen_now(self) -> Seen:
        """Return the cursor of a reader who knows all that is finished or scored by now."""
        import sqlalchemy as sa

        trial, again = self.store.tables.trial.c, self.store.tables.again.c
        last, last_again = sa.func.max(trial.finished), sa.func.max(again.id)
        finished = sa.select(last).where(trial.run_id == self.key)
        scored_again = sa.select(last_again).where(again.run_id == self.key)
        with self.store.begin() as connection:
            place = connection.execute(finished).scalar_one()
            key = connection.execute(scored_again).scalar_one()
        return Seen(-1, place or 0, key or 0)

    def has_scores(self) -> bool:
        """Return whether any trial has a score."""
        column = self.store.tables.trial.c
        query = self.store.tables.trial.select()
        query = query.where(column.run_id == self.key, column.score.is_not(None))
        with self.store.begin() as connection:
            return connection.execute(query.limit(1)).first() is not None

    def history(self, *, brief: bool = False) -> list[Trial]:
        """Return what was learned in its order.

        That is each finished trial, and once more after further scorings changed it; with `brief`
        without x and texts, which need not be read then.
        """
        scored_again: dict[int, list[Any]] = {}
        for row in self._scored_again():
            same_place = scored_again.setdefault(row.after, [])
            same_place.append(row)
        history: list[Trial] = []
        known: dict[int, Trial] = {}
        finished = self._rows(finished=True, columns=rows.BRIEF if brief else ())
        for place, trial_row in enumerate(finished, start=1):
            trial = (rows.to_brief if brief else rows.to_trial)(trial_row)
            known[trial.number] = trial
            history.append(trial)
            for row in scored_again.get(place, ()):
                trial = rows.scored_again(known[row.trial], row)
                known[row.trial] = trial
                history.append(trial)
        return history

    def _scored_again(self) -> Sequence[Any]:
        table = self.store.tables.again
        query = table.select().where(table.c.run_id == self.key)
        query = query.order_by(table.c.id)
        with self.store.begin() as connection:
            return connection.execute(query).all()

    def pending(self) -> list[Pending]:
        """Return the trials that were begun and not finished, by number."""
        begun = self._rows(finished=False)
        if not begun:
            return []
        known = {trial.number: trial for trial in self.trials()}
        for row in begun:
            if row.x is not None:  # others may be built on it already
                known[row.number] = rows.to_open(row)
        return [rows.to_pending(row, known) for row in begun]

    def _rows(self, *, finished: bool, columns: Sequence[str] = ()) -> Sequence[Any]:
        import sqlalchemy as sa

        table = self.store.tables.trial
        if finished:
            wanted = table.c.finished.is_not(None)
        else:
            wanted = table.c.finished.is_(None)
        query = table.select()
        if columns:
            query = sa.select(*(table.c[name] for name in columns))
        query = query.where(table.c.run_id == self.key, wanted)
        with self.store.begin() as connection:
            found = connection.execute(query).all()
        # No index has this order, and a database that sorts writes all texts of a long run into
        # temporary files.
        return sorted(found, key=lambda row: (row.finished or 0, row.number))

    def calls(self, trial: int | None = None) -> list[Call]:
        """Return the model calls of one trial, or of the whole run, in the order of sending."""
        table = self.store.tables.call
        query = table.select().where(table.c.run_id == self.key)
        if trial is not None:
            query = query.where(table.c.trial == trial)
        query = query.order_by(table.c.id)
        with self.store.begin() as connection:
            found = connection.execute(query)
            return [rows.to_call(row) for row in found]

    def unused_replies(self, above: int = -1) -> dict[tuple[int, int], Reply]:
        """Return the replies to trials that are not finished, by trial and index of the call.

        Of several replies to one call the first counts. All trials up to the number `above` are
        finished. No prompt is read for it.
        """
        import sqlalchemy as sa

        call = self.store.tables.call
        trial = self.store.tables.trial
        is_open = (
            (trial.c.run_id == self.key)
            & (trial.c.number == call.c.trial)
            & trial.c.finished.is_(None)
        )
        query = sa.select(call.c.trial, call.c.call_index, call.c.reply)
        query = query.select_from(call.join(trial, is_open))
        query = query.where(
            call.c.run_id == self.key,
            call.c.trial > above,
            call.c.reply.is_not(None),
        )
        query = query.order_by(call.c.id.desc())
        with self.store.begin() as connection:
            found = connection.execute(query).all()
        replies: dict[tuple[int, int], Reply] = {}
        for row in found:  # the first one comes last
            replies[row.trial, row.call_index] = rows.to_reply(row)
        return replies

    @property
    def last_inherited(self) -> int:
        """The number of the last trial that a fork took over; -1 for any other run."""
        if self.origin is None:
            return -1
        return self.origin.trial

    def steers(self, after: int = 0) -> list[Steer]:
        """Return the control commands for this run, oldest first.

        Only those that came after the one with the key `after`.
        """
        table = self.store.tables.steer
        query = table.select()
        query = query.where(table.c.run_id == self.key, table.c.id > after)
        query = query.order_by(table.c.id)
        with self.store.begin() as connection:
            found = connection.execute(query).all()
        return [Steer(row.id, row.kind, row.text, row.given_at) for row in found]

    def answered_calls(self, above: int = -1, upto: int | None = None) -> int:
        """Return how many model calls have a reply, those that a fork inherited included.

        Only those for trials above one number, and up to another, are counted. No prompt is read.
        """
        import sqlalchemy as sa

        table = self.store.tables.call
        query = sa.select(sa.func.count(table.c.reply))
        query = query.where(table.c.run_id == self.key, table.c.trial > above)
        if upto is not None:
            query = query.where(table.c.trial <= upto)
        with self.store.begin() as connection:
            return connection.execute(query).scalar_one()

    def uncertain_calls(self) -> list[tuple[int, int]]:
        """Return trial and index of the calls that may be billed, though no reply is stored.

        The program died after they were sent.
        """
        import sqlalchemy as sa

        table = self.store.tables.call
        query = sa.select(table.c.trial, table.c.call_index)
        query = query.where(
            table.c.run_id == self.key,
            table.c.reply.is_(None),
            table.c.error.is_(None),
        )
        query = query.order_by(table.c.id)
        with self.store.begin() as connection:
            found = connection.execute(query).all()
        return [(row.trial, row.call_index) for row in found]

    def inherited(self) -> Usage:
        """Return what the first trials of a fork had used in the run that they come from."""
        usage = Usage()
        for trial in self.trials():
            if trial.number <= self.last_inherited:
                usage += trial.usage
        return usage
