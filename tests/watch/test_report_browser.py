"""The report in a real browser, opened from disk: what it shows, and that it is safe."""

import pytest

from llm_optimize import optimize
from llm_optimize.text import visible
from pages import HOSTILE, TASK, fill, hostile_run, scores_of
from reports import DRAWN, WIDE, numbers, open_trial

# What can be seen.


def test_the_headline_and_the_charts(amber, store):
    best = max(
        (trial for trial in store.run("amber").trials() if trial.scored),
        key=lambda trial: trial.score,
    )
    assert amber.inner_text(".tile.best .value") == f"{best.score:.4g}"
    assert f"trial {best.number}" in amber.inner_text(".tile.best")
    assert amber.inner_text(".tile:nth-child(3) .value") == "59"
    amber.wait_for_selector(DRAWN)
    points = amber.locator("#progress .scatterlayer .points path").count()
    assert points > 60, "each trial, and the champions again"
    amber.locator("#lineage").scroll_into_view_if_needed()
    amber.wait_for_selector("#lineage .chart[data-drawn] .points path")


@pytest.mark.parametrize("axis", ["Model calls", "Dollars", "Time"])
def test_the_score_is_drawn_against_what_it_took(amber, axis):
    amber.wait_for_selector(DRAWN)
    before = amber.text_content("#progress .xtitle")
    amber.get_by_role("radio", name=axis, exact=True).check()
    amber.wait_for_function(
        "was => document.querySelector('#progress .xtitle').textContent !== was",
        arg=before,
    )
    assert amber.get_by_role("radio", name=axis, exact=True).is_checked()


def test_a_point_of_a_chart_opens_its_trial(amber):
    amber.wait_for_selector(DRAWN)
    amber.locator("#progress .chart").scroll_into_view_if_needed()
    box = (
        amber.locator("#progress .scatterlayer .trace")
        .nth(2)
        .locator(".points path")
        .last.bounding_box()
    )
    amber.mouse.move(box["x"] + 4, box["y"] + 4)
    amber.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    amber.wait_for_selector("dialog[open][data-shows]")


def test_the_story_tells_how_the_champion_came_about(amber):
    amber.locator("#story").scroll_into_view_if_needed()
    amber.wait_for_selector("#story .diff .new")
    assert amber.locator("#story > ol > li").count() >= 3


def test_failures_spend_and_settings(amber):
    failed = sum(score is None for score in scores_of(60))
    assert f"{failed} trials of 60 have no score." in amber.inner_text("#failures")
    assert amber.locator("#failures .failure").count() == 1, (
        "the same failure with other numbers is one group"
    )
    assert amber.inner_text("#failures .times") == f"{failed}×"
    assert "model:small" in amber.inner_text("#spend")
    assert "$0.0590" in amber.inner_text("#spend")
    settings = amber.inner_text("#settings")
    assert "at a time\n2 workers" in settings
    assert "ends after\nat most 60 steps" in settings
    assert "max_steps" not in settings, "what is stored is folded"
    amber.locator("#settings summary", has_text="as they are stored").click()
    assert "max_steps\n60" in amber.inner_text("#settings")


def test_dark_and_light_differ_and_a_phone_has_no_sideways_scroll(amber):
    grounds = set()
    for scheme in ("dark", "light"):
        amber.emulate_media(color_scheme=scheme)
        grounds.add(amber.evaluate("getComputedStyle(document.body).backgroundColor"))
        amber.wait_for_selector(DRAWN)
        amber.set_viewport_size({"width": 380, "height": 800})
        amber.wait_for_function("() => document.documentElement.scrollWidth <= 380")
        amber.set_viewport_size(WIDE)
        amber.wait_for_function("() => document.documentElement.clientWidth > 380")
    assert len(grounds) == 2


# The table.


def test_the_table_is_sorted_by_a_click(amber, store):
    trials = store.run("amber").trials()
    head = amber.locator(".head")
    head.get_by_role("button", name="Score").click()
    ranked = sorted(
        (t for t in trials if t.scored), key=lambda trial: (-trial.score, trial.number)
    )
    assert numbers(amber)[:5] == [trial.number for trial in ranked[:5]]
    assert amber.get_attribute(".head .c-score", "aria-sort") == "descending"
    head.get_by_role("button", name="Score").click()
    assert numbers(amber)[0] == ranked[-1].number
    head.get_by_role("button", name="Trial").click()
    assert numbers(amber)[:3] == [0, 1, 2]


def test_the_table_finds_words_in_columns_at_once_and_in_whole_texts(amber):
    search = amber.get_by_role("searchbox")
    search.fill("area is 17")
    assert numbers(amber) == [17]
    search.fill("print(area(31))")  # in x only, and not in its first line
    amber.wait_for_function(
        "() => document.querySelector('#trials [role=status]').textContent.startsWith('1 of')"
    )
    assert numbers(amber) == [31]
    search.fill("no such words")
    assert amber.inner_text(".empty") == "No trial matches."
    search.fill("")
    amber.get_by_label("Which trials").select_option("failed")
    assert len(numbers(amber)) == sum(score is None for score in scores_of(60))


def test_the_table_is_walked_and_opened_by_keys(amber):
    amber.locator(".rows .row").first.focus()
    for _ in range(40):
        amber.keyboard.press("ArrowDown")
    assert amber.evaluate("document.activeElement.dataset.trial") == "40"
    amber.keyboard.press("Enter")
    amber.wait_for_selector('dialog[open][data-shows="40"]')
    amber.keyboard.press("ArrowRight")
    amber.wait_for_selector('dialog[open][data-shows="41"]')
    amber.keyboard.press("Escape")
    assert amber.locator("dialog[open]").count() == 0
    assert not amber.url.endswith("#trial-41")


