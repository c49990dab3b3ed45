"""The page in a real browser: live runs, comparisons, control commands, and hostile texts."""

import threading
import time
from contextlib import closing, contextmanager

import pytest

from benchmarks.watch import bulk_run
from llm_optimize import optimize
from llm_optimize.records import Plan, Status, Trial, TrialFinished
from llm_optimize.store import Store
from llm_optimize.testing import changed
from llm_optimize.text import visible
from llm_optimize.watch.page import Page
from pages import HOSTILE, TASK, Seen, browsing, fill, hostile_run, scores_of, write

DRAWN = "#progress .chart[data-drawn]"


@pytest.fixture(scope="module")
def browser():
    with browsing() as opened:
        yield opened


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with closing(Store(str(tmp_path_factory.mktemp("pages") / "runs.db"))) as opened:
        yield opened


@pytest.fixture(scope="module")
def server(store):
    page = Page(store, port=0)
    thread = threading.Thread(target=page.run)
    thread.start()
    yield page
    page.stop()
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def tab(browser):
    """Return the one tab of all pages, since a new one loads plotly again, and its messages."""
    with closing(
        browser.new_context(viewport={"width": 1200, "height": 900})
    ) as context:
        page, seen = context.new_page(), Seen()
        page.set_default_timeout(15_000)
        seen.watch(page)
        yield page, seen


@pytest.fixture
def shown(tab, server):
    """Return a function that yields a page of the server, and checks that it had no errors."""
    page, seen = tab

    @contextmanager
    def shown(path="", query="", token=True):
        _, _, key = server.url.partition("?")
        words = "&".join(filter(None, [query, key if token else ""]))
        if not token:  # nor from a page before
            page.goto(server.address)
            page.evaluate("sessionStorage.clear()")
        seen.requests.clear()
        page.goto(f"{server.address}{path}?{words}")
        page.wait_for_selector('main[aria-busy="false"]')
        yield page
        assert seen.trouble == []
        assert seen.requests
        assert seen.left(server.address) == []

    return shown


@pytest.fixture
def run_of(store):
    """Return a function that makes a run of a new name with these scores."""

    def run_of(name, scores=(), **settings):
        run = store.create_run(name, {"task": TASK, **settings})
        fill(run, scores)
        return run

    return run_of


# A live run.


def test_a_champion_is_on_screen_within_a_second_of_being_stored(shown, run_of):
    run = run_of("live", [0.1, 0.2, None])
    with shown("run/live") as page:
        page.wait_for_selector(DRAWN)
        taken = []
        for number in range(3, 8):
            trial = write(run, number, number / 10, run.trials()[1])
            stored = time.monotonic()
            page.wait_for_function(
                "best => document.querySelector('.tile.best .value').textContent === best",
                arg=str(trial.score),
            )
            taken.append(time.monotonic() - stored)
            assert f"trial {number}" in page.inner_text(".tile.best")
        assert sorted(taken)[2] < 1, taken
        assert page.inner_text("#trials [role=status]") == "8 trials"
        assert page.text_content("[aria-live]") == "New best: 0.7 in trial 7"
        page.wait_for_function(
            "() => document.querySelectorAll('#progress .scatterlayer .trace:nth-child(3) "
            ".points path').length === 7"
        )


def test_single_runs_beside_each_other_prove_nothing(shown, run_of):
    run_of("single-one", [0.1, 0.9])
    run_of("single-two", [0.1, 0.5])
    with shown("compare", "run=single-one&run=single-two") as page:
        page.wait_for_selector("#curves .chart[data-drawn]")
        assert "One run each proves nothing" in page.inner_text(".verdict")
        heads = page.locator("#verdict thead th").all_text_contents()
        assert heads == ["", "Best", "Trials", "Calls", "Cost", "Time"]
        first = page.locator("#verdict tbody tr").first
        assert "0.9" in first.inner_text()
        first.get_by_role("link", name="open").click()
        page.wait_for_selector("#best .diff")
        assert page.inner_text("h1") == "single-one"


def test_a_real_run_grows_on_screen_and_is_seen_to_end(shown, store):
    seen_some, half = threading.Event(), threading.Event()

    def wait_in_the_middle(event):
        if isinstance(event, TrialFinished) and event.trial.number == 5:
            half.set()
            assert seen_some.wait(30)

    def work():
        optimize.run(
            "Raise it.", "Higher?", float, "1", 10, "mutation", False, sandbox="inline",
            seed=1, name="real", store=store.url, callbacks=[wait_in_the_middle],
        )  # fmt: skip

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert half.wait(30)
        with shown("run/real") as page:
            assert page.inner_text("#trials [role=status]") == "6 trials"
            assert "running" in page.inner_text(".status")
            assert "5/10 steps" in page.inner_text(".status")
            assert " left" in page.inner_text(".status")
            seen_some.set()
            page.get_by_text("finished: all steps are done").wait_for()
            assert " left" not in page.inner_text(".status")
            page.get_by_text("11 trials", exact=True).wait_for()
            assert page.locator(".steering").is_hidden()
    finally:
        seen_some.set()
        thread.join(30)


