"""Forks, replies and scores that runs share; and how long it takes when runs are long."""

import time
from contextlib import closing
from dataclasses import replace

import pytest

from llm_optimize import optimize
from llm_optimize.errors import RunHeld, RunNotFound, UsageError
from llm_optimize.records import (
    Plan,
    Proposal,
    Reply,
    Status,
    Trial,
    TrialFinished,
    Usage,
)
from llm_optimize.store import Origin, Store
from llm_optimize.testing import ScriptedChat, changed
from llm_optimize.text import key_of


@pytest.fixture
def store(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'runs.db'}")
    yield store
    store.close()


def finish(run, trial, order, replies=()):
    run.plan(trial.number, Plan(None))
    for index, text in enumerate(replies):
        call = run.sent(
            trial.number, index, "m", [{"role": "user", "content": f"{trial.number}?"}]
        )
        if text is None:
            run.call_failed(call, "down")
        else:
            run.received(call, Reply(text, Usage(1, 10, 5, cost_usd=0.5), "m"))
    run.propose(trial.number, Proposal(trial.x, trial.source, trial.usage))
    run.finish(trial, order)


def a_run(store, name="amber", **options):
    """Write trials 0, 2, 1, 3 in this order, and 4, which is pending."""
    run = store.create_run(name, {"seed": 7, "task": "t"}, **options)
    paid = Usage(1, 10, 5, cost_usd=0.5)
    finish(run, Trial.of(0, "0", Status.COMPLETE, "x0", score=0.5, seed=11), 1)
    finish(
        run,
        Trial.of(2, "2", Status.COMPLETE, "m", score=2.0, parent=0, usage=paid),
        2,
        ["c"],
    )
    finish(
        run,
        Trial.of(1, None, Status.INVALID, "m", feedback="no fence", usage=paid + paid),
        3,
        ["a", None, "b"],
    )
    finish(run, Trial.of(3, "3", Status.TIMEOUT, "m", usage=paid), 4, ["d"])
    run.plan(4, Plan(None))
    run.sent(4, 0, "m", [])
    return run


def test_a_fork_begins_with_the_trials_calls_and_settings_of_another_run(store):
    run = a_run(store, func_version="v1")
    run.end("max_steps")
    fork = store.fork("amber", 2)
    assert (fork.name, fork.settings, fork.func_version) == (
        "amber-2",
        run.settings,
        "v1",
    )
    assert fork.trials() == [trial for trial in run.trials() if trial.number <= 2]
    assert [trial.number for trial in fork.trials()] == [
        0,
        2,
        1,
    ]  # in the order of learning
    assert fork.pending() == []
    assert [replace(call, key=0) for call in fork.calls()] == [
        replace(call, key=0) for call in run.calls() if call.trial <= 2
    ]
    assert fork.origin == Origin("amber", 2)
    assert (run.origin, run.inherited()) == (None, Usage())
    assert fork.inherited() == Usage(3, 30, 15, cost_usd=1.5)
    infos = {info.name: info for info in store.runs()}
    assert infos["amber-2"].stop_reason is None
    assert infos["amber-2"].origin == Origin("amber", 2)
    assert infos["amber"].trials == 4


def test_a_fork_goes_its_own_way(store):
    run = a_run(store)
    before = (run.trials(), run.calls(), run.pending())
    assert store.fork("amber", 0, "birch").name == "birch"
    fork = store.hold("birch")
    finish(
        fork,
        Trial.of(1, "other", Status.COMPLETE, "m", score=9.0, usage=Usage(1)),
        2,
        ["z"],
    )
    assert [trial.x for trial in fork.trials()] == ["0", "other"]
    assert (
        fork.inherited() == Usage()
    )  # x0 used nothing, and what the fork paid for itself is not inherited
    assert (run.trials(), run.calls(), run.pending()) == before
    again = store.fork("birch", 1)
    assert (again.name, again.origin, len(again.trials())) == (
        "birch-2",
        Origin("birch", 1),
        2,
    )
    assert [reply.text for reply in store.replies("birch-2")] == ["z"]


def test_what_cannot_be_forked_is_an_error_and_leaves_nothing_behind(store):
    a_run(store)
    store.create_run("empty", {})
    for number in (4, 5, -1):
        with pytest.raises(
            UsageError, match=rf"at trial {number}: its finished trials are 0 to 3"
        ):
            store.fork("amber", number)
    with pytest.raises(UsageError, match="no trial is finished"):
        store.fork("empty", 0)
    with pytest.raises(UsageError, match="'empty' exists"):
        store.fork("amber", 1, "empty")
    with pytest.raises(RunNotFound, match="did you mean 'amber'"):
        store.fork("ambre", 1)
    assert store.names() == ["amber", "empty"]


def block(x):
    return f"```\n{x}\n```"


