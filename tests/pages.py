"""What the tests of report and page share: a browser, runs to look at, and texts that try to be
more than text."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from llm_optimize.records import Plan, Proposal, Reply, Status, Trial, Usage, rank
from llm_optimize.store import Run, Store

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
)
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
)
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # which is small in containers
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

TASK = {
    "description": "Raise the number.",
    "question": "Which is higher?",
    "system_prompt": "{task_description}",
    "human_prompt": "{x}",
}
CODE = '''\
"""A script."""

import math


def area(radius):
    """Return the area."""
    return math.pi * radius**2  # {number}


print(area({number}))
'''

HOSTILE = [
    "<script>window.pwned = 1</script>",
    "</script><script>window.pwned = 2</script>",
    "</style><style>*{display:none}</style>",
    "</template></textarea></title></noscript><script>window.pwned = 3</script>",
    '<img src="http://192.0.2.1/x.png" onerror="window.pwned = 4">',
    '"><svg onload="window.pwned = 5"><animate onbegin="window.pwned = 6">',
    "' onmouseover='window.pwned = 7' autofocus onfocus='window.pwned = 8",
    '<iframe srcdoc="<script>parent.pwned = 9</script>"></iframe>',
    '<a href="javascript:window.pwned = 10">open</a> [open](javascript:window.pwned=11)',
    "&lt;b&gt; &amp;amp; &#60;script&#62; &nosuch; &#xZZ; &",
    "<!-- <script> --> <![CDATA[ <x> ]]> <?php echo 1 ?>",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[2J bell\x07 back\x08space\x7f",
    "user\u202egnp.exe\u202c \u2066hidden\u2069 \u200eltr\u200f zero\u200bwidth \ufeffbom",
    "line\u2028separator\u2029paragraph\x85next\x0bvertical\x0cform\rreturn",
    "{{ 7 * 7 }} {% raw %} ${window.pwned = 12} `${alert(1)}` #{1} <%= 1 %>",
    '"}]}</script>\\u003cscript\\u003ewindow.pwned = 13\\u003c/script\\u003e \\" \\\\',
    "half a pair \ud800 and \udfff, null \x00, a tag \U000e0041, nothing \ufffe",
    "𝕏 日本語 عربى עברית 👩‍💻 e\u0301\u0301\u0301",
    "<b>bold</b><br><sup>plotly</sup><span style='color:red'>reads these</span>\ttab"
    "\n\n  two  spaces",
    "<i>" + "m" * 1_000_000 + "</i>",
]


@dataclass
class Seen:
    """What a browser said while a page was open."""

    trouble: list[str] = field(
        default_factory=list
    )  # of the console, of scripts, of dialogs
    requests: list[str] = field(default_factory=list)

    def watch(self, page: Any) -> None:
        """Listen to a page."""
        page.on(
            "console",
            lambda said: (
                said.type in ("error", "warning") and self.trouble.append(said.text)
            ),
        )
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        page.on(
            "dialog",
            lambda dialog: (
                self.trouble.append(f"dialog {dialog.message}"),
                dialog.dismiss(),
            ),
        )
        page.on("request", lambda request: self.requests.append(request.url))

    def left(self, *homes: str) -> list[str]:
        """Return the requests that went elsewhere than to addresses that begin with one of
        `homes`."""
        return [
            url
            for url in self.requests
            if not url.startswith((*homes, "data:", "blob:"))
        ]


def browser_path() -> str | None:
    found = [shutil.which(name) for name in NAMES]
    return next(
        (path for path in (*found, *PLACES) if path and Path(path).exists()), None
    )


@contextmanager
def browsing() -> Iterator[Any]:
    """Yield a browser; skip where there is none, unless one is required."""
    path = browser_path()
    if path is None:
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail("no browser, though REQUIRE_BROWSER is set: install chromium")
        pytest.skip(f"no browser on this machine: none of {', '.join(NAMES)}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        try:
            yield opened
        finally:
            opened.close()


def scores_of(count: int, seed: int = 1) -> list[float | None]:
    """Return scores that rise on the whole; about one in ten is missing."""
    rng = Random(seed)
    return [
        None if at and rng.random() < 0.1 else round(at / count + rng.gauss(0, 0.1), 4)
        for at in range(count)
    ]


def fill(
    run: Run, scores: Sequence[float | None], *, calls: bool = True, first: int = 0
) -> list[Trial]:
    """Write trials with these scores into a run; each builds on the best before it."""
    trials: list[Trial] = list(run.trials())
    for number, score in enumerate(scores, start=first):
        trials.append(
            write(
                run,
                number,
                score,
                max((t for t in trials if t.scored), key=rank, default=None),
                calls,
            )
        )
    return trials


def write(
    run: Run, number: int, score: float | None, parent: Trial | None, calls: bool = True
) -> Trial:
    """Write one trial as a run does."""
    x = CODE.replace("{number}", str(number))
    usage = Usage(1, 1000, 100, 400, 10, 0.001) if calls and number else Usage()
    source = "model:small" if calls and number else "x0" if not number else "mutation"
    run.plan(number, Plan(parent))
    if usage.calls:
        call = run.sent(
            number,
            0,
            "small",
            [{"role": "user", "content": f"Trial: {parent and parent.number}"}],
        )
        run.received(call, Reply(f"Better:\n```\n{x}```", usage, "small", 0.5))
    run.propose(number, Proposal(x, source, usage))
    trial = Trial.of(
        number=number,
        x=x,
        status=Status.FAILED if score is None else Status.COMPLETE,
        source=source,
        score=score,
        feedback=f"line {number}\nValueError: bad {number}"
        if score is None
        else f"the area is {number}",
        parent=None if parent is None else parent.number,
        output=f"printed {number}\n",
        metrics={"radius": float(number)},
        seconds=0.25,
        usage=usage,
    )
    run.finish(trial, len(run.trials()) + 1 if number < 100 else number + 1)
    return trial


def hostile_run(store: Store, name: str) -> Run:
    """Write a run in which every text that others wrote is hostile."""
    task = {**TASK, "description": "".join(HOSTILE[:-1]), "question": HOSTILE[0]}
    settings = {
        "task": task,
        "model": HOSTILE[4],
        "search": HOSTILE[1],
        HOSTILE[5]: HOSTILE[6],
    }
    run = store.create_run(name, settings)
    for number, text in enumerate(HOSTILE):
        usage = Usage(1, 10, 10, 0, 0, None)
        word = (
            text[:200].encode("utf-8", "replace").decode()
        )  # a column of text holds no half pairs
        run.plan(number, Plan(None))
        call = run.sent(
            number,
            0,
            word,
            [{"role": "system", "content": text}, {"role": text, "content": text}],
        )
        run.received(call, Reply(text, usage, text[:200], 0.1, text, text[:200]))
        failed = number % 5 == 4
        trial = Trial.of(
            number=number,
            x={text[:100]: f"\n{text}"} if number % 3 == 2 else text,
            status=Status.FAILED if failed else Status.COMPLETE,
            source=f"model:{word}",
            score=None if failed else number / 10,
            feedback=text,
            parent=number - 1 if number else None,
            output=text,
            metrics={text[:200]: 1.5},
            instances={text[:200]: 2.5},
            usage=usage,
            stage=word,
            lesson=text,
            decision={text[:200]: [text[:200], {"a": text[:200]}]},
        )
        run.propose(number, Proposal(trial.x, trial.source, usage))
        run.finish(trial, number + 1)
    store.steer(name, "hint", HOSTILE[12] + HOSTILE[2])
    return run