def test_trials_in_flight_and_further_scorings_are_shown(shown, run_of):
    run = run_of("again", [0.1, 0.9, 0.5])
    with shown("run/again") as page:
        assert page.inner_text(".tile.best .value") == "0.9"
        run.plan(3, Plan(run.trials()[0]))
        page.get_by_text("1 trial in flight").wait_for()
        champion = run.trial(1)
        run.score_again(changed(champion, score=0.4, standard_error=0.1, scorings=3), 3)
        page.wait_for_function(
            "() => document.querySelector('.tile.best .value').textContent === '0.5'"
        )
        page.evaluate("location.hash = '#trial-1'")
        page.wait_for_selector('dialog[data-shows="1"]')
        assert "0.4 ± 0.1 in 3 scorings" in page.inner_text(".trial-head")


def test_what_is_read_is_not_moved_away_by_what_is_new(shown, run_of):
    """Sort, search, the open trial and the scroll position stay while a run grows."""
    run = run_of("steady", scores_of(80))
    with shown("run/steady") as page:
        page.get_by_role("searchbox").fill("area")
        page.locator(".table").evaluate("table => { table.scrollTop = 900 }")
        page.evaluate("location.hash = '#trial-12'")
        page.wait_for_selector('dialog[data-shows="12"]')
        write(run, 80, 5.0, run.trial(0))
        page.wait_for_function(
            "() => document.querySelector('.tile.best .value').textContent === '5'"
        )
        assert page.locator(".table").evaluate("table => table.scrollTop") == 900
        assert (
            page.get_by_role("searchbox", include_hidden=True).input_value() == "area"
        )
        assert page.get_attribute("dialog[open]", "data-shows") == "12"


# Steering.


def test_a_run_is_paused_hinted_and_stopped_by_who_has_the_token(shown, run_of):
    run = run_of("steered", [0.5])
    with shown("run/steered") as page:
        page.get_by_role("button", name="Pause").click()
        page.get_by_role("button", name="Go on").wait_for()
        page.get_by_label("Hint for the model").fill(HOSTILE[0])
        page.get_by_role("button", name="Give hint").click()
        page.locator(".steering li", has_text="hint").wait_for()
        assert HOSTILE[0] in page.inner_text(".steering")
        page.get_by_role("button", name="Stop …").click()
        page.get_by_role("button", name="No").click()
        assert [steer.kind for steer in run.steers()] == ["pause", "hint"]
        page.get_by_role("button", name="Stop …").click()
        page.get_by_role("button", name="Stop the run").click()
        page.get_by_text("Asked to stop.").wait_for()
        assert [steer.kind for steer in run.steers()] == ["pause", "hint", "stop"]
        run.end("stopped")
        page.wait_for_selector(".steering", state="hidden")


def test_the_token_leaves_the_address_and_stays_with_the_tab(shown, run_of, server):
    run = run_of("kept", [0.5])
    with shown("run/kept", "a=b%26c") as page:
        for _ in range(2):
            assert page.url == f"{server.address}run/kept?a=b%26c"
            hrefs = page.evaluate("[...document.links].map(link => link.href)")
            assert hrefs
            assert not any("token" in href for href in hrefs)
            page.reload()
            page.wait_for_selector('main[aria-busy="false"]')
        page.click("text=Pause")
        page.wait_for_selector("text=Asked to pause.")
        assert [steer.kind for steer in run.steers()] == ["pause"]
        assert page.evaluate("document.cookie") == ""


def test_without_the_token_a_run_is_only_looked_at(shown, run_of):
    run_of("looked-at", [0.5])
    with shown("run/looked-at", token=False) as page:
        assert page.locator(".steering button, .steering input").count() == 0
        assert "open the address with the token" in page.inner_text(".steering")
        assert page.inner_text(".tile.best .value") == "0.5"


# Many runs.


def test_runs_are_listed_searched_opened_and_compared(shown, run_of):
    run_of("list/one/1", [0.1, 0.2])
    run_of("list two", [0.3]).end("error: the endpoint said no")
    run_of(HOSTILE[0], [0.4], model=HOSTILE[4])
    with shown() as page:
        search = page.get_by_role("searchbox")
        search.fill("list")
        assert page.locator("tbody tr").count() == 2
        failed = page.inner_text('tr[data-run="list two"] .status')
        assert failed == "finished (error: the endpoint said no)"
        search.fill("pwned")
        row = page.locator("tbody tr").first
        assert row.locator("a").text_content() == HOSTILE[0]
        row.locator("a").click()
        page.wait_for_selector(".tile.best")
        assert page.inner_text("h1") == HOSTILE[0]
        page.get_by_role("link", name="All runs").click()
        for name in ("all runs of list", "list two", HOSTILE[0]):
            page.get_by_label(f"Choose {name}", exact=True).check()
        page.get_by_role("link", name="Compare 3 runs").click()
        page.wait_for_selector("#curves .chart[data-drawn]")
        assert page.locator("#curves .scatterlayer .lines path").count() == 3
        assert HOSTILE[0] in page.inner_text("#verdict")
        assert page.evaluate("window.pwned") is None


