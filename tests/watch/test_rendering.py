"""Results as rows, charts and HTML: right, and harmless whatever a trial holds."""

from __future__ import annotations

import math
import sys
from html.parser import HTMLParser

import pytest

from llm_optimize.errors import MissingExtra
from llm_optimize.records import Result, Status, Trial, Usage
from llm_optimize.text import visible
from llm_optimize.watch.rendering import champions, rows_of

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)>&lt; &amp \"' "
    "</pre></details>\x1b[31m\u202e\x00\ud800"
)
TRIALS = [
    Trial.of(
        0,
        "x = 1",
        Status.COMPLETE,
        "x0",
        score=0.5,
        feedback="fine",
        metrics={"loss": 2.0},
        finished_at=1.5e9,
    ),
    Trial.of(
        1,
        None,
        Status.INVALID,
        "model:m",
        feedback="no block",
        usage=Usage(1, 10, 5, cost_usd=0.25),
    ),
    Trial.of(2, "x = 3", Status.COMPLETE, "model:m", score=0.75, parent=0, seconds=1.5),
    Trial.of(
        3,
        "x = 4",
        Status.FAILED,
        "model:m",
        feedback="Traceback\nValueError: boom",
        parent=2,
    ),
    Trial.of(4, "x = 5", Status.COMPLETE, "model:m", score=0.6, parent=2),
]
HARMLESS = {
    "div",
    "b",
    "span",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "details",
    "summary",
    "pre",
    "svg",
    "g",
    "circle",
    "polyline",
}
RESULT = Result("amber", TRIALS, Usage(), "max_steps")


class Tags(HTMLParser):
    """The tags, attributes and text of a page; open tags are closed in their order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words = ""
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def test_a_data_frame_has_a_row_for_each_trial():
    frame = RESULT.to_pandas()
    assert frame.index.name == "trial"
    assert list(frame["score"].dropna()) == [0.5, 0.75, 0.6]
    assert frame["status"].tolist() == [
        "complete",
        "invalid",
        "complete",
        "failed",
        "complete",
    ]
    assert frame["metric.loss"].dropna().tolist() == [2.0]
    assert frame.loc[1, "cost_usd"] == 0.25
    assert frame.loc[2, "x"] == "x = 3"
    assert frame.loc[0, "finished_at"].year == 2017
    assert str(frame["finished_at"].dtype).endswith("UTC]")
    assert frame["finished_at"].isna().sum() == 4


def test_parameters_are_columns_and_no_trials_are_no_rows():
    trials = [
        Trial.of(0, {"lr": 0.1, "kind": "a"}, Status.COMPLETE, "x0", score=1.0),
        Trial.of(1, {"lr": 0.2, "depth": 3}, Status.COMPLETE, "x0", score=2.0),
    ]
    frame = Result("a", trials, Usage(), "s").to_pandas()
    assert frame[["x.lr", "score"]].corr().iloc[0, 1] == pytest.approx(1.0)
    assert list(frame.columns)[-3:] == ["x.lr", "x.kind", "x.depth"]
    assert len(Result("a", [], Usage(), "s").to_pandas()) == 0
    assert (
        next(list(row) for row in rows_of(trials))
        == [list(row) for row in rows_of(trials)][1]
    )


@pytest.fixture
def axes():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot

    yield lambda result: result.plot()
    pyplot.close("all")


def test_a_chart_shows_scores_the_best_champions_and_failures(axes):
    drawn = axes(RESULT)
    lines = {line.get_label(): line for line in drawn.get_lines()}
    assert list(lines) == ["score", "best so far", "champions", "no score"]
    assert [tuple(map(float, point)) for point in lines["score"].get_xydata()] == [
        (0, 0.5),
        (2, 0.75),
        (4, 0.6),
    ]
    assert lines["best so far"].get_ydata().tolist() == [0.5, 0.75, 0.75]
    assert lines["champions"].get_xdata().tolist() == [0, 2]
    assert list(lines["no score"].get_xdata()) == [1, 3]
    assert (drawn.get_xlabel(), drawn.get_ylabel(), drawn.get_title("left")) == (
        "trial",
        "score",
        "amber",
    )


@pytest.mark.parametrize("trials", [[], TRIALS[1:2], TRIALS[:1]])
def test_a_chart_of_little_is_a_chart(axes, trials, tmp_path):
    axes(Result("a $x_{", trials, Usage(), "s")).figure.savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_chart_is_drawn_where_it_is_wanted(axes):
    from matplotlib import pyplot

    _, both = pyplot.subplots(1, 2)
    assert RESULT.plot(both[1]) is both[1]
    assert not both[0].get_lines()


@pytest.mark.parametrize(
    ("module", "call"), [("pandas", "to_pandas"), ("matplotlib", "plot")]
)
def test_a_missing_extra_is_one_sentence_with_the_install_line(
    monkeypatch, module, call
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf"{call} needs \w+: .*pip install \w+$"):
        getattr(RESULT, call)()


def test_a_notebook_shows_the_best_the_last_and_the_best_x():
    page = Tags(RESULT._repr_html_())
    assert page.open == []
    assert "best 0.75 in trial 2 by model:m; 5 trials, max_steps" in page.words
    for words in ("★ 2", "x = 3", "ValueError: boom", "no block"):
        assert words in page.words
    assert {"svg", "polyline", "table"} <= page.tags


@pytest.mark.parametrize("x", [HOSTILE, {HOSTILE: HOSTILE}])
def test_hostile_text_is_text_in_a_notebook(x):
    hostile = Trial.of(0, x, Status.COMPLETE, HOSTILE, score=1.0, feedback=HOSTILE)
    failed = Trial.of(1, x, Status.FAILED, HOSTILE, feedback=f"{HOSTILE}\n{HOSTILE}")
    result = Result(HOSTILE, [hostile, failed], Usage(), HOSTILE)
    for shown in (result._repr_html_(), hostile._repr_html_(), failed._repr_html_()):
        page = Tags(shown)
        assert page.open == []
        assert page.tags <= HARMLESS
        assert not {
            name
            for name in page.attributes
            if name.startswith("on") or name in ("src", "href")
        }
        assert "<script>alert(1)</script>" in page.words
        assert not set(shown) & set("\x1b\u202e\x00\ud800")


def test_what_html_shows_of_control_characters_is_what_a_terminal_shows():
    page = Tags(Trial.of(0, HOSTILE, Status.COMPLETE, "x0", score=1.0)._repr_html_())
    assert visible(HOSTILE) in page.words


def test_a_page_is_small_whatever_the_run():
    x, said = "x" * 1_000_000, "f\n" * 1_000_000
    many = [
        Trial.of(n, x, Status.COMPLETE, "m", score=math.sin(n), feedback=said)
        for n in range(5000)
    ]
    page = Result("a", many, Usage(), "s")._repr_html_()
    assert len(page) < 100_000
    assert "4980 more trials" in page
    assert f"★ {champions(many)[-1].number}" in page


def test_scores_at_the_ends_of_the_floats_are_drawn():
    ends = [
        Trial.of(n, "x", Status.COMPLETE, "m", score=score)
        for n, score in enumerate([-1.7e308, 0.0, 1.7e308, 5e-324])
    ]
    page = Result("a", ends, Usage(), "s")._repr_html_()
    assert "nan" not in page
    assert "inf" not in page
