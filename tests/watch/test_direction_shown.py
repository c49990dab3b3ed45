"""A run that minimizes f, wherever runs are shown: with the scores of f, the lowest as best."""

import asyncio
import io
import json
import re
from contextlib import closing

import pytest
from typer.testing import CliRunner

from llm_optimize import optimize
from llm_optimize.cli import app
from llm_optimize.errors import UsageError
from llm_optimize.mcp.tools import Tools
from llm_optimize.space import Float
from llm_optimize.store import Store
from llm_optimize.watch import export, report
from llm_optimize.watch._console_view import View
from llm_optimize.watch.console import Console
from llm_optimize.watch.notebook import page
from llm_optimize.watch.rendering import champions
from llm_optimize.watch.report.comparison import comparison
from llm_optimize.watch.report.detail import story
from llm_optimize.watch.report.facts import columns
from llm_optimize.watch.report.parameters import parameters
from llm_optimize.watch.run_view import RunView
from pages import Seen, browsing

SCORES = [5.0, 4.0, None, 2.0, 3.0]  # the best is trial 3
WRONG_SIGN = re.compile(r"[-−](5|4|3)(\.0)?\b")  # changes are -1, -2 and +1


def g(x):
    value = float(x)
    if value < 0:
        raise ValueError("below zero")
    return value, f"g is {value}"


