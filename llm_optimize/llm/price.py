"""Price of tokens. An unknown price is None, never 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..errors import InPython, UsageError
from ..records import Usage

_MILLION = 1_000_000
_SAMPLE = 1_000  # tokens whose price is looked up: below the first tier of every list


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens.

    Args:
        prompt_per_million: tokens that are sent.
        completion_per_million: tokens that come back, reasoning tokens included.
        cached_per_million: prompt tokens that were cached; None: they cost as the others.

    Raises:
        UsageError: a price is below 0.

    >>> usage = Usage(1, 1_000_000, 500_000, cached_tokens=400_000)
    >>> Price(0.25, 2.0, cached_per_million=0.025).cost(usage)
    1.16
    """

    prompt_per_million: float
    completion_per_million: float
    cached_per_million: float | None = None

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise UsageError(
                    InPython(
                        f"price: {name}", shell="one of the two numbers of --price"
                    ),
                    f" is {value}: give US dollars per million tokens, 0 or more",
                )

    def cost(self, usage: Usage) -> float:
        """Return what these tokens cost, in US dollars."""
        per_cached = self.cached_per_million
        if per_cached is None:
            per_cached = self.prompt_per_million
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        fresh = usage.prompt_tokens - cached
        dollars = fresh * self.prompt_per_million
        dollars += cached * per_cached
        dollars += usage.completion_tokens * self.completion_per_million
        return dollars / _MILLION


def listed_price(model_name: str, base_url: str | None) -> Price | None:
    """Return the list price of a model, from the data of the `prices` extra.

    Nothing is downloaded. None when the extra is not installed, or does not know this model at this
    address. A higher price for very long prompts is not in it.
    """
    try:
        import genai_prices
    except ImportError:
        return None
    where: dict[str, Any] = {"provider_api_url": base_url}
    if base_url is None or urlsplit(base_url).hostname == "api.openai.com":
        where = {"provider_id": "openai"}

    def look_up(prompt: int, completion: int, cached: int = 0) -> float:
        usage = genai_prices.Usage(
            input_tokens=prompt, output_tokens=completion, cache_read_tokens=cached
        )
        found = genai_prices.calc_price(usage, model_name, **where)
        return float(found.total_price) * _MILLION / _SAMPLE

    try:
        per_prompt = look_up(_SAMPLE, 0)
        per_completion = look_up(0, _SAMPLE)
        per_cached = look_up(_SAMPLE, 0, _SAMPLE)
    except (LookupError, ValueError):
        return None
    return Price(per_prompt, per_completion, per_cached)
