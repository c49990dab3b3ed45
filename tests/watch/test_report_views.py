"""Views of a report in a real browser: the best x, parameters, trade-offs, comparisons, paper."""

import pytest

from llm_optimize import optimize, space
from llm_optimize.records import Plan, Status, Trial
from llm_optimize.testing import ScriptedChat
from llm_optimize.watch import report
from llm_optimize.watch.comparison import of_runs
from pages import HOSTILE, TASK, fill, scores_of
from reports import DRAWN, WIDE, check, go, numbers, open_trial


@pytest.fixture(scope="module")
def knobs(store):
    """Write a run with a space, whose trials have two metrics."""
    peak, hostile = space.Float(0.001, 1, log=True), space.Choice("a", HOSTILE[0])
    known = space.Space({"peak": peak, HOSTILE[4]: hostile})
    run = store.create_run(
        "knobs", {"task": TASK, "space": known.to_json(), "search": "pareto"}
    )
    for number in range(40):
        x = {"peak": 0.001 * 1.18**number, HOSTILE[4]: ("a", HOSTILE[0])[number % 2]}
        run.plan(number, Plan(None))
        facts = {
            "metrics": {"fast": float(number), HOSTILE[5]: float(-((number - 9) ** 2))}
        }
        score = -abs(number - 20.0)
        trial = Trial.of(number, x, Status.COMPLETE, "m", score, **facts)
        run.finish(trial, number + 1)


def test_parameters_show_importance_slices_and_parallel_coordinates(shown, knobs):
    with shown("knobs") as page:
        page.locator("#parameters").scroll_into_view_if_needed()
        page.wait_for_selector("#parameters .chart[data-drawn] .points path")
        assert page.locator(".importance .name").all_text_contents() == [
            "peak",
            HOSTILE[4],
        ]
        assert "not drawn at random" in page.inner_text("#parameters .note")
        page.wait_for_function(
            "() => document.querySelectorAll('#parameters .chart[data-drawn]').length === 3"
        )
        figures = page.locator("#parameters figure")
        labels = figures.nth(1).locator(".xtick text").all_text_contents()
        assert labels == ["a", HOSTILE[0]]
        axes = figures.nth(2).locator(".xtick text").all_text_contents()
        assert [axes[0], axes[-1]] == ["peak", "score"]
        assert figures.nth(2).locator(".scatterlayer .lines path").count() == 40
        assert "40 trials" in figures.nth(2).inner_text()
        assert page.evaluate("window.pwned") is None


def test_the_table_has_a_column_for_each_parameter_and_sorts_by_it(shown, knobs):
    with shown("knobs") as page:
        head = page.locator("#trials .head")
        assert head.get_by_role("button", name="peak").count() == 1
        head.get_by_role("button", name="peak").click()
        assert numbers(page)[:3] == [0, 1, 2]
        head.get_by_role("button", name="peak").click()
        assert numbers(page)[:3] == [39, 38, 37]
        cells = page.locator(".rows .row[data-trial='39'] .c-parameter")
        assert cells.all_text_contents() == ["0.6359", HOSTILE[0]]
        best = page.locator("#best tbody tr").first.locator("td, th")
        assert best.all_text_contents() == ["peak", "0.001", "0.027393"]


def test_trade_offs_have_a_pareto_front_that_turns_with_what_is_better(shown, knobs):
    front = "#front .chart[data-drawn] .scatterlayer .trace:nth-child(3) .points path"
    with shown("knobs") as page:
        page.locator("#front").scroll_into_view_if_needed()
        page.wait_for_selector(front)
        assert (
            page.locator(front).count() == 31
        )  # 9 is best at the second, 39 at the first
        assert "of 40 trials, 31 " in page.inner_text("#front .note >> nth=-1")
        way = page.get_by_label("What is better on the horizontal axis")
        way.select_option("less")
        page.wait_for_function(
            "front => document.querySelectorAll(front).length === 10", arg=front
        )
        assert page.evaluate("window.pwned") is None


