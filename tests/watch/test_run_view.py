"""All watchers show the same numbers, made from the events of a run or from its rows."""

import html
import io
from contextlib import closing
from itertools import count

from llm_optimize import optimize
from llm_optimize.cli.tables import spending
from llm_optimize.mcp.answers import used
from llm_optimize.optimize import Budget, Repeats
from llm_optimize.records import BudgetUsed, Cap, RunEnded, RunStarted, ScoredAgain
from llm_optimize.store import Store
from llm_optimize.store.states import State
from llm_optimize.testing import ScriptedChat
from llm_optimize.watch import notebook
from llm_optimize.watch.amounts import used_of
from llm_optimize.watch.console import Console
from llm_optimize.watch.page._follow import Followed
from llm_optimize.watch.report import facts
from llm_optimize.watch.run_view import RunView, stored_view

COUNTED = (RunStarted, BudgetUsed, RunEnded)  # events that say what is used of the caps


def blocks(*texts):
    return ScriptedChat(
        *(f"```\n{text}\n```" if text != "none" else "no block" for text in texts)
    )


def known(view, is_resumed):
    """Return what is compared: the time of a session stands in no row.

    A resumed run notifies its watchers of the present scores; rows have the earlier ones, too.
    """
    champion = view.champion
    return {
        "champion": None
        if champion is None
        else (champion.number, champion.score, champion.scorings),
        "finished": view.finished,
        "failures": view.failures,
        "best": None if is_resumed else list(view.best_scores),
        "last": [
            (trial.number, trial.score, None if is_resumed else change)
            for trial, change in view.last
        ],
        "usage": None
        if view.in_flight
        else view.usage,  # events tell it of finished trials only
        "in flight": dict(view.in_flight),
        "used": {cap.name: cap.used for cap in view.caps() if cap.name != "seconds"},
    }


class AllWatchers:
    """Looks at a run in every way at each of its events."""

    def __init__(self, path, same_caps=True):
        self.path = path
        self.same_caps = same_caps  # whether the run has the caps that it was made with
        self.view = RunView()
        self.console = Console(io.StringIO())
        self.page = None
        self.is_resumed = False
        self.looks = []  # used of each cap, at each event that says so
        self.kinds = set()
        self.compared = set()  # kinds of events at which rows were compared
        self.differences = []

    def __call__(self, event):
        self.kinds.add(type(event))
        self.view.update(event)
        self.console(event)
        if isinstance(event, RunStarted):
            self.is_resumed = bool(event.trials)
        if not isinstance(event, COUNTED):
            return
        caps = [cap for cap in event.caps if cap.name != "seconds"]
        self.looks.append({cap.name: (cap.used, cap.cap) for cap in caps})
        with closing(Store(self.path)) as store:
            self._compare(event, caps, store)

    def _compare(self, event, caps, store):
        run = store.run(self.view.name)
        stored, _ = stored_view(run)
        if isinstance(event, RunEnded):
            stored.in_flight.clear()  # what waits for a resume is in flight for those who read rows
        self._compare_screens(event, caps)
        # The next candidate begins while this event's row is being written, and is told later.
        if not stored.in_flight.keys() <= self.view.in_flight.keys():
            return
        self.compared.add(type(event))
        self._same(
            event,
            "rows",
            *(known(view, self.is_resumed) for view in (stored, self.view)),
        )
        self.page = self.page or Followed(store, self.view.name)
        self.page.run = self.page._counts._run = run  # this look's connection
        self.page.refresh()
        if self.same_caps:
            self._same(
                event,
                "page's words",
                self.page.state["caps"],
                facts.state([], [], State("running"), caps)["caps"],
            )
            self._same(event, "agents", used(stored.caps()), used(caps))
        shown = spending(stored, [])
        usage = stored.usage
        self._same(
            event,
            "show",
            shown.startswith(f"{usage.calls} model calls, {usage.tokens:,} tokens"),
            usage.calls > 0,
        )

    def _compare_screens(self, event, caps):
        picture = html.unescape(self.console.svg("t", width=250, height=60)).replace(
            "\xa0", " "
        )
        cells = notebook.page(self.view)
        for cap in caps:
            if cap.cap is not None:
                self._same(
                    event, f"terminal {cap}", f" {used_of(cap)}" in picture, True
                )
                self._same(event, f"notebook {cap}", used_of(cap) in cells, True)

    def _same(self, event, where, found, expected):
        if isinstance(found, dict) and isinstance(expected, dict):
            names = [
                name
                for name in {**found, **expected}
                if found.get(name) != expected.get(name)
            ]
            found, expected = (
                {name: side.get(name) for name in names} for side in (found, expected)
            )
        if found != expected:
            self.differences.append((type(event).__name__, where, found, expected))