def test_a_fork_is_resumed_while_the_other_run_is_held(tmp_path):
    url = f"sqlite:///{tmp_path}/runs.db"
    replies = [block(x) for x in (2, 3, 4)]
    options = {"store": url, "verbose": False}
    optimize.run(
        "d",
        "q",
        float,
        "1",
        3,
        ScriptedChat(*replies),
        name="amber",
        sandbox="inline",
        **options,
    )
    with closing(Store(url)) as store:
        held = store.hold("amber")
        store.fork("amber", 1, "birch")
        result = optimize.resume(
            "birch", float, model=ScriptedChat(block(7), block(8)), **options
        )
        assert result.scores == [1.0, 2.0, 7.0, 8.0]
        assert [trial.score for trial in held.trials()] == [1.0, 2.0, 3.0, 4.0]
        with pytest.raises(RunHeld):
            optimize.resume("amber", float, model=ScriptedChat(), **options)


def test_replies_come_in_the_order_of_the_trials_and_each_once(store):
    run = a_run(store)
    uncertain = run.calls(4)[0]
    again = run.sent(4, 0, "m", [])  # after a resume
    run.received(again, Reply("e", Usage(1), "m", reasoning="thought"))
    assert uncertain.uncertain
    replies = store.replies("amber")
    assert [reply.text for reply in replies] == ["a", "b", "c", "d", "e"]
    assert replies[-1].reasoning == "thought"
    with pytest.raises(RunNotFound):
        store.replies("ambre")


def test_a_run_is_replayed_by_its_own_replies(tmp_path):
    url = f"sqlite:///{tmp_path}/runs.db"
    texts = [block(2), "no fence", block(3), block("x"), block(2), block(9)]
    options = {"store": url, "verbose": False, "sandbox": "inline", "seed": 5}
    first = optimize.run(
        "d", "q", float, "1", 5, ScriptedChat(*texts), name="amber", **options
    )
    with closing(Store(url)) as store:
        replies = store.replies("amber")
    second = optimize.run(
        "d", "q", float, "1", 5, ScriptedChat(*replies), name="birch", **options
    )
    assert [(t.x, t.status, t.score) for t in second.trials] == [
        (t.x, t.status, t.score) for t in first.trials
    ]
    assert second.usage == first.usage


# Known scores.


def test_a_score_is_known_across_runs_of_the_same_version_of_f(store):
    more = {
        "metrics": {"size": 1.0},
        "instances": {"a": 2.0},
        "output": "out",
        "seconds": 3.0,
    }
    good = Trial.of(0, "x = 1\n", Status.COMPLETE, "m", 0.1, "fine", None, **more)
    finish(store.create_run("amber", {}, func_version="v1"), good, 1)
    finish(
        store.create_run("birch", {}, func_version="v2"), changed(good, score=0.2), 1
    )
    finish(store.create_run("cedar", {}), changed(good, score=0.3), 1)
    assert store.known_score("v1", key_of("x = 1  ")) == good
    assert store.known_score("v2", key_of("x = 1")).score == 0.2
    assert store.known_score("v3", key_of("x = 1")) is None
    assert store.known_score("v1", key_of("x = 2")) is None
    assert store.known_score("v1", key_of({"x": 1})) is None


@pytest.mark.parametrize(
    ("status", "known"),
    [
        (Status.COMPLETE, True),
        (Status.FAILED, True),
        (Status.INVALID, True),
        (Status.TIMEOUT, False),
        (Status.DUPLICATE, False),
    ],
)
def test_failures_are_known_unless_the_machine_may_be_to_blame(store, status, known):
    run = store.create_run("amber", {}, func_version="v1")
    finish(
        run,
        Trial.of(
            0,
            {"b": 1, "a": [2]},
            status,
            "m",
            score=1.0 if status is Status.COMPLETE else None,
        ),
        1,
    )
    found = store.known_score("v1", key_of({"a": [2], "b": 1}))
    assert (found is not None) is known
    assert found is None or found.status is status


def test_a_score_is_preferred_to_a_failure_and_the_first_to_later_ones(store):
    for name, trial in [
        ("a", Trial.of(0, "x", Status.FAILED, "m")),
        ("b", Trial.of(0, "x", Status.COMPLETE, "m", score=1.0)),
        ("c", Trial.of(0, "x", Status.COMPLETE, "m", score=2.0)),
    ]:
        finish(store.create_run(name, {}, func_version="v"), trial, 1)
    assert store.known_score("v", "x").score == 1.0


def test_a_changed_f_does_not_inherit_scores(store):
    run = store.create_run("amber", {}, func_version="v1")
    finish(run, Trial.of(0, "a", Status.COMPLETE, "m", score=1.0), 1)
    store.fork("amber", 0, "birch")
    fork = store.hold("birch", func_version="v2")
    finish(fork, Trial.of(1, "b", Status.COMPLETE, "m", score=2.0), 2)
    assert fork.func_version == store.run("birch").func_version == "v2"
    assert store.known_score("v1", "a").score == 1.0
    assert store.known_score("v2", "a") is None
    assert store.known_score("v1", "b") is None
    assert store.known_score("v2", "b").score == 2.0
    fork.close()
    assert store.hold("birch").func_version == "v2"