def of_space(x):
    return (x["a"] - 1) ** 2


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the store, the result, the lines of the console and the events of a run."""
    url = str(tmp_path_factory.mktemp("runs") / "runs.db")
    replies, events, lines = ["4", "-1", "2", "3"], [], io.StringIO()
    common = {"direction": "minimize", "store": url, "verbose": False}
    result = optimize.run(
        "Lower g.",
        "A better x?",
        g,
        "5",
        4,
        lambda messages: f"```\n{replies.pop(0)}\n```",
        name="low",
        sandbox="inline",
        callbacks=[Console(lines), events.append],
        **common,
    )
    optimize.run(
        *("d", "q", of_space, {"a": 3.0}, 12, "mutation"),
        name="space",
        space={"a": Float(-5, 5)},
        sandbox="inline",
        **common,
    )
    return url, result, lines.getvalue(), events


@pytest.fixture
def store(made):
    with closing(Store(made[0])) as opened:
        yield opened


def test_the_lines_of_a_run_have_the_scores_of_f(made):
    lines = made[2].splitlines()
    assert [line.split()[1:4] for line in lines[1:6]] == [
        ["best", "5", "x0"],
        ["best", "4", "-1"],
        ["failed", "model:<lambda>", lines[3].split()[3]],
        ["best", "2", "-2"],
        ["3", "+1", "model:<lambda>"],
    ]
    assert "max_steps: best 2 in trial 3" in made[2]


def test_the_live_view_marks_what_is_lower_as_better(made):
    from rich.console import Console as RichConsole

    view = RunView()
    for event in made[3]:
        view.update(event)
    console = RichConsole(
        file=io.StringIO(), record=True, width=110, force_terminal=True
    )
    console.print(View(view).draw(110, 30))
    text = console.export_text(styles=True)
    assert "★ 3" in text
    assert re.search(r"\x1b\[[\d;]*32m *-2", text), "green"
    assert re.search(r"\x1b\[2m *\+1", text), "dim"
    assert not WRONG_SIGN.search(console.export_text())


def test_html_of_results_and_notebooks_shows_the_lowest_as_best(made):
    _, result, _, events = made
    view = RunView()
    for event in events:
        view.update(event)
    for html in (result._repr_html_(), page(view)):
        words = re.sub(r"<[^>]*>", "", html)
        assert "best 2 in trial 3" in words
    assert [one.number for one in champions(result.trials, result.direction)] == [
        0,
        1,
        3,
    ]


def test_a_plot_falls_to_the_lowest_score(made):
    pytest.importorskip("matplotlib")
    axes = made[1].plot()
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
    assert lines["best so far"] == [5.0, 4.0, 2.0, 2.0]
    assert lines["score"] == [5.0, 4.0, 2.0, 3.0]


def test_a_data_frame_has_the_scores_of_f(made):
    pytest.importorskip("pandas")
    assert list(made[1].to_pandas()["score"].dropna()) == [5.0, 4.0, 2.0, 3.0]


def test_exports_have_the_scores_of_f_and_optuna_the_direction(store, tmp_path):
    run = store.run("low")
    export.export(run, "jsonl", tmp_path / "low.jsonl")
    lines = (tmp_path / "low.jsonl").read_text().splitlines()
    assert [json.loads(line)["score"] for line in lines] == SCORES
    optuna = pytest.importorskip("optuna")
    export.export(run, "optuna", tmp_path / "low.db")
    study = optuna.load_study(
        study_name="low", storage=f"sqlite:///{tmp_path / 'low.db'}"
    )
    assert study.direction.name == "MINIMIZE"
    assert study.best_value == 2.0


def test_the_facts_of_a_report_follow_the_direction(store):
    run = store.run("low")
    facts = columns(run.trials())
    assert facts["score"] == SCORES
    steps = story(facts, run.trial, run.direction)["steps"]
    assert steps[-1]["number"] == 3
    curve = comparison(store, ["low"])["runs"][0]["curve"]
    assert curve["best"] == [5.0, 4.0, 2.0, 2.0]
    space = store.run("space")
    shown = parameters(space.settings["space"], space.trials(), space.direction)
    assert shown["scores"] == sorted(shown["scores"])


def test_a_report_in_the_browser_stars_the_lowest(store, tmp_path):
    path = report.write(store, "low", tmp_path / "low.html")
    with browsing() as browser:
        tab, seen = browser.new_page(), Seen()
        seen.watch(tab)
        tab.goto(path.as_uri())
        tab.wait_for_selector(".run")
        assert tab.inner_text(".tile.best .value") == "2"
        assert "trial 3" in tab.inner_text(".tile.best")
        assert tab.get_attribute(".row.top", "data-trial") == "3"
        assert tab.locator(".row.champion").count() == 3
        assert "up" in tab.locator('.row[data-trial="1"] .c-change').get_attribute(
            "class"
        )
        tab.locator(".head .c-score button").click()
        assert tab.get_attribute(".head .c-score", "aria-sort") == "ascending"
    assert seen.trouble == []


def test_the_command_line_lists_and_prints_the_lowest(made):
    run = CliRunner().invoke
    listed = run(app, ["list", "--store", made[0]]).output
    [line] = [line for line in listed.splitlines() if line.startswith("low")]
    assert line.partition(")")[2].split()[:4] == ["2", "4", "of", "4"]
    shown = run(app, ["show", "low", "--store", made[0]]).output
    [star] = [line for line in shown.splitlines() if " * " in line]
    assert star.split()[:3] == ["3", "*", "2"]
    assert run(app, ["best", "low", "--store", made[0]]).output == "2\n"


def test_agents_read_the_direction_and_the_scores_of_f(made):
    tools = Tools(made[0], None, 1)
    seen = asyncio.run(tools.follow_run("low"))
    assert (seen["direction"], seen["best"]["score"]) == ("minimize", 2.0)
    assert [one["score"] for one in seen["trials"]] == SCORES
    assert asyncio.run(tools.best_of_run("low"))["number"] == 3
    listed = asyncio.run(tools.list_runs())["runs"]
    [low] = [one for one in listed if one["name"] == "low"]
    assert (low["best_score"], low["direction"]) == (2.0, "minimize")


# Comparisons.


def compared(url, **options):
    words = {
        "contenders": {"worse": "best_of_n", "better": "best"},
        "budget": 6,
        "seeds": 4,
        "store": url,
        "name": "c",
        "model": "mutation",
        "sandbox": "inline",
        "direction": "minimize",
        **options,
    }
    return optimize.compare(
        "Shorten x.", "q", lambda x: float(len(x)), "abcdef", **words
    )


def test_a_comparison_ranks_the_lowest_first(tmp_path):
    url = str(tmp_path / "runs.db")
    found = compared(url)
    medians = [one.at[6].median for one in found.standings]
    assert medians == sorted(medians)
    assert all(value > 0 for value in medians)
    assert str(found).startswith("lower is better")
    for standing in found.standings:
        for outcome in standing.outcomes:
            assert list(outcome.curve) == sorted(outcome.curve, reverse=True)
    assert compared(url) == found, "the same call goes on with it"
    with pytest.raises(UsageError, match="has the direction 'minimize'"):
        compared(url, direction="maximize")


def test_contenders_have_one_direction(tmp_path):
    contenders = {"a": "best", "b": {"search": "chat", "direction": "maximize"}}
    with pytest.raises(UsageError, match="two directions"):
        compared(str(tmp_path / "runs.db"), contenders=contenders)