def noisy():
    noise = count()

    def f(x):
        return float(x) + (next(noise) * 7 % 5) / 10

    return f


BUDGET = Budget(calls=40, scorings=90, tokens=1_000_000, stale_steps=30)


def test_one_x0_and_three_steps_are_counted_alike_from_the_first_look_on(tmp_path):
    path = str(tmp_path / "runs.db")
    watchers = AllWatchers(path)
    optimize.run(
        "d",
        "q",
        float,
        "1",
        3,
        blocks("2", "3", "4"),
        False,
        sandbox="inline",
        store=path,
        callbacks=[watchers],
    )
    assert watchers.differences == []
    assert {RunStarted, RunEnded} <= watchers.compared
    assert [look["max_steps"] for look in watchers.looks] == [
        (0, 3),
        (0, 3),
        (1, 3),
        (2, 3),
        (3, 3),
        (3, 3),
    ]
    assert [look["scorings"][0] for look in watchers.looks] == [0, 1, 2, 3, 4, 4]


def test_all_watchers_agree_through_repeats_duplicates_a_resume_and_a_fork(tmp_path):
    path = str(tmp_path / "runs.db")
    options = {"sandbox": "inline", "store": path, "name": "amber"}
    replies = (
        "2",
        "2",
        "none",
        "none",
        "none",
        "2.1",
        "oops",
        "2.2",
        "1",
        "2.3",
        "2.4",
        "2.5",
    )
    watchers = AllWatchers(path)
    optimize.run(
        *("d", "q", noisy(), ["1", "0"], 12, blocks(*replies), False),
        **options,
        budget=BUDGET,
        repeats=Repeats(2, champion=True),
        stop=lambda seen: len(seen.trials) >= 9,
        callbacks=[watchers],
    )
    assert watchers.differences == []
    assert ScoredAgain in watchers.kinds

    resumed = AllWatchers(path)
    optimize.resume(
        "amber",
        noisy(),
        store=path,
        model=blocks("3", "3.1", "3.2", "3.3", "3.4"),
        callbacks=[resumed],
    )
    assert resumed.differences == []
    assert resumed.looks[0] == watchers.looks[-1]
    assert resumed.looks[-1]["max_steps"] == (12, 12)

    fork = optimize.fork("amber", 5, store=path)
    forked = AllWatchers(path)
    model = blocks(*(str(4 + number / 10) for number in range(10)))
    optimize.resume(fork, noisy(), store=path, model=model, callbacks=[forked])
    assert forked.differences == []
    assert {
        RunStarted,
        RunEnded,
    } <= watchers.compared & resumed.compared & forked.compared
    assert forked.looks[0]["calls"][0] == 0, "what the origin paid is not the fork's"
    assert forked.view.usage.calls > forked.looks[-1]["calls"][0]


def test_a_reply_to_an_unfinished_trial_counts_for_all(tmp_path):
    path = str(tmp_path / "runs.db")
    watchers = AllWatchers(path)
    optimize.run(
        *("d", "q", float, "1", 9, blocks("2", "none"), False),
        sandbox="inline",
        store=path,
        name="amber",
        budget=Budget(calls=2),
        callbacks=[watchers],
    )
    assert watchers.view.stop_reason == "budget: calls"
    assert watchers.looks[-1]["calls"] == (2, 2)
    assert watchers.differences == []

    resumed = AllWatchers(path, same_caps=False)
    model = blocks("3", "4", "5")
    budget = Budget(calls=5)
    optimize.resume(
        "amber", float, store=path, model=model, budget=budget, callbacks=[resumed]
    )
    assert resumed.looks[0]["calls"] == (2, 5)
    assert resumed.differences == []


def test_a_cap_is_written_with_what_is_used_of_it():
    assert used_of(Cap("usd", 0.5, 2.0)) == "$0.50/$2.00"