def test_a_comparison_is_one_row_that_unfolds_and_says_its_verdict(shown, run_of):
    for contender, level in (("best", 1.0), ("tree", 0.0)):
        for seed in range(4):
            name = f"packing/{contender}/{seed}"
            run = run_of(name, [level, level + seed / 10], budget={"scorings": 2})
            run.end("budget: scorings")
    with shown() as page:
        page.get_by_role("searchbox").fill("packing")
        row = page.locator('tr[data-comparison="packing"]')
        row.get_by_text("best is ahead of tree").wait_for()
        assert "8 of 8 runs finished" in row.text_content()
        assert page.locator("tbody tr").count() == 1
        row.get_by_role("button", name="packing").click()
        assert page.locator("tbody tr").count() == 9
        assert page.inner_text('tr[data-run="packing/tree/3"] a') == "tree/3"
        page.set_viewport_size({"width": 390, "height": 800})
        best = page.locator('tr[data-run="packing/best/3"] td.num').bounding_box()
        assert best["x"] + best["width"] <= 390
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_runs_are_tagged_found_by_tag_sorted_renamed_and_deleted(shown, run_of, store):
    for name, score in (("thing-a", 0.25), ("thing-b", 0.75), ("thing-c", 0.5)):
        run = run_of(name, [score])
        run.end("max_steps")
        run.close()
    with shown(token=True) as page:
        page.get_by_role("searchbox").fill("thing")
        page.get_by_label("Order").select_option("best")
        names = page.locator("tbody th a").all_text_contents()
        assert names == ["thing-b", "thing-c", "thing-a"]
        page.get_by_label("Choose thing-b").check()
        page.get_by_role("button", name="Tag").click()
        page.get_by_label("Tags").fill("good")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Search by the tag good").click()
        assert page.locator("tbody tr").count() == 1
        page.get_by_role("button", name="Rename").click()
        page.get_by_label("New name").fill("thing-d")
        page.keyboard.press("Enter")
        page.get_by_role("link", name="thing-d").wait_for()
        page.get_by_label("Choose thing-d").check()
        page.get_by_role("button", name="Delete").click()
        assert "thing-d" in store.names(), "it asks first"
        page.get_by_role("button", name="Delete", exact=True).click()
        page.get_by_role("link", name="thing-d").wait_for(state="detached")
        assert "thing-d" not in store.names()


def test_a_new_run_appears_in_the_list_by_itself(shown, run_of):
    with shown() as page:
        run_of("born-later", [0.5])
        page.get_by_role("link", name="born-later").wait_for()


def test_a_run_that_is_not_there_is_a_sentence(tab, server):
    page, seen = tab
    page.goto(f"{server.address}run/nobody")
    assert "no run named 'nobody'" in page.text_content(".problem")
    assert page.get_by_role("link", name="All runs").count() == 1
    (said,) = seen.trouble
    assert "404" in said
    seen.trouble.clear()


# Hostile texts, and a long run.


def test_hostile_texts_show_as_text_while_they_arrive(shown, store, run_of):
    hostile_run(store, HOSTILE[2])
    with shown("run/" + HOSTILE[2].replace("/", "%2F")) as page:
        page.wait_for_selector(DRAWN)
        assert page.inner_text("h1") == HOSTILE[2]
        for number, text in enumerate(HOSTILE):
            page.evaluate("hash => { location.hash = hash }", f"#trial-{number}")
            page.wait_for_selector(f'dialog[data-shows="{number}"]')
            feedback = (
                page.locator("dialog section", has_text="Feedback")
                .locator("pre")
                .first.text_content()
            )
            assert feedback == visible(
                store.run(HOSTILE[2]).trial(number).feedback[:20_000]
            )
            assert text.isascii() or len(feedback) >= len(text)
        assert page.evaluate("window.pwned") is None
    run = run_of("arriving", [0.1])
    with shown("run/arriving") as page:
        for number, text in enumerate(HOSTILE, start=1):
            run.plan(number, Plan(None))
            run.finish(
                Trial.of(
                    number, text, Status.COMPLETE, text[:9], number / 1.0, feedback=text
                ),
                number + 1,
            )
        page.get_by_text("21 trials", exact=True).wait_for()
        assert page.locator(".rows .row").count() == 21
        assert page.evaluate("window.pwned") is None


def test_a_long_run_keeps_few_rows_in_the_page_and_scrolls_to_its_end(shown, store):
    bulk_run(store, "long", 3000, calls=False)
    with shown("run/long") as page:
        table = page.locator(".table")
        assert page.locator(".rows .row").count() < 60
        table.evaluate("table => { table.scrollTop = table.scrollHeight }")
        page.wait_for_selector('.rows .row[data-trial="2999"]')
        assert page.locator(".rows .row").count() < 60
        assert page.get_attribute(".table", "aria-rowcount") == "3001"
