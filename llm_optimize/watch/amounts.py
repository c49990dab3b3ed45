"""Formatted amounts: time spans, dollars, counts, differences, and caps with their use."""

from __future__ import annotations

from ..records import Cap

__all__ = ["LABELS", "amount", "duration", "signed", "used_of"]

LABELS = {
    "max_steps": "steps",
    "calls": "model calls",
    "tokens": "tokens",
    "usd": "cost",
    "seconds": "time",
    "scorings": "scorings",
    "stale_steps": "stale steps",
}


def duration(seconds: float) -> str:
    """Return a time span for reading.

    >>> duration(0.05), duration(75), duration(4000)
    ('0.05 s', '1m15s', '1h06m')
    """
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"


def signed(change: float) -> str:
    """Return a difference of scores for reading.

    >>> signed(0.25), signed(-0.0)
    ('+0.25', '+0')
    """
    return f"{change or 0.0:+.4g}"


def used_of(cap: Cap) -> str:
    """Return what is used of a cap for reading, and the cap where there is one.

    >>> used_of(Cap("tokens", 1_200, 5_000)), used_of(Cap("calls", 3, None))
    ('1,200/5,000', '3')
    """
    used = amount(cap.name, cap.used)
    if cap.cap is None:
        return used
    return f"{used}/{amount(cap.name, cap.cap)}"


def amount(name: str, value: float) -> str:
    """Return an amount of what the cap of this name counts, for reading.

    >>> amount("usd", 0.5), amount("tokens", 12_345), amount("seconds", 75)
    ('$0.50', '12,345', '1m15s')
    """
    if name == "seconds":
        return duration(value)
    if name != "usd":
        return f"{value:,.0f}"
    if 0 < value < 0.1:
        return f"${value:.4f}"
    return f"${value:.2f}"