# What is new in a row.


def test_the_seed_of_a_trial_and_the_cost_of_a_call_are_kept(store):
    run = store.create_run("amber", {})
    finish(
        run, Trial.of(0, "a", Status.COMPLETE, "m", score=1.0, seed=2**63 - 1), 1, ["r"]
    )
    finish(run, Trial.of(1, "b", Status.COMPLETE, "m", score=1.0, seed=0), 2)
    assert [trial.seed for trial in run.trials()] == [2**63 - 1, 0]
    free = run.sent(1, 0, "m", [])
    run.received(free, Reply("r", Usage(1), "m"))
    assert [call.cost_usd for call in run.calls()] == [0.5, None]
    with store.begin() as connection:
        assert [
            row.cost_usd for row in connection.execute(store.tables.call.select())
        ] == [0.5, None]
    run.plan(2, Plan(None))
    with pytest.raises(
        UsageError, match=r"the seed of trial 2 is .*: it must not exceed"
    ):
        run.finish(Trial.of(2, "c", Status.COMPLETE, "m", score=1.0, seed=2**63), 3)


def test_a_run_keeps_the_seeds_that_its_f_was_given(tmp_path):
    given = []

    async def f(x):
        return 1.0

    def note(event):
        given.extend([event.trial.seed] if isinstance(event, TrialFinished) else [])

    url = f"sqlite:///{tmp_path}/runs.db"
    for name in ("amber", "birch"):
        optimize.run(
            "d",
            "q",
            f,
            "1",
            2,
            "mutation",
            False,
            store=url,
            name=name,
            seed=3,
            callbacks=[note],
            sandbox="inline",
        )
    with closing(Store(url)) as store:
        seeds = [
            [trial.seed for trial in store.run(name).trials()]
            for name in ("amber", "birch")
        ]
    assert seeds[0] + seeds[1] == given
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 3


def test_answered_calls_are_counted(store):
    assert a_run(store).answered_calls() == 4


# Long runs.

MESSAGES = [{"role": "user", "content": "What is better? " * 100}]


def write_trial(run, number):
    begun = time.perf_counter()
    run.plan(number, Plan(None))
    run.received(run.sent(number, 0, "m", MESSAGES), Reply("r" * 1000, Usage(1), "m"))
    run.propose(number, Proposal(f"{number} " + "x" * 500, "m"))
    x = f"{number} " + "x" * 500
    run.finish(
        Trial.of(
            number, x, Status.COMPLETE, "m", score=float(number), feedback="f" * 200
        ),
        number + 1,
    )
    return time.perf_counter() - begun


def fill_up(store, begin, end):
    """Write copies of trial 0 and its call at once, without waiting for the disk at each."""
    with store.begin(write=True) as connection:
        for table, number in (
            (store.tables.trial, "number"),
            (store.tables.call, "trial"),
        ):
            row = dict(
                connection.execute(table.select().where(table.c[number] == 0))
                .one()
                ._mapping
            )
            row.pop("id", None)
            news = [
                {number: n, "finished": n + 1, "score_key": f"{n:032}"}
                for n in range(begin, end)
            ]
            kept = [
                {name: value for name, value in new.items() if name in table.c}
                for new in news
            ]
            connection.execute(table.insert(), [row | new for new in kept])


def slowdown(runs, begin):
    """Return how much longer a trial takes in the long run; in turn, as machines are noisy."""
    taken = [[], []]
    for offset in range(begin, begin + 30):
        for times, run, number in zip(taken, runs, (100, 10_000), strict=True):
            times.append(write_trial(run, number + offset))
    short, long = (sorted(times)[len(times) // 2] for times in taken)
    return long / short


def test_trial_10_000_is_written_as_fast_as_trial_100_and_a_long_run_opens_soon(
    tmp_path,
):
    early, late = Store(str(tmp_path / "early.db")), Store(str(tmp_path / "late.db"))
    runs = [store.create_run("amber", {}, func_version="v") for store in (early, late)]
    for run in runs:
        for number in range(100):
            write_trial(run, number)
    fill_up(late, 100, 10_000)
    assert min(slowdown(runs, begin) for begin in (0, 30, 60)) <= 1.2

    early.close()
    late.close()
    begun = time.perf_counter()
    with closing(Store(str(tmp_path / "late.db"))) as store:
        run = store.hold("amber")
        assert len(run.trials()) == 10_090
        assert run.pending() == []
        assert run.answered_calls() == 10_090
    assert time.perf_counter() - begun < 2
