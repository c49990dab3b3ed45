"""What the tests of reports in a browser share."""

from __future__ import annotations

from typing import Any

DRAWN = "#progress .chart[data-drawn]"
WIDE = {"width": 1200, "height": 900}


def go(page: Any, path: Any) -> None:
    page.goto("about:blank")  # else the same file would not be opened again
    page.goto(path.as_uri() + "#")
    page.wait_for_selector(".run")


def check(seen: Any) -> None:
    assert seen.trouble == []
    assert seen.requests
    assert seen.left("file://") == []


def numbers(page: Any) -> list[int]:
    """Return the trials in the rows on screen."""
    found: list[int] = page.eval_on_selector_all(
        ".rows .row",
        """rows => rows
        .map(row => [new DOMMatrix(row.style.transform).m42, Number(row.dataset.trial)])
                        .sort((a, b) => a[0] - b[0]).map(([, number]) => number)""",
    )
    return found


def open_trial(page: Any, number: int) -> None:
    page.evaluate("hash => { location.hash = hash }", f"#trial-{number}")
    page.wait_for_selector(f'dialog[open][data-shows="{number}"]')