def test_a_comparison_says_the_sentence_of_the_command_line(shown, store):
    other = HOSTILE[0].replace("/", "")
    for contender, lift in (("model", 1.0), (other, 0.0)):
        for seed in range(6):
            scores = [
                None if score is None else score + lift for score in scores_of(12, seed)
            ]
            settings = {"task": TASK, "budget": {"scorings": 12}}
            run = store.create_run(f"digits/{contender}/{seed}", settings)
            fill(run, scores)
            run.end("budget: scorings")
    found = of_runs(store, [name for name in store.names() if "digits/" in name])
    assert f"model is ahead of {other}" in found.sentence
    with shown("digits") as page:
        page.wait_for_selector("#curves .chart[data-drawn]")
        assert page.locator("#curves .scatterlayer .fills path").count() >= 2
        assert page.inner_text(".verdict") == found.sentence
        assert page.locator("#verdict tbody tr").count() == 2
        last = page.locator("#verdict tbody tr").last
        assert "model is ahead" in last.inner_text()
        assert "66" in last.inner_text(), "calls of six runs"
        last.get_by_role("link", name="3", exact=True).click()
        opened = page.locator("#runs details[open]")
        assert opened.locator("summary").inner_text().startswith(f"digits/{other}/3")
        assert "print(area(" in opened.inner_text()
        assert page.evaluate("window.pwned") is None


def test_the_best_x_stands_against_x0_under_the_chart(amber, store):
    trials = store.run("amber").trials()
    best = max((trial for trial in trials if trial.scored), key=lambda one: one.score)
    gain = f"+{best.score - trials[0].score:.3g} from x0"
    assert gain in amber.inner_text(".tile.best")
    section = amber.locator("#best")
    section.locator(".diff .new").first.wait_for()
    assert gain in section.inner_text()
    news = section.locator(".diff .new .code").all_text_contents()
    assert news[-1] == f"print(area({best.number}))"
    order = amber.eval_on_selector_all(".card", "all => all.map(one => one.id)")
    assert order[:4] == ["progress", "best", "story", "front"]
    top = section.locator(".diff").bounding_box()["y"]
    assert top + amber.evaluate("scrollY") < WIDE["height"], "on the first screen"
    amber.context.grant_permissions(["clipboard-read", "clipboard-write"])
    section.get_by_role("button", name="Copy best x").click()
    section.get_by_role("button", name="Copied").wait_for()
    assert amber.evaluate("navigator.clipboard.readText()") == best.x
    section.get_by_role("radio", name="Whole x").check()
    assert section.locator("td.code").last.text_content() == best.x.split("\n")[-1]
    section.get_by_role("radio", name="Change from x0").check()


def test_trials_that_ended_out_of_order_are_walked_by_number(shown, store):
    run = store.create_run("crossed", {"task": TASK})
    for place, number in enumerate([0, 2, 1, 3]):
        run.plan(number, Plan(None))
        run.finish(
            Trial.of(number, f"{number}", Status.COMPLETE, "m", float(number)),
            place + 1,
        )
    with shown("crossed") as page:
        open_trial(page, 0)
        for number in (1, 2, 3):
            page.keyboard.press("ArrowRight")
            page.wait_for_selector(f'dialog[open][data-shows="{number}"]')
        assert page.get_by_role("button", name="Trial after").is_disabled()
        page.keyboard.press("ArrowLeft")
        page.wait_for_selector('dialog[open][data-shows="2"]')


def test_the_best_so_far_is_drawn_to_the_last_trial_and_generations_are_whole(
    shown, store
):
    run = store.create_run("short", {"task": TASK})
    fill(run, [0.5, 0.7, 0.1, None, 0.2])
    with shown("short") as page:
        page.wait_for_selector(DRAWN)
        line = page.evaluate(
            "() => document.querySelector('#progress .chart').data[1].x.at(-1)"
        )
        assert line == 4
        page.locator("#lineage").scroll_into_view_if_needed()
        page.wait_for_selector("#lineage .chart[data-drawn] .xtick text")
        ticks = page.locator("#lineage .xtick text").all_text_contents()
        assert ticks == ["0", "1", "2"]


def test_scores_of_several_powers_of_ten_have_a_logarithmic_scale(shown, store):
    scores = [-1000.0, -100.0, -12.0, -1.0, -0.01]
    fill(store.create_run("steep", {"task": TASK}), scores)
    with shown("steep") as page:
        page.wait_for_selector(DRAWN)
        page.get_by_role("radio", name="Log").check()
        page.wait_for_function(
            "() => document.querySelector('#progress .chart').dataset.drawn >= 2"
        )
        heights = page.evaluate(
            "() => document.querySelector('#progress .chart').data[2].y"
        )
        assert heights == pytest.approx([-3, -2, -1.0792, 0, 2], abs=1e-3)
        assert "-0.1" in page.locator("#progress .ytick text").all_text_contents()


