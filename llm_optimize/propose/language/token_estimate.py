"""Token estimate: how many characters a token has, learnt from what an endpoint reports."""

from __future__ import annotations

from ...records import Usage

_FIRST = 4.0  # of English and of code, roughly
# What is reported beyond these is a mistake: Chinese has 1 to 2, indented code up to 5.
_LEAST, _MOST = 1.0, 6.0
_WEIGHT = 0.25  # of a new report in the moving average
# A change of the estimate lays out the prompt anew, which costs its cached beginning.
_DEADBAND = 0.1


class TokenEstimate:
    """Characters per token: 4 at first, then as reported. It forgets at the end of the process.

    >>> estimate = TokenEstimate()
    >>> estimate.learn(9_000, Usage(1, prompt_tokens=3_000))
    >>> estimate.chars_per_token
    3.0
    """

    def __init__(self) -> None:
        self.chars_per_token = _FIRST
        self._mean: float | None = None

    def learn(self, chars: int, usage: Usage) -> None:
        """Learn from a prompt of so many characters and the usage that the endpoint reports.

        Guesses and impossible numbers are not believed.
        """
        if usage.estimated or usage.calls != 1 or usage.prompt_tokens <= 0:
            return
        reported = chars / usage.prompt_tokens
        if not _LEAST <= reported <= _MOST:
            return
        if self._mean is None:
            self._mean = reported
        else:
            self._mean += _WEIGHT * (reported - self._mean)
        if abs(self._mean / self.chars_per_token - 1) > _DEADBAND:
            self.chars_per_token = self._mean
