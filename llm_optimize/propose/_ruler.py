"""How many characters a token has, learnt from what an endpoint reports."""

from __future__ import annotations

from ..records import Usage

_FIRST = 4.0  # of English and of code, roughly
_LEAST, _MOST = (
    1.0,
    6.0,
)  # what is reported beyond these is a mistake: of Chinese 1 to 2, of indented code up to 5
_WEIGHT = 0.25  # of a new report
_DEADBAND = 0.1  # what it may differ by before a prompt is laid out anew by it: a change costs the cached beginning


class Ruler:
    """Characters per token: 4 at first, then as reported. It forgets at the end of the process.

    >>> ruler = Ruler()
    >>> ruler.learn(9_000, Usage(1, prompt_tokens=3_000))
    >>> ruler.chars_per_token
    3.0
    """

    def __init__(self) -> None:
        self.chars_per_token = _FIRST
        self._mean: float | None = None

    def learn(self, chars: int, usage: Usage) -> None:
        """Take the length of a prompt and what the endpoint says of it; a guess or an impossible number is nothing."""
        if usage.estimated or usage.calls != 1 or usage.prompt_tokens <= 0:
            return
        reported = chars / usage.prompt_tokens
        if not _LEAST <= reported <= _MOST:
            return
        self._mean = (
            reported
            if self._mean is None
            else self._mean + _WEIGHT * (reported - self._mean)
        )
        if abs(self._mean / self.chars_per_token - 1) > _DEADBAND:
            self.chars_per_token = self._mean
