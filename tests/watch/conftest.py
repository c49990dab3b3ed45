"""A browser with the report of a run of sixty trials; modules with other needs have their own."""

from contextlib import ExitStack, closing, contextmanager

import pytest

from llm_optimize.store import Store
from llm_optimize.watch import report
from pages import TASK, Seen, browsing, fill, scores_of
from reports import DRAWN, WIDE, check, go


@pytest.fixture(scope="module")
def browser():
    with browsing() as opened:
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def store(folder):
    with closing(Store(str(folder / "runs.db"))) as opened:
        run = opened.create_run("amber", {"task": TASK, "max_steps": 60, "workers": 2})
        fill(run, scores_of(60))
        run.end("max_steps")
        yield opened


@pytest.fixture(scope="module")
def tab(browser):
    """Return a function that opens a tab with a color scheme: the page, and its messages."""

    def tab(scheme):
        context = stack.enter_context(
            closing(browser.new_context(viewport=WIDE, color_scheme=scheme))
        )
        page, seen = context.new_page(), Seen()
        page.set_default_timeout(15_000)
        seen.watch(page)
        return page, seen

    with ExitStack() as stack:
        yield tab


@pytest.fixture(scope="module")
def shown(tab, store, folder):
    """Return a function that yields the page of a report, and checks that it had no errors.

    All these reports are opened in one dark tab, since a new one loads plotly again.
    """
    page, seen = tab("dark")

    @contextmanager
    def shown(name):
        go(page, report.write(store, name, folder / f"{name.replace('/', '-')}.html"))
        yield page
        check(seen)
        seen.requests.clear()

    return shown


@pytest.fixture(scope="module")
def opened_amber(tab, store, folder):
    page, seen = tab("light")
    go(page, report.write(store, "amber", folder / "read.html"))
    return page, seen


@pytest.fixture
def amber(opened_amber):
    """Return the page of a report that many tests look at, as it was when it was opened."""
    page, seen = opened_amber
    page.evaluate("document.querySelector('dialog').close()")
    page.get_by_role("searchbox").fill("")
    page.get_by_label("Which trials").select_option("all")
    while page.get_attribute(".head .c-number", "aria-sort") != "ascending":
        page.locator(".head .c-number button").click()
    page.wait_for_selector(DRAWN)
    yield page
    check(seen)
