"""What is known of a run: pure, without store, model or clock."""

import math

import pytest

from llm_optimize.errors import ModelRefused, ModelUnavailable, NothingToPropose
from llm_optimize.optimize.state import RunState, Slots, with_hints
from llm_optimize.records import Budget, Plan, Status, Task, Trial
from llm_optimize.settings import RunSettings
from llm_optimize.stop import stale

TASK = Task("", "", "", "")


def state(x0=("1",), rule=None, clock=lambda: 0.0, **settings):
    return RunState(RunSettings(TASK, x0=x0, **settings), rule, clock)


def scored(number, score, x=None, **options):
    return Trial.of(
        number, x or f"x{number}", Status.COMPLETE, "model:m", score=score, **options
    )


def fed(*scores, **options):
    known = state(**options)
    for number, score in enumerate(scores):
        known.begin(number, Plan(None))
        known.observe(scored(number, score))
    return known


def cap(known, name):
    return next(one for one in known.caps() if one.name == name)


def test_steps_are_the_trials_beyond_x0_from_the_first_look_on():
    known = state(max_steps=3)
    shown = [cap(known, "max_steps").used]
    for number in range(4):
        known.begin(number, Plan(None))
        known.observe(scored(number, 1.0))
        shown.append(cap(known, "max_steps").used)
    assert (shown, cap(known, "max_steps").cap) == ([0, 0, 1, 2, 3], 3)
    assert known.why_stop().reason == "max_steps"


def test_no_steps_still_score_x0():
    known = state(x0=("1", "2"), max_steps=0)
    assert known.may_begin()
    known.begin(known.new_number(), Plan(None))
    assert known.may_begin()
    known.begin(known.new_number(), Plan(None))
    assert not known.may_begin()
    for number in range(2):
        assert known.why_stop() is None
        known.observe(scored(number, 1.0))
    assert known.why_stop().reason == "max_steps"


def test_nothing_is_built_on_trials_before_every_x0_has_been_scored():
    known = state(x0=("1", "2"))
    for _ in range(2):
        known.begin(known.new_number(), Plan(None))
    known.observe(scored(1, 1.0))
    assert not known.may_begin()
    known.observe(scored(0, 1.0))
    assert known.may_begin()


def test_what_is_in_flight_counts_under_caps_that_it_will_use():
    known = fed(1.0, max_steps=2)
    known.begin(1, Plan(None))
    assert known.may_begin()
    known.begin(2, Plan(None))
    assert not known.may_begin()
    assert known.why_stop() is None
    few = fed(1.0, budget=Budget(scorings=2))
    few.begin(1, Plan(None))
    assert not few.may_begin()
    few.abandon(1)
    assert few.may_begin(waiting=True)


def test_a_champion_that_was_scored_again_may_fall_behind():
    known = fed(1.0, 5.0, 3.0)
    assert known.champion.number == 1
    known.observe(scored(1, 2.0, scorings=3))
    assert known.champion.number == 2
    assert (known.counts.scorings, len(known.trials)) == (5, 3)


def test_equals_do_not_take_over_and_failures_have_no_rank():
    known = fed(1.0, 1.0)
    known.observe(Trial.of(2, "bad", Status.FAILED, "m"))
    assert known.champion.number == 0
    assert known.counts.stale_steps == 2
    assert not known.beats_champion(scored(3, 1.0))
    assert known.beats_champion(scored(3, 1.5))


def test_the_first_trial_with_an_x_is_the_one_that_counts():
    known = fed(1.0)
    assert known.settled(scored(1, None, x="new")) is None
    again = known.settled(scored(2, None, x="new  "))
    assert (again.status, again.score) == (Status.DUPLICATE, None)
    assert again.feedback == "the same x as trial 1, which is being scored"
    same = known.settled(scored(3, None, x="x0"))
    assert (same.status, same.score, same.scorings) == (Status.DUPLICATE, 1.0, 0)


@pytest.mark.parametrize(
    ("settings", "reason", "drain_secs"),
    [
        ({"stop_score": 2.0}, "stop_score", 5.0),
        ({"rule": stale(1)}, "stop: stale(1)", 5.0),
        ({"budget": Budget(scorings=3)}, "budget: scorings", math.inf),
        ({"budget": Budget(stale_steps=1)}, "budget: stale_steps", math.inf),
        ({"budget": Budget(seconds=9.0)}, "budget: seconds", 0.0),
    ],
)
def test_each_end_says_why_and_how_long_to_wait(settings, reason, drain_secs):
    ticks = iter([0.0, *[10.0] * 99])
    known = fed(1.0, 3.0, 2.0, clock=lambda: next(ticks), **settings)
    stop = known.why_stop()
    assert (stop.reason, stop.drain_secs) == (reason, drain_secs)
    assert not known.may_begin()


def test_a_run_without_an_end_goes_on():
    known = fed(1.0, 3.0)
    assert known.why_stop() is None
    assert known.seconds_left() == math.inf
    known.control.paused = True
    assert not known.may_begin()
    known.control.stopped = "stopped by you"
    assert known.why_stop().reason == "stopped by you"


def test_the_first_error_is_the_reason():
    known = fed(1.0)
    known.observe_silence(7, ModelUnavailable("slow"))
    known.observe_reply()
    known.observe_silence(8, ModelUnavailable("slow"))
    assert known.why_stop() is None
    known.observe_silence(7, ModelRefused("wrong key"))
    known.observe_silence(7, ModelRefused("another"))
    assert known.why_stop().reason == "error: wrong key"
    done = fed(1.0)
    done.observe_silence(7, NothingToPropose("no number"))
    assert done.why_stop().reason == "nothing left to propose: no number"


def test_places_go_on_where_an_earlier_session_ended():
    known = fed(1.0, 2.0)
    assert [known.place(), known.place()] == [3, 4]
    assert known.new_number() == 2


def test_generators_depend_on_seed_purpose_and_number_only():
    one, same, other = state(seed=1), fed(1.0, seed=1), state(seed=2)
    assert one.scoring_seed(3) == same.scoring_seed(3) != other.scoring_seed(3)
    assert one.rng("plan", 1).random() != one.rng("propose", 1).random()


def test_hints_stand_below_each_other():
    assert with_hints(Plan(None, hint="a"), ["b", "c"]).hint == "a\nb\nc"
    assert with_hints(Plan(None), []).hint == ""


def test_one_worker_asks_for_nothing_ahead():
    slots = Slots(1, None)
    assert slots.has_room(0)
    assert not slots.has_room(1)


def test_slots_follow_the_times_of_replies_and_scorings():
    slots = Slots(2, None)
    assert slots.has_room(3)
    slots.scored(1000.0)
    with slots.writing():
        assert slots.has_room(2)
    slots.written(0.001)
    assert not slots.has_room(3)
    assert Slots(2, 5).has_room(6)
    assert not Slots(1, 1).has_room(1)