# One trial.


def test_a_trial_opens_with_its_difference_both_ways_and_all_its_texts(amber, store):
    trial = next(
        t
        for t in store.run("amber").trials()
        if t.parent and t.scored and t.number > 20
    )
    open_trial(amber, trial.number)
    gone, new = (
        amber.locator("dialog .diff .gone .code"),
        amber.locator("dialog .diff .new .code"),
    )
    assert new.all_text_contents()[-1] == f"print(area({trial.number}))"
    assert gone.all_text_contents()[-1] == f"print(area({trial.parent}))"
    assert amber.locator("dialog .diff .new mark").last.text_content() == str(
        trial.number
    )
    assert amber.locator("dialog .t-k").count(), (
        "Python has keywords, and they have a colour"
    )
    amber.locator("dialog").get_by_role("radio", name="Side by side").check()
    assert (
        amber.locator("dialog .diff.split td.code.new").last.text_content()
        == f"print(area({trial.number}))"
    )
    amber.locator("dialog summary", has_text="Prompt and reply").click()
    messages = amber.locator("dialog .message pre").all_text_contents()
    assert messages == [f"Trial: {trial.parent}", f"Better:\n```\n{trial.x}```"]
    assert (
        amber.locator("dialog section", has_text="Feedback")
        .locator("pre")
        .text_content()
        == trial.feedback
    )
    assert (
        amber.locator("dialog section", has_text="Output").locator("pre").text_content()
        == trial.output
    )


def test_each_hostile_text_shows_as_text_and_nothing_else(shown, store):
    run = hostile_run(store, HOSTILE[0])
    with shown(HOSTILE[0]) as page:
        assert page.title() == f"{HOSTILE[0]} · llm-optimize"
        assert page.inner_text("h1") == HOSTILE[0]
        page.wait_for_selector(DRAWN)
        page.locator("#lineage").scroll_into_view_if_needed()
        page.wait_for_selector("#lineage .chart[data-drawn]")
        page.locator("#story").scroll_into_view_if_needed()
        for summary in page.locator("#failures summary, #settings summary").all():
            summary.click()
        for trial in run.trials():
            open_trial(page, trial.number)
            assert read(page, trial.number) == expected(
                trial, run.calls(trial.number)[0]
            )
        assert page.evaluate("window.pwned") is None
        assert (
            page.locator("img, iframe, svg svg, dialog script, dialog a").count() == 0
        )


def read(page, number):
    """Return the texts of the open trial as the page shows them, the long ones in full."""
    page.evaluate(
        "document.querySelectorAll('dialog details').forEach(one => { one.open = true })"
    )
    page.evaluate(
        "document.querySelectorAll('dialog pre.text + button.quiet').forEach(one => one.click())"
    )
    return page.evaluate(
        """() => {
          const title = (node) => node.querySelector("h3, summary").textContent;
          const all = [...document.querySelectorAll("dialog .block")];
          const blocks = Object.fromEntries(all.map(one => [title(one), one]));
          const pre = (name) => blocks[name].querySelector("pre").textContent;
          const texts = (where, selector) =>
            [...where.querySelectorAll(selector)].map(one => one.textContent);
          const code = texts(blocks.x, "td.code").join("\\n");
          const said = texts(document, "dialog .message pre");
          const roles = texts(document, "dialog .message h4");
          const [lesson, feedback, output] = ["Lesson", "Feedback", "Output"].map(pre);
          return { lesson, feedback, output, x: code, said, role: roles[1] };
        }"""
    )


def expected(trial, call):
    (x,) = trial.x.values() if isinstance(trial.x, dict) else (trial.x,)
    lines = [line if len(line) <= 3000 else cut(line) for line in x.split("\n")]
    texts = [message["content"] for message in call.messages] + [
        call.reply.reasoning,
        call.reply.text,
    ]
    return {
        "lesson": visible(trial.lesson),
        "feedback": visible(trial.feedback),
        "output": visible(trial.output),
        "x": "\n".join(map(visible, lines)),
        "said": [visible(text) for text in texts],
        "role": visible(call.messages[1]["role"]),
    }


def cut(line):
    return f"{line[:3000]} … {len(line) - 3000:,} more characters in this line"


# Other kinds of runs.


def test_a_run_without_trials_and_one_of_nothing_but_failures(shown, store):
    store.create_run("empty", {})
    fill(store.create_run("bad", {"task": TASK}), [None, None, None], calls=False)
    with shown("empty") as page:
        assert page.inner_text(".empty") == "No trial is finished yet."
    with shown("bad") as page:
        assert page.inner_text(".tile.best .value") == "–"
        page.wait_for_selector(DRAWN)
        assert page.locator(
            "#lineage"
        ).is_hidden()  # nothing was built on another trial


def test_a_real_run(shown, folder, store):
    optimize.run(
        "Raise it.", "Higher?", float, "1", 12, "mutation", False, sandbox="inline",
        seed=1, name="real", store=str(folder / "runs.db"),
    )  # fmt: skip
    with shown("real") as page:
        page.wait_for_selector(DRAWN)
        assert page.inner_text("#trials [role=status]") == "13 trials"
        assert "mutation" in page.inner_text("#spend")
