"""Several models as one: by weight, by what they earn, past endpoints that are not available."""

import asyncio
import itertools
import pickle
import threading
import time

import pytest

from llm_optimize.errors import MissingKey, ModelUnavailable, UnknownName, UsageError
from llm_optimize.llm import Chat, Ensemble, Price, as_model
from llm_optimize.records import Status, Trial, Usage
from llm_optimize.testing import ScriptedChat
from server import KEY, Raw, Server, completion, error

HELLO = [{"role": "user", "content": "hello"}]


def make(server, name="m", **options):
    return Chat(
        name,
        **{"base_url": server.url, "api_key": KEY, "max_wait_secs": 0.02, **options},
    )


def together(model, calls):
    """Return what came of so many calls at once: replies, or errors."""

    async def main():
        try:
            return await asyncio.gather(
                *(model.reply(HELLO) for _ in range(calls)), return_exceptions=True
            )
        finally:
            await model.aclose()

    return asyncio.run(main())


def answer(model):
    (outcome,) = together(model, 1)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


@pytest.fixture
def other():
    server = Server()
    server.start()
    yield server
    server.stop()


def endless(name):
    return ScriptedChat(*[name] * 999, name=name)


class Meeting:
    """Holds each request until so many are there; would break if they stood in line."""

    def __init__(self, calls):
        self._barrier = threading.Barrier(calls, timeout=20)

    def wait(self, _timeout):
        self._barrier.wait()


# By weight.


def test_an_ensemble_goes_by_weight_and_repeats_by_seed():
    def names(seed):
        ensemble = Ensemble([(endless("a"), 3.0), (endless("b"), 1)], seed=seed)
        return [answer(ensemble).model for _ in range(80)]

    assert names(1) == names(1) != names(2)
    assert 45 <= names(1).count("a") <= 75


def test_the_choices_go_on_after_a_resume_as_if_there_had_been_no_break():
    def ensemble():
        return as_model([endless("a"), endless("b")], seed=3)

    whole, first, resumed = ensemble(), ensemble(), ensemble()
    names = [answer(whole).model for _ in range(40)]
    before = [answer(first).model for _ in range(15)]
    for number, name in enumerate(before):
        resumed.observe(
            Trial.of(number, "x", Status.COMPLETE, f"model:{name}", 1.0, usage=Usage(1))
        )
    assert before + [answer(resumed).model for _ in range(25)] == names


def test_what_cannot_be_an_ensemble_is_refused():
    with pytest.raises(UsageError, match="weights above 0"):
        Ensemble([("a", 0.0)])
    with pytest.raises(UnknownName, match="did you mean 'bandit'"):
        Ensemble(["a"], choose="bandid")
    with pytest.raises(UsageError, match="list its models instead"):
        Ensemble([Ensemble(["a"]), "b"])
    with pytest.raises(MissingKey, match="'b'"):
        Ensemble([ScriptedChat(), Chat("b")]).check()


def test_models_of_one_name_are_told_apart(server):
    server.replies("hi", for_ever=True)
    ensemble = Ensemble([make(server, temperature=0.1), make(server, temperature=0.9)])
    names = {answer(ensemble).model for _ in range(20)}
    assert names == {"m", "m#2"}
    assert {request["temperature"] for request in server.requests} == {0.1, 0.9}
    assert {request["model"] for request in server.requests} == {"m"}


# By what they earn.


def play(ensemble, gains, trials, start=0):
    """Let an ensemble write trials, each on the one before; return the names of their models."""
    names = []
    if not start:
        ensemble.observe(Trial.of(0, "x", Status.COMPLETE, "x0", 0.0))

    async def main():
        for number in range(start + 1, start + trials + 1):
            reply = await ensemble.reply(HELLO)
            names.append(reply.model)
            ensemble.observe(trial_of(number, reply.model, gains))
        await ensemble.aclose()

    asyncio.run(main())
    return names


def trial_of(number, name, gains, usage=None):
    """Return a trial that gained over trial 0, whose score is 0; None: it failed."""
    gain = gains[name]
    status = Status.FAILED if gain is None else Status.COMPLETE
    return Trial.of(
        number,
        "x",
        status,
        f"model:{name}",
        gain,
        parent=0,
        usage=usage or Usage(1, 100, 100),
    )


