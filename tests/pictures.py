"""Pictures of the docs: `make pictures`, or `python tests/pictures.py`.

Every picture shows a real run of a minute or two, made here. Nobody needs a key: the model is
`simulated`, which knows a few ideas of how to classify digits and tries them at random. It
has no price. Its seeds are fixed, so only times differ from one machine to the next.
"""

from __future__ import annotations

import io
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from llm_optimize import optimize
from llm_optimize.records import (
    Budget,
    Event,
    Message,
    Reply,
    Result,
    TrialFinished,
    TrialProposed,
    Usage,
)
from llm_optimize.space import Choice, Float, Int
from llm_optimize.store import Store
from llm_optimize.testing import ScriptedChat
from llm_optimize.watch import report
from llm_optimize.watch.console import Console
from llm_optimize.watch.page import Page
from pages import browsing

DOCS = Path(__file__).resolve().parents[1] / "docs"
PICTURES = DOCS / "pictures"
WINDOW = {"width": 1180, "height": 860}
PHONE = {"width": 390, "height": 844}


# The terminal: primes, by a scripted model.

PRIMES = (
    "Write primes(n): all primes below n. f measures its calls per second, n = 30,000."
)
FIRST_PRIMES = """\
def primes(n):
    found = []
    for number in range(2, n):
        if all(number % prime for prime in found if prime * prime <= number):
            found.append(number)
    return found
"""
BREAKING = """\
def primes(n):
    found = []
    for number in range(2, n):
        for prime in found:
            if prime * prime > number:
                found.append(number)
                break
            if number % prime == 0:
                break
        else:
            found.append(number)
    return found
"""
SIEVE = """\
def primes(n):
    sieve = [True] * n
    for number in range(2, int(n**0.5) + 1):
        if sieve[number]:
            for multiple in range(number * number, n, number):
                sieve[multiple] = False
    return [number for number in range(2, n) if sieve[number]]
"""
BYTES = """\
def primes(n):
    sieve = bytearray([1]) * n
    for number in range(2, int(n**0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, n, number)))
    return [number for number in range(2, n) if sieve[number]]
"""
ODD = """\
def primes(n):
    sieve = bytearray([1]) * (n // 2)  # of odd numbers
    for number in range(3, int(n**0.5) + 1, 2):
        if sieve[number // 2]:
            start = number * number // 2
            sieve[start::number] = bytes(len(range(start, n // 2, number)))
    return [2] + [2 * place + 1 for place in range(1, n // 2) if sieve[place]]
"""
COMPRESS = """\
from itertools import compress

def primes(n):
    sieve = bytearray([0, 0]) + bytearray([1]) * (n - 2)
    for number in range(2, int(n**0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, n, number)))
    return list(compress(range(n), sieve))
"""
BROKEN = """\
def primes(n):
    return sorted(set(range(2, n)) - multiples(n))
"""
WRONG = SIEVE.replace("n**0.5) + 1", "n**0.5)").replace(
    "range(2, n) if", "range(1, n) if"
)
REPLIES = (
    BREAKING,
    BROKEN,
    SIEVE,
    WRONG,
    BYTES,
    BREAKING,
    ODD,
    COMPRESS,
)


def speed(script: str) -> tuple[float, str]:
    """Score a script by how often it can be called in a second."""
    names: dict[str, Any] = {}
    exec(script, names)
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        found = names["primes"](30_000)
        times.append(time.perf_counter() - begun)
    taken = min(times)
    if len(found) != 3245 or found[0] != 2:
        raise ValueError(
            f"there are 3245 primes below 30,000 and the first is 2, not {found[0]}"
        )
    return 1 / taken, f"all are right, {1000 * taken:.2f} ms"


class Drawing:
    """A watcher that draws the terminal in the middle of a run."""

    def __init__(
        self, console: Console, at_trial: int, sizes: dict[str, tuple[int, int]]
    ) -> None:
        self.console, self.at_trial, self.sizes = console, at_trial, sizes

    def __call__(self, event: Event) -> None:
        self.console(event)
        if isinstance(event, TrialProposed) and event.number == self.at_trial:
            for name, (width, height) in self.sizes.items():
                picture = self.console.svg("llm-optimize", width=width, height=height)
                (DOCS / name).write_text(picture, encoding="utf-8")


def draw_terminal(url: str) -> None:
    """Draw the terminal view of a run, on a screen of 100 columns and on a wide one."""
    replies = [f"Better:\n```python\n{script}\n```" for script in REPLIES]
    sizes = {"terminal.svg": (100, 32), "terminal_wide.svg": (160, 40)}
    drawing = Drawing(Console(io.StringIO()), len(REPLIES), sizes)
    optimize.run(
        PRIMES,
        "How is it faster?",
        speed,
        FIRST_PRIMES,
        len(REPLIES),
        ScriptedChat(*replies, name="simulated"),
        False,
        sandbox="inline",
        budget=Budget(calls=30, seconds=600),
        store=url,
        name="amber-birch",
        callbacks=[drawing],
    )


# Digits: scripts by a simulated model.

