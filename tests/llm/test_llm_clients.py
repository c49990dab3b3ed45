"""Many calls to one endpoint are spread over several HTTP clients; each event loop has its own."""

import asyncio
import sys
import threading
import time
from collections import Counter

from test_llm import HELLO, make

from llm_optimize.llm.address import address_of
from llm_optimize.llm.endpoint import MAX_IN_FLIGHT, Endpoint
from server import KEY, Raw, completion


async def at_a_time(endpoint, calls):
    """Return which clients so many calls at a time have."""
    clients, everybody = [], asyncio.Barrier(calls)

    async def call():
        async with endpoint.turn(patient=True) as client:
            clients.append(client)
            await everybody.wait()

    await asyncio.gather(*(call() for _ in range(calls)))
    return clients


def test_each_client_has_few_enough_and_a_few_calls_need_only_one():
    async def main():
        endpoint = Endpoint(address_of("http://127.0.0.1:9/v1"), KEY, 1000)
        few = await at_a_time(endpoint, MAX_IN_FLIGHT)
        many = await at_a_time(endpoint, 2 * MAX_IN_FLIGHT + 1)
        again = await at_a_time(endpoint, 3)
        await endpoint.aclose()
        return few, many, again

    few, many, again = asyncio.run(main())
    assert set(again) == set(few)  # the first one, whose connections are open
    assert sorted(Counter(map(id, many)).values()) == [1, MAX_IN_FLIGHT, MAX_IN_FLIGHT]
    assert len(set(map(id, few))) == 1
    assert all(client.is_closed() for client in many)


def test_loops_share_no_client_and_close_only_their_own():
    endpoint = Endpoint(address_of("http://127.0.0.1:9/v1"), KEY, 1000)
    calls, closed_one, seen = MAX_IN_FLIGHT + 1, threading.Event(), {}

    def other_loop():
        async def main():
            seen["other"] = await at_a_time(endpoint, calls)
            closed_one.wait(30)
            seen["open"] = [client.is_closed() for client in seen["other"]]
            await endpoint.aclose()

        asyncio.run(main())

    async def main():
        thread = threading.Thread(target=other_loop)
        thread.start()
        seen["own"] = await at_a_time(endpoint, calls)
        while "other" not in seen:
            await asyncio.sleep(0.001)
        await endpoint.aclose()
        closed_one.set()
        await asyncio.to_thread(thread.join)
        again = await at_a_time(endpoint, 1)  # anew after it was closed
        assert not again[0].is_closed()
        await endpoint.aclose()

    asyncio.run(main())
    assert not set(map(id, seen["own"])) & set(map(id, seen["other"]))
    assert not any(seen["open"])
    assert all(client.is_closed() for client in (*seen["own"], *seen["other"]))


def test_a_client_is_given_back_by_calls_that_are_cancelled_or_fail():
    async def main():
        endpoint = Endpoint(address_of("http://127.0.0.1:9/v1"), KEY, 1000)

        async def fail(secs):
            async with endpoint.turn(patient=True):
                await asyncio.sleep(secs)
                raise ValueError

        for secs in (60, 0):
            tasks = [asyncio.create_task(fail(secs)) for _ in range(MAX_IN_FLIGHT)]
            await asyncio.sleep(0)
            for task in tasks[: len(tasks) if secs else 0]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        clients = await at_a_time(endpoint, MAX_IN_FLIGHT)
        await endpoint.aclose()
        return clients

    assert len(set(map(id, asyncio.run(main())))) == 1


class Everybody:
    """Holds an answer back until so many requests have come."""

    def __init__(self, calls):
        self._barrier = threading.Barrier(calls, timeout=60)

    def wait(self, _secs):
        self._barrier.wait()


def test_more_calls_than_one_client_takes_are_on_the_wire_at_a_time(server):
    calls = MAX_IN_FLIGHT + 40
    everybody = Everybody(calls)
    server.answer = lambda request: Raw(body=completion("hi"), hold=everybody)
    model = make(server, max_concurrency=calls)

    async def main():
        try:
            return await asyncio.gather(*(model.reply(HELLO) for _ in range(calls)))
        finally:
            await model.aclose()

    assert [reply.text for reply in asyncio.run(main())] == ["hi"] * calls
    deadline = time.monotonic() + 30
    while any("process_request" in thread.name for thread in threading.enumerate()):
        assert (
            time.monotonic() < deadline
        )  # the server's threads end with their connections: all were closed
        time.sleep(0.01)


def calls_of_one_request(model, messages):
    """Return how many Python functions one request calls, the connection being open."""

    async def main():
        await model.reply(messages)
        calls = Counter()
        sys.setprofile(lambda frame, what, _: calls.update([what]))
        try:
            await model.reply(messages)
        finally:
            sys.setprofile(None)
            await model.aclose()
        return calls["call"]

    return asyncio.run(main())


def test_a_request_costs_the_same_for_two_messages_and_for_two_hundred(server):
    server.answer = lambda request: Raw(body=completion("hi"))
    few, many = ([*HELLO] * 2, [*HELLO] * 200)
    calls = calls_of_one_request(make(server), few)
    more = calls_of_one_request(make(server), many)
    assert more - calls < 3 * len(
        many
    )  # the SDK's own walk takes some thirty a message
