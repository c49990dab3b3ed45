"""Cost of calls: by the user's own price, by the list, or unknown; never 0 where unknown."""

import asyncio
import importlib.util
import sys

import pytest

from llm_optimize.errors import UsageError
from llm_optimize.llm import (
    Chat,
    Ensemble,
    Price,
    Seen,
    as_model,
    expected_usage,
    price_of,
)
from llm_optimize.records import Usage
from llm_optimize.testing import ScriptedChat
from server import KEY, completion

HELLO = [{"role": "user", "content": "hello"}]
listed = pytest.mark.skipif(
    importlib.util.find_spec("genai_prices") is None, reason="needs the prices extra"
)


def answer(model):
    async def main():
        try:
            return await model.reply(HELLO)
        finally:
            await model.aclose()

    return asyncio.run(main())


def test_cached_tokens_have_a_price_of_their_own():
    usage = Usage(2, 1000, 100, cached_tokens=400, reasoning_tokens=50)
    assert Price(1.0, 10.0).cost(usage) == pytest.approx(0.002)
    assert Price(1.0, 10.0, cached_per_million=0.5).cost(usage) == pytest.approx(0.0018)
    assert Price(1.0, 10.0, cached_per_million=0.0).cost(usage) == pytest.approx(0.0016)
    assert (
        Price(1.0, 0.0, 0.0).cost(Usage(1, 10, cached_tokens=99)) == 0
    )  # more cached than sent: no negative cost


@pytest.mark.parametrize(
    "wrong", [(-1, 1), (1, float("nan")), (1, 1, -0.1), (float("inf"), 1)]
)
def test_a_price_below_nothing_is_refused(wrong):
    with pytest.raises(UsageError, match="US dollars per million tokens"):
        Price(*wrong)


def test_a_reply_costs_by_the_price_that_was_given(server):
    body = completion("hi")
    body["usage"]["prompt_tokens_details"] = {"cached_tokens": 10}
    server.replies(body)
    reply = answer(
        Chat("m", base_url=server.url, api_key=KEY, price=Price(1e6, 2e6, 5e5))
    )
    assert reply.usage.cost_usd == pytest.approx(1 + 10 / 2 + 7 * 2)


def test_a_price_that_nobody_knows_is_no_price(server):
    server.replies("hi")
    model = Chat(
        "gpt-5-mini", base_url=server.url, api_key=KEY
    )  # a server of one's own may use any name
    assert model.price is None
    assert answer(model).usage.cost_usd is None
    assert expected_usage(model, HELLO, Seen()).cost_usd is None
    assert price_of(ScriptedChat()) is price_of(as_model(len)) is None


def test_without_the_extra_the_price_is_unknown(monkeypatch):
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    assert Chat("gpt-5-mini").price is None


@listed
def test_the_list_knows_models_by_name_and_address():
    for address in (None, "https://api.openai.com/v1"):
        price = Chat("gpt-5-mini", base_url=address).price
        assert (
            0
            < price.cached_per_million
            < price.prompt_per_million
            < price.completion_per_million
            < 100
        )
    assert (
        Chat(
            "deepseek-chat", base_url="https://api.deepseek.com"
        ).price.prompt_per_million
        > 0
    )
    assert Chat("gpt-5-mini", price=Price(7, 8)).price == Price(
        7, 8
    )  # one's own counts


@listed
def test_the_list_does_not_guess():
    assert Chat("no-such-model-9").price is None
    assert Chat("gpt-5-mini", base_url="https://models.example.com/v1").price is None
    assert (
        Chat("gpt-5-mini", base_url="http://api.openai.com.example.com/v1").price
        is None
    )


@listed
def test_a_price_of_tiers_is_that_of_short_prompts():
    from genai_prices import Usage as Tokens
    from genai_prices import calc_price

    for model, address in [
        ("gemini-2.5-pro", "https://generativelanguage.googleapis.com/v1beta/openai")
    ]:
        price = Chat(model, base_url=address).price
        of_list = calc_price(
            Tokens(input_tokens=5000, output_tokens=500),
            model,
            provider_api_url=address,
        ).total_price
        assert price.cost(Usage(1, 5000, 500)) == pytest.approx(float(of_list))


def test_what_a_call_may_cost_grows_with_the_prompt_and_what_came_before():
    model = Chat("m", price=Price(1e6, 1e6))
    first = expected_usage(model, HELLO, Seen())
    assert first.cost_usd > 1000  # nothing is known yet: rather too much
    assert expected_usage(model, HELLO, Seen(10)).cost_usd == pytest.approx(2 + 20)
    assert expected_usage(model, HELLO * 9, Seen(10)).cost_usd == pytest.approx(15 + 20)
    assert expected_usage(model, HELLO * 9, Seen(10, 1.0)).prompt_tokens == 45
    limited = Chat("m", price=Price(1e6, 1e6), max_tokens=5)
    assert expected_usage(limited, HELLO, Seen()).cost_usd == pytest.approx(2 + 5)


def test_an_ensemble_costs_as_its_dearest_and_is_unknown_where_one_is():
    dear, cheap = Chat("a", price=Price(3, 1)), Chat("b", price=Price(1, 9, 0.1))
    assert Ensemble([dear, cheap]).price == Price(3, 9)
    assert Ensemble([dear, ScriptedChat()]).price is None
    assert expected_usage(Ensemble([dear, cheap]), HELLO, Seen(1)).cost_usd > 0