DIGITS = (
    "Raise the accuracy of the script on images of digits that it has not seen. "
    "It must set `clf`, a scikit-learn classifier."
)
QUESTION = "Which script is more accurate?"
FIRST_DIGITS = """\
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

clf = make_pipeline(
    DecisionTreeClassifier(max_depth=3, random_state=0),
)
"""
CLASSIFIERS = (
    "DecisionTreeClassifier(max_depth=6, random_state=0)",
    "DecisionTreeClassifier(max_depth=12, random_state=0)",
    "KNeighborsClassifier(n_neighbors=15)",
    "ExtraTreesClassifier(n_estimators=20, random_state=0)",
    'SVC(kernel="poly", degree=5, C=0.1, gamma=0.001)',
    "SVC(C=0.1, gamma=0.0001)",
)
STEPS = ("MinMaxScaler()", "StandardScaler()", "PCA(n_components=12)")
MISTAKES = ("PCA(n_components=600)", "StandardScaler(scale=True)", "Deskew()")


class SimulatedModel:
    """A model that reads the script to improve in its prompt, and answers with a small change."""

    name = "simulated"
    price = None

    def __init__(self, seed: int) -> None:
        self._rng = Random(seed)

    async def reply(self, messages: Sequence[Message]) -> Reply:
        """Return a changed script with a sentence about the change."""
        prompt = messages[-1]["content"]
        script = re.findall(r"^```\w*\n(.*?)^```", prompt, re.S | re.M)[-1]
        header, _, body = script.partition("clf = make_pipeline(\n")
        lines, _, _ = body.partition("\n)")
        steps = [line.strip().removesuffix(",") for line in lines.splitlines()]
        sentence = self._change(steps)
        lines = "".join(f"    {step},\n" for step in steps)
        text = f"{sentence}\n```python\n{header}clf = make_pipeline(\n{lines})\n```"
        chars = sum(len(message["content"]) for message in messages)
        return Reply(text, Usage(1, chars // 4, len(text) // 4), self.name)

    def _change(self, steps: list[str]) -> str:
        """Change the steps of a pipeline in place, and say what was done."""
        rng, kind = self._rng, self._rng.random()
        if kind < 0.08:
            steps.insert(0, rng.choice(MISTAKES))
            return f"A step before the others may help: {steps[0]}."
        if kind < 0.20:
            steps[-1] = rng.choice(CLASSIFIERS)
            return f"Another classifier may do better: {steps[-1]}."
        if kind < 0.30 and len(steps) < 3:
            steps.insert(0, rng.choice(STEPS))
            return f"A step before the others may help: {steps[0]}."
        if kind < 0.42 and len(steps) > 1:
            return f"It may be simpler without {steps.pop(0)}."
        place = rng.randrange(len(steps))
        old = steps[place]
        steps[place] = re.sub(r"(?<==)(\d+\.?\d*)", self._near, old)
        if steps[place] == old:
            steps[-1] = re.sub(r"(?<==)(\d+\.?\d*)", self._near, steps[-1])
        return "The same with other numbers."

    def _near(self, found: re.Match[str]) -> str:
        """Return a number near the one in the script; whole ones stay whole."""
        value = float(found[1]) * 2 ** self._rng.gauss(0, 0.8)
        if found[1] == "0":
            return "0"
        return f"{value:.3g}" if "." in found[1] else str(max(1, round(value)))

    async def aclose(self) -> None:
        """Do nothing: nothing is open."""


@cache
def images() -> list[Any]:
    """Return images to learn from and others to judge by, and their digits."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    X, y = load_digits(return_X_y=True)
    return list(train_test_split(X, y, train_size=300, test_size=700, random_state=0))


def judge(clf: Any) -> tuple[float, str]:
    """Return the accuracy of a classifier, and which digits it confuses."""
    X_train, X_test, y_train, y_test = images()
    predicted = clf.fit(X_train, y_train).predict(X_test)
    confused: Counter[str] = Counter()
    for true, digit in zip(y_test, predicted, strict=True):
        if true != digit:
            confused[f"{true} taken for {digit}"] += 1
    most = [f"{pair} ({count})" for pair, count in confused.most_common(4)]
    return float((predicted == y_test).mean()), f"mistakes: {', '.join(most)}"


def accuracy(script: str) -> tuple[float, str]:
    """Score a script by the accuracy of its classifier."""
    names: dict[str, Any] = {}
    exec(script, names)
    return judge(names["clf"])


def accuracy_of_parameters(x: dict[str, Any]) -> tuple[float, str]:
    """Score parameters of a support vector machine."""
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import SVC

    svc = SVC(C=x["C"], gamma=x["gamma"], kernel=x["kernel"])
    return judge(make_pipeline(PCA(x["components"]), svc))


SPACE = {
    "C": Float(0.01, 100, log=True),
    "gamma": Float(1e-5, 0.01, log=True),
    "kernel": Choice("rbf", "poly", "sigmoid"),
    "components": Int(2, 60),
}


def improve(url: str, name: str, steps: int, seed: int, **options: Any) -> Result:
    """Run the simulated model on the digits."""
    model = options.pop("model", None) or SimulatedModel(seed)
    return optimize.run(
        DIGITS,
        QUESTION,
        accuracy,
        FIRST_DIGITS,
        steps,
        model,
        False,
        sandbox="inline",
        store=url,
        name=name,
        seed=seed,
        **options,
    )


def tune(url: str, name: str) -> None:
    """Score random parameters, to see what each of them does."""
    optimize.run(
        "Raise the accuracy of a support vector machine on images of digits.",
        "Which parameters are better?",
        accuracy_of_parameters,
        None,
        80,
        None,
        False,
        proposer="random",
        space=SPACE,
        sandbox="inline",
        store=url,
        name=name,
        seed=1,
    )


def compete(url: str, name: str) -> None:
    """Compare the simulated model and random mutation on the same budget."""
    optimize.compare(
        DIGITS,
        QUESTION,
        accuracy,
        FIRST_DIGITS,
        contenders={
            "model": SimulatedModel(1),
            "model-tree": {"model": SimulatedModel(2), "search": "tree"},
            "mutation": "mutation",
        },
        budget=30,
        seeds=6,
        store=url,
        name=name,
        sandbox="inline",
    )


@contextmanager
def running(url: str, name: str, trials: int) -> Iterator[None]:
    """Have a run that goes on, with so many trials; it is stopped afterwards."""
    there, done = threading.Event(), threading.Event()

    def wait(event: Event) -> None:
        if isinstance(event, TrialFinished) and event.trial.number == trials - 1:
            there.set()
            done.wait(120)

    options = {"callbacks": [wait], "budget": Budget(calls=200, seconds=3600)}
    thread = threading.Thread(
        target=improve, args=(url, name, trials, 4), kwargs=options
    )
    thread.start()
    there.wait(300)
    try:
        yield
    finally:
        done.set()
        thread.join()


# The browser.


@contextmanager
def window(browser: Any, scheme: str, size: dict[str, int]) -> Iterator[Any]:
    """Yield a page of a browser in a color scheme."""
    context = browser.new_context(viewport=size, color_scheme=scheme)
    with closing(context):
        yield context.new_page()


def go(page: Any, address: str) -> None:
    """Open an address, and wait until all is drawn."""
    page.goto(address)
    page.wait_for_selector('main[aria-busy="false"]')
    page.wait_for_timeout(1_500)  # for the charts


def draw_reports(browser: Any, store: Store, folder: Path) -> None:
    """Draw the reports of a run, of parameters and of a comparison."""
    address = {}
    for name in ("amber-birch", "calm-dune", "digits"):
        address[name] = report.write(store, name, folder / f"{name}.html").as_uri()
    best = max(
        (trial for trial in store.run("amber-birch").trials() if trial.scored),
        key=lambda trial: (trial.score, -trial.number),
    )
    with window(browser, "light", WINDOW) as page:
        go(page, address["amber-birch"])
        page.screenshot(path=PICTURES / "report-light.png")
        page.locator("#lineage").screenshot(path=PICTURES / "report-lineage.png")
        page.locator("#story").screenshot(path=PICTURES / "report-story.png")
        go(page, address["calm-dune"])
        page.locator("#parameters").screenshot(path=PICTURES / "parameters-light.png")
        go(page, address["digits"])
        page.screenshot(path=PICTURES / "comparison-light.png")
    with window(browser, "dark", WINDOW) as page:
        go(page, address["amber-birch"])
        page.screenshot(path=PICTURES / "report-dark.png")
        go(page, f"{address['amber-birch']}#trial-{best.number}")
        page.screenshot(path=PICTURES / "trial-dark.png")


def draw_page(browser: Any, store: Store) -> None:
    """Draw the page of all runs, and of one that goes on."""
    shown = Page(store, port=0)
    thread = threading.Thread(target=shown.run)
    thread.start()
    _, _, token = shown.url.partition("?")
    live = f"{shown.address}run/brisk-cedar?{token}"
    try:
        for scheme in ("light", "dark"):
            with window(browser, scheme, WINDOW) as page:
                go(page, live)
                page.screenshot(path=PICTURES / f"page-run-{scheme}.png")
        with window(browser, "dark", PHONE) as page:
            go(page, live)
            page.screenshot(path=PICTURES / "page-phone-dark.png")
        with window(browser, "light", WINDOW) as page:
            go(page, shown.url)
            page.screenshot(path=PICTURES / "page-list-light.png")
    finally:
        shown.stop()
        thread.join()


def main() -> None:
    """Make the runs, and draw them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_terminal(f"{folder}/terminal.db")
        url = f"{folder}/runs.db"
        accuracy(
            FIRST_DIGITS
        )  # imports what the trials need, so that none is timed with it
        result = improve(url, "amber-birch", 100, 7)
        drawn = result.plot()
        drawn.figure.savefig(DOCS / "plot.svg", metadata={"Date": None})
        compete(url, "digits")
        tune(url, "calm-dune")
        with closing(Store(url)) as store, browsing() as browser:
            draw_reports(browser, store, folder)
            with running(url, "brisk-cedar", 40):
                draw_page(browser, store)


if __name__ == "__main__":
    main()