def test_scores_of_one_size_have_no_logarithmic_scale(amber):
    assert amber.get_by_role("radio", name="Log").is_hidden()


def test_a_run_stands_beside_the_best_mutation_run_of_its_task(shown, store):
    task = {**TASK, "description": "Raise the sum."}
    base = {"task": task, "x0": ["1"], "func": "f.py:f"}
    for seed, scores in enumerate([[0.1, 0.2], [0.1, 0.3, 0.4, 0.9], [0.1, 0.0]]):
        settings = {**base, "proposer": "mutation", "seed": seed}
        fill(store.create_run(f"base-{seed}", settings), scores, calls=False)
    fill(
        store.create_run("other-f", {**base, "func": "g.py:f", "model": "mutation"}),
        [9.0],
    )
    fill(store.create_run("asked", {**base, "model": "small"}), [0.1, 0.35, 0.2])
    with shown("asked") as page:
        tile = page.locator(".tile", has_text="Baseline")
        tile.wait_for()
        assert tile.locator(".value").inner_text() == "0.4", (
            "after three scorings, not four"
        )
        words = tile.inner_text()
        assert (
            "best of 3 mutation runs at equal scorings; this run was worse by 0.05"
            in words
        )
        page.wait_for_function(
            "() => document.querySelector('#progress .chart').data.length === 5"
        )
        line = page.evaluate(
            "() => document.querySelector('#progress .chart').data[4].y"
        )
        assert line == [0.1, 0.3, 0.4, 0.4]
        assert "base-1" in page.inner_text("#progress .note")
    with shown("base-1") as page:
        page.wait_for_selector(DRAWN)
        assert page.locator(".tile", has_text="Baseline").count() == 0


def test_a_minimized_run_has_its_lowest_as_the_best(shown, folder, store):
    replies = [f"```\n{number}\n```" for number in (4, 6, 1, 3)]
    optimize.run(
        "Lower it.", "Lower?", float, "5", 4, ScriptedChat(*replies), False, sandbox="inline",
        direction="minimize", name="lower", store=str(folder / "runs.db"),
    )  # fmt: skip
    with shown("lower") as page:
        page.wait_for_selector(DRAWN)
        assert page.inner_text(".tile.best .value") == "1"
        assert "trial 3 · −4 from x0" in page.inner_text(".tile.best")
        assert page.locator("#best .delta.up").inner_text().strip() == "−4 from x0"
        stairs = page.evaluate(
            "() => document.querySelector('#progress .chart').data[1].y"
        )
        assert stairs == [5, 4, 1, 1]
        assert "lower is better" in page.text_content("#progress .ytitle")
        page.locator("#trials .head").get_by_role("button", name="Score").click()
        assert numbers(page) == [3, 4, 1, 0, 2]
        page.locator("#story summary").last.wait_for()
        assert "lowered the score" in page.inner_text("#story")
        assert "the lowest score" in page.inner_text("#settings")


# On paper.


def test_a_printed_report_has_all_rows_all_charts_and_light_colours(tab, store, folder):
    page, seen = tab("dark")
    go(page, report.write(store, "amber", folder / "printed.html"))
    page.wait_for_selector(DRAWN)
    dark = page.evaluate("document.querySelector('#progress .chart').layout.font.color")
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_selector("#lineage .chart[data-drawn]")
    page.locator("#story .words").first.wait_for()
    rows = page.locator("#trials .printed tbody tr")
    assert rows.count() == 60
    assert rows.last.is_visible()
    assert page.locator("#trials .table").is_hidden()
    assert page.locator(".contents").is_hidden()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    ink = page.evaluate("getComputedStyle(document.body).color")
    assert ink == "rgb(28, 30, 33)"
    light = page.evaluate(
        "document.querySelector('#progress .chart').layout.font.color"
    )
    assert light != dark
    assert (
        page.evaluate("document.querySelector('#progress .chart').layout.width") == 640
    )
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen", color_scheme="dark")
    assert rows.count() == 0
    assert page.locator("#trials .table").is_visible()
    pages = page.pdf(path=folder / "printed.pdf", format="A4").count(b"/Type /Page\n")
    assert pages >= 3
    check(seen)