def test_the_bandit_finds_the_model_that_gains_most():
    ensemble = Ensemble(
        [endless("bad"), endless("good"), endless("failing")], choose="bandit"
    )
    names = play(ensemble, {"bad": 0.1, "good": 1.0, "failing": None}, 120)
    assert set(names[:3]) == {"bad", "good", "failing"}  # each is tried first
    assert names.count("good") > 60
    assert names.count("bad") > 3  # and none is given up


def test_the_bandit_counts_dollars_where_prices_are_known_and_calls_where_one_is_not(
    server,
):
    server.replies("hi", for_ever=True)

    def share_of_cheap(price, gain):
        gains = {"dear": 1.0, "cheap": gain}
        dear = make(server, "dear", price=Price(10.0, 10.0))
        ensemble = Ensemble([dear, make(server, "cheap", price=price)], choose="bandit")
        return play(ensemble, gains, 60).count("cheap") / 60

    assert share_of_cheap(Price(1.0, 1.0), 0.8) > 0.7
    assert share_of_cheap(None, 0.8) < 0.5 < share_of_cheap(None, 1.3)
    free = Price(0.0, 0.0)  # has no gain per dollar
    assert share_of_cheap(free, 0.8) < 0.5 < share_of_cheap(free, 1.3)


def test_the_index_is_that_of_the_formula():
    # r_a = 1, r_b = 1/2, n_a = 12, n_b = 5:
    # 1 + sqrt(2 ln 17 / 12) = 1.69 > 0.5 + sqrt(2 ln 17 / 5) = 1.56
    # and with n_b = 3: 1 + sqrt(2 ln 15 / 12) = 1.67 < 0.5 + sqrt(2 ln 15 / 3) = 1.84
    for plays_of_b, chosen in [(5, "a"), (3, "b")]:
        ensemble = Ensemble([endless("a"), endless("b")], choose="bandit")
        ensemble.observe(Trial.of(0, "x", Status.COMPLETE, "x0", 0.0))
        numbers = itertools.count(1)
        for name, plays in [("a", 12), ("b", plays_of_b)]:
            for _ in range(plays):
                ensemble.observe(trial_of(next(numbers), name, {"a": 2.0, "b": 1.0}))
        assert answer(ensemble).model == chosen


def test_what_teaches_nothing_gains_nothing():
    ensemble = Ensemble([endless("a"), endless("b")], choose="bandit")
    ensemble.observe(Trial.of(0, "x", Status.COMPLETE, "x0", 5.0))
    no_gain = [
        Trial.of(1, "x", Status.DUPLICATE, "model:a", 9.0, parent=0, usage=Usage(1)),
        Trial.of(
            2, "x", Status.COMPLETE, "model:a", 4.0, parent=0, usage=Usage(1)
        ),  # below its parent
        Trial.of(
            3, "x", Status.COMPLETE, "model:a", 9.0, usage=Usage(1)
        ),  # without one
        Trial.of(4, None, Status.INVALID, "model:a", parent=0, usage=Usage(3)),
        Trial.of(5, "x", Status.COMPLETE, "a", 9.0, parent=0),  # not of the model a
        Trial.of(
            6, "x", Status.COMPLETE, "model:c", 9.0, parent=0, usage=Usage(1)
        ),  # an earlier ensemble's
    ]
    for trial in no_gain:
        ensemble.observe(trial)
    for number in range(7, 11):
        ensemble.observe(
            Trial.of(
                number, "x", Status.COMPLETE, "model:b", 5.001, parent=0, usage=Usage(1)
            )
        )
    assert answer(ensemble).model == "b"


def test_a_bandit_goes_on_after_a_resume_as_if_there_had_been_no_break():
    gains = {"a": 0.3, "b": 0.5}

    def ensemble():
        return Ensemble([(endless("a"), 2), (endless("b"), 1)], choose="bandit", seed=7)

    names = play(ensemble(), gains, 40)
    first, resumed = ensemble(), ensemble()
    before = play(first, gains, 17)
    resumed.observe(Trial.of(0, "x", Status.COMPLETE, "x0", 0.0))
    for number, name in enumerate(before, 1):
        resumed.observe(trial_of(number, name, gains))
    assert before + play(resumed, gains, 23, start=17) == names


