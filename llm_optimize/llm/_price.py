"""What tokens cost. An unknown price is None, never 0."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from ..errors import UsageError
from ..records import Usage

_MILLION = 1_000_000
_SAMPLE = 1_000  # tokens whose price is looked up: below the first tier of every list


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens. Raises UsageError for a price below 0.

    >>> Price(0.25, 2.0, cached_per_million=0.025).cost(Usage(1, 1_000_000, 500_000, cached_tokens=400_000))
    1.16
    """

    prompt_per_million: float
    completion_per_million: float  # reasoning tokens included
    cached_per_million: float | None = (
        None  # of the prompt tokens that were cached; None: they cost as the others
    )

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise UsageError(
                    f"price: {name} is {value}: give US dollars per million tokens, 0 or more"
                )

    def cost(self, usage: Usage) -> float:
        """Return what these tokens cost, in US dollars."""
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        per_cached = (
            self.prompt_per_million
            if self.cached_per_million is None
            else self.cached_per_million
        )
        fresh = (usage.prompt_tokens - cached) * self.prompt_per_million
        return (
            fresh
            + cached * per_cached
            + usage.completion_tokens * self.completion_per_million
        ) / _MILLION


def listed_price(model_name: str, base_url: str | None) -> Price | None:
    """Return the list price of a model, from the data that comes with the `prices` extra; nothing is downloaded.

    None when the extra is not installed, or does not know this model at this address. A higher price for very long
    prompts is not in it.
    """
    try:
        import genai_prices
    except ImportError:
        return None

    def look_up(prompt: int, completion: int, cached: int = 0) -> float:
        usage = genai_prices.Usage(
            input_tokens=prompt, output_tokens=completion, cache_read_tokens=cached
        )
        if base_url is None or urlsplit(base_url).hostname == "api.openai.com":
            found = genai_prices.calc_price(usage, model_name, provider_id="openai")
        else:
            found = genai_prices.calc_price(
                usage, model_name, provider_api_url=base_url
            )
        return float(found.total_price) * _MILLION / _SAMPLE

    try:
        return Price(
            look_up(_SAMPLE, 0), look_up(0, _SAMPLE), look_up(_SAMPLE, 0, _SAMPLE)
        )
    except (LookupError, ValueError):
        return None
