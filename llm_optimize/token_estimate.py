"""Token estimate: how many tokens a text has, where no endpoint has counted them."""

from __future__ import annotations

from .records import Usage

# Of English and of code; the rule of thumb that providers give.
CHARS_PER_TOKEN = 4
# For what may be spent: rather too many tokens than too few.
CAUTIOUS_CHARS_PER_TOKEN = 3

# Reports beyond these are mistakes: Chinese has 1 to 2, indented code up to 5.
_LEAST, _MOST = 1.0, 6.0
_WEIGHT = 0.25  # of a new report in the moving average; by hand
# A prompt that is laid out anew loses the beginning that a provider has cached, so small
# corrections are not worth it.
_DEADBAND = 0.1  # relative; by hand


class TokenEstimate:
    """Characters per token, learned from what an endpoint reports; it lasts as long as the process.

    Attributes:
        chars_per_token: the typical number, to lay out prompts: a moving average.
        tokens_per_char: the highest so far, for what may be spent.

    >>> estimate = TokenEstimate()
    >>> estimate.observe(9_000, Usage(1, prompt_tokens=4_500))
    >>> estimate.chars_per_token, estimate.tokens_per_char
    (2.0, 0.5)
    """

    def __init__(self) -> None:
        self.chars_per_token = float(CHARS_PER_TOKEN)
        self.tokens_per_char = 1 / CAUTIOUS_CHARS_PER_TOKEN  # the highest so far
        self._average: float | None = None

    def observe(self, chars: int, usage: Usage) -> None:
        """Learn from the length of a prompt and what the endpoint reports of it.

        A guess and an impossible number teach nothing.
        """
        if usage.estimated or usage.prompt_tokens <= 0 or chars <= 0:
            return
        tokens_per_char = min(usage.prompt_tokens / chars, 1.0)
        self.tokens_per_char = max(self.tokens_per_char, tokens_per_char)
        reported = chars / usage.prompt_tokens
        if usage.calls != 1 or not _LEAST <= reported <= _MOST:
            return
        if self._average is None:
            self._average = reported
        else:
            self._average += _WEIGHT * (reported - self._average)
        if abs(self._average / self.chars_per_token - 1) > _DEADBAND:
            self.chars_per_token = self._average