def test_calls_at_once_do_not_all_go_to_one_model(server):
    server.answer = lambda request, meeting=Meeting(6): Raw(
        body=completion("hi"), hold=meeting
    )
    ensemble = Ensemble([make(server, name) for name in "abc"], choose="bandit")
    replies = together(ensemble, 6)
    assert sorted(reply.model for reply in replies) == list("aabbcc")


# Endpoints that rest.


def test_an_endpoint_rests_longer_each_time_and_comes_back(server):
    server.replies(*[error(500, "oops")] * 6, "hi", for_ever=True)
    model = make(server, max_attempts=20)
    assert answer(model).text == "hi"
    *others, last, back = (request["at"] for request in server.requests)
    assert len(others) == 5
    assert others[-1] - others[0] < 0.5
    assert 0.5 <= last - others[-1] < 1.5  # 1 s, of which jitter takes up to a half
    assert 1.0 <= back - last < 2.5
    assert model.rest_secs() == 0


class Delay:
    """Holds a request for a while."""

    def wait(self, _timeout):
        time.sleep(0.4)


def test_after_a_rest_one_call_goes_ahead_and_the_others_wait_for_it(server):
    number, meeting = itertools.count(1), Meeting(10)

    def respond(_request):
        if (place := next(number)) <= 10:
            return Raw(500, error(500, "oops").body, hold=meeting)
        return Raw(body=completion("hi"), hold=Delay() if place == 11 else None)

    server.answer = respond
    outcomes = together(make(server, max_attempts=20), 10)
    assert [outcome.text for outcome in outcomes] == ["hi"] * 10
    times = sorted(request["at"] for request in server.requests)
    assert len(times) == 20
    assert times[10] - times[9] > 0.4  # the rest
    assert (
        0.4 < times[11] - times[10] < 1.0
    )  # the answer of the one, and not the end of another rest


def test_a_rest_does_not_travel_to_another_process(server):
    server.replies(error(429, "slow", Retry_After="100"), for_ever=True)
    model = make(server, deadline_secs=5)
    together(model, 1)
    assert model.rest_secs() > 90
    assert pickle.loads(pickle.dumps(model)).rest_secs() == 0


def test_failures_that_were_under_way_do_not_lengthen_the_rest(server):
    server.answer = lambda request, meeting=Meeting(40): Raw(
        500, error(500, "oops").body, hold=meeting
    )
    model = make(server, max_attempts=1)
    assert all(isinstance(outcome, ModelUnavailable) for outcome in together(model, 40))
    assert 0 < model.rest_secs() <= 1


def test_a_call_waits_for_a_rest_within_its_deadline_only(server):
    server.replies(error(500, "oops"), for_ever=True)
    model = make(server, deadline_secs=1.2, max_attempts=1000)
    begun = time.monotonic()
    with pytest.raises(
        ModelUnavailable,
        match=r"did not answer within 1\.2 s, and before that: .*500: oops",
    ):
        answer(model)
    assert 1.1 < time.monotonic() - begun < 2.2
    assert len(server.requests) < 9


def test_a_no_is_an_answer_and_lets_nobody_rest(server):
    server.replies(error(401, "bad key"), for_ever=True)
    model = make(server)
    together(model, 10)
    assert model.rest_secs() == 0


def test_while_one_endpoint_rests_the_others_carry_on(server, other):
    server.replies(error(503, "down"), for_ever=True)
    other.replies("hi", for_ever=True)
    ensemble = Ensemble(
        [(make(server, "down", max_attempts=100), 5.0), (make(other, "up"), 1.0)]
    )
    begun = time.monotonic()
    replies = [reply for _ in range(5) for reply in together(ensemble, 8)]
    assert {reply.model for reply in replies} == {"up"}
    assert len(server.requests) < 20
    assert time.monotonic() - begun < 5


def test_a_pause_that_one_endpoint_asks_for_sends_its_call_to_another(server, other):
    server.replies(error(429, "slow", Retry_After="100"), for_ever=True)
    other.replies("hi", for_ever=True)
    ensemble = Ensemble([(make(server, "slow"), 99.0), (make(other, "up"), 1.0)])
    begun = time.monotonic()
    assert [answer(ensemble).model for _ in range(5)] == ["up"] * 5
    assert time.monotonic() - begun < 5
    assert len(server.requests) == 1


def test_when_all_rest_the_call_waits_within_its_deadline(server, other):
    for one in (server, other):
        one.replies(error(429, "slow", Retry_After="1"), "hi", for_ever=True)
    ensemble = Ensemble([make(server, "a"), make(other, "b")])
    begun = time.monotonic()
    assert answer(ensemble).text == "hi"
    assert time.monotonic() - begun > 0.9
    for one in (server, other):
        one.replies(error(429, "slow", Retry_After="60"), for_ever=True)
    hurried = Ensemble(
        [
            make(one, name, deadline_secs=0.5)
            for one, name in ((server, "a"), (other, "b"))
        ]
    )
    begun = time.monotonic()
    with pytest.raises(ModelUnavailable, match=r"no model of a\+b is available"):
        answer(hurried)
    assert time.monotonic() - begun < 1.5


def test_requests_that_may_be_billed_are_counted_across_models(server, other):
    server.replies(
        Raw(reset_after=0), error(429, "slow", Retry_After="100"), for_ever=True
    )
    other.replies("hi")
    ensemble = Ensemble([(make(server, "a"), 1e9), (make(other, "b"), 1.0)])
    reply = answer(ensemble)
    assert (reply.model, reply.usage.calls, reply.usage.uncertain_calls) == ("b", 1, 1)


def test_calls_that_stand_in_line_keep_a_pause_that_is_asked_for_meanwhile(server):
    server.replies(error(429, "slow", Retry_After="1"), "hi", for_ever=True)
    assert [reply.text for reply in together(make(server, max_concurrency=1), 3)] == [
        "hi"
    ] * 3
    refused, *others = (request["at"] for request in server.requests)
    assert min(others) - refused > 0.9


# How many at a time.


def counting(server, meeting):
    """Let the server hold each request until all have come, and note how many it had at once."""
    lock, now, most = threading.Lock(), [0], [0]

    class Hold:
        def wait(self, timeout):
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            meeting.wait(timeout)
            with lock:
                now[0] -= 1

    server.answer = lambda request: Raw(body=completion("hi"), hold=Hold())
    return most


def test_a_chat_has_no_more_requests_at_a_time_than_it_may(server):
    most = counting(server, Meeting(4))
    replies = together(make(server, max_concurrency=4), 20)
    assert [reply.text for reply in replies] == ["hi"] * 20
    assert most == [4]


def test_chats_of_an_ensemble_share_an_endpoint_and_its_lowest_limit(server):
    most = counting(server, Meeting(2))
    chats = [
        make(server, "a", max_concurrency=2),
        make(server, "b", max_concurrency=50),
    ]
    assert len(together(Ensemble(chats), 20)) == 20
    assert most == [2]


def test_chats_of_an_ensemble_share_the_pause_of_an_endpoint(server):
    server.replies(error(429, "slow", Retry_After="1"), "hi", for_ever=True)
    ensemble = Ensemble([make(server, "a"), make(server, "b")])
    together(ensemble, 1)
    assert len(server.requests) == 2
    assert server.requests[1]["at"] - server.requests[0]["at"] > 0.9


def test_many_calls_do_not_stall(server):
    server.answer = lambda request, meeting=Meeting(128): Raw(
        body=completion("hi"), hold=meeting
    )
    replies = together(make(server, deadline_secs=60), 256)
    assert [reply.text for reply in replies] == ["hi"] * 256
    assert len(server.requests) == 256


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_limit_beyond_what_the_client_opens_is_refused(limit):
    with pytest.raises(UsageError, match="give 1 to 1000"):
        Chat("m", max_concurrency=limit)
