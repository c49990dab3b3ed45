"""The report as a file: what it holds, how large it is, and what it refuses."""

import base64
import gzip
import json
import re
import sys
from contextlib import closing
from html.parser import HTMLParser
from random import Random

import pytest

from llm_optimize import space
from llm_optimize.cli import main
from llm_optimize.errors import MissingExtra, RunNotFound, UsageError
from llm_optimize.records import Plan, Reply, Status, Trial, Usage
from llm_optimize.store import Store
from llm_optimize.testing import changed
from llm_optimize.watch import report
from llm_optimize.watch.report import bundle
from llm_optimize.watch.report.colors import Colors
from llm_optimize.watch.report.comparison import comparison, curve
from llm_optimize.watch.report.detail import ancestors, story
from llm_optimize.watch.report.diffs import changes, parts, steps
from llm_optimize.watch.report.facts import columns, feedback_line, to_json
from llm_optimize.watch.report.parameters import binned, explained, parameters, ranked
from pages import CODE, HOSTILE, TASK, fill, hostile_run, scores_of


@pytest.fixture
def store(tmp_path):
    with closing(Store(str(tmp_path / "runs.db"))) as opened:
        yield opened


class Page(HTMLParser):
    """The elements of a page, by its own rules of parsing."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.blocks, self.inside = [], {}, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = dict(attrs).get("id") if tag == "script" else None

    def handle_data(self, data):
        if self.inside:
            self.blocks[self.inside] = self.blocks.get(self.inside, "") + data

    def handle_endtag(self, tag):
        self.inside = None

    def block(self, name):
        return json.loads(gzip.decompress(base64.b64decode(self.blocks[name])))

    def named(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def page_of(store, name, tmp_path):
    return Page(
        report.write(store, name, tmp_path / "report.html").read_text(encoding="utf-8")
    )


# The file.


def test_the_file_holds_all_of_a_run(store, tmp_path):
    run = store.create_run("amber", {"task": TASK, "max_steps": 8})
    fill(run, [0.1, 0.5, None, 0.3, 0.7])
    run.end("max_steps")
    page = page_of(store, "amber", tmp_path)
    facts, texts = page.block("facts"), page.block("texts-0")
    assert facts["columns"]["score"] == [0.1, 0.5, None, 0.3, 0.7]
    assert facts["columns"]["feedback"][2] == "ValueError: bad 2"
    assert facts["run"]["settings"]["max_steps"] == 8
    assert facts["run"]["versions"]["llm_optimize"]
    assert facts["state"]["stop_reason"] == "max_steps"
    assert [step["number"] for step in facts["story"]["steps"]] == [0, 1, 4]
    four = texts["4"]
    assert four["parts"][0]["text"] == CODE.replace("{number}", "4")
    assert four["calls"][0]["messages"] == [{"role": "user", "content": "Trial: 1"}]
    assert four["calls"][0]["reply"]["text"].startswith("Better:")
    assert (four["feedback"], four["output"], four["metrics"]) == (
        "the area is 4",
        "printed 4\n",
        {"radius": 4.0},
    )


def test_a_run_in_progress_and_one_without_trials_are_reported(store, tmp_path):
    run = store.create_run("amber", {"task": TASK})
    assert page_of(store, "amber", tmp_path).block("facts")["columns"]["number"] == []
    fill(run, [0.5])
    run.plan(1, Plan(run.trials()[0]))
    state = page_of(store, "amber", tmp_path).block("facts")["state"]
    assert state["begun"] == [{"number": 1, "parent": 0, "source": ""}]
    assert state["stop_reason"] is None


def test_a_trial_that_was_scored_again_is_shown_as_it_is_known_last(store, tmp_path):
    run = store.create_run("amber", {"task": TASK})
    (trial,) = fill(run, [0.5])
    run.score_again(changed(trial, score=0.4, standard_error=0.1, scorings=3), 1)
    facts = page_of(store, "amber", tmp_path).block("facts")
    assert [facts["columns"][name] for name in ("score", "error", "scorings")] == [
        [0.4],
        [0.1],
        [3],
    ]


def test_nothing_in_the_file_comes_from_elsewhere_and_its_policy_admits_its_own_scripts_only(
    store, tmp_path
):
    hostile_run(store, "amber")
    text = report.write(store, "amber", tmp_path / "report.html").read_text(
        encoding="utf-8"
    )
    page = Page(text)
    known = {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "p",
        "noscript",
        "script",
    }
    assert {tag for tag, _ in page.tags} == known
    assert not any({"src", "href"} & attrs.keys() for _, attrs in page.tags)
    policy = next(
        attrs["content"] for attrs in page.named("meta") if attrs.get("http-equiv")
    )
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    script = re.search(r"<script>(.*?)</script>", text, re.S)[1]
    assert bundle.hash_of(script) in policy
    assert bundle.hash_of(re.search(r"<style>(.*?)</style>", text, re.S)[1]) in policy
    assert (
        bundle.hash_of(
            gzip.decompress(base64.b64decode(page.blocks["plotly"])).decode()
        )
        in policy
    )


def test_texts_that_do_not_compress_are_clipped_to_stay_under_8_mb(store, tmp_path):
    rng = Random(1)
    run = store.create_run("amber", {"task": TASK})
    for number in range(40):
        text = rng.randbytes(60_000).hex()
        run.plan(number, Plan(None))
        call = run.sent(number, 0, "m", [{"role": "user", "content": text}])
        run.received(call, Reply(text[::-1], Usage(1), "m"))
        run.finish(
            Trial.of(number, text, Status.COMPLETE, "model:m", 1.0, feedback="kept"),
            number + 1,
        )
    path = report.write(store, "amber", tmp_path / "report.html")
    assert path.stat().st_size < 8_000_000
    page = Page(path.read_text(encoding="utf-8"))
    assert page.block("facts")["run"]["clipped_chars"] == 20_000
    one = page.block("texts-0")["39"]
    assert len(one["parts"][0]["text"]) <= 20_000
    assert " characters ...]" in one["calls"][0]["reply"]["text"]
    assert one["feedback"] == "kept"


def test_a_report_that_cannot_be_written_leaves_nothing_behind(store, tmp_path):
    store.create_run("amber", {"task": TASK})
    with pytest.raises(UsageError, match=r"missing/r\.html cannot be written"):
        report.write(store, "amber", tmp_path / "missing" / "r.html")
    (tmp_path / "taken").mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        report.write(store, "amber", tmp_path / "taken")
    assert sorted(
        path.name for path in tmp_path.iterdir() if "db" not in path.name
    ) == ["taken"]


def test_an_unknown_name_is_answered_with_the_nearest(store, tmp_path):
    store.create_run("amber", {"task": TASK})
    with pytest.raises(RunNotFound, match="did you mean 'amber'"):
        report.write(store, "ambre", tmp_path / "r.html")


def test_a_missing_extra_is_one_sentence(store, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(
        MissingExtra,
        match=r"^a report needs plotly: .*pip install plotly$",
    ):
        report.write(store, "amber", tmp_path / "r.html")


def test_the_command_line_writes_a_report(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with closing(Store("runs.db")) as store:
        fill(store.create_run("amber", {"task": TASK}), [0.5, 0.6])
    with pytest.raises(SystemExit) as left:
        main(["report", "amber"])
    assert left.value.code == 0
    assert re.match(r"report\.html \(\d\.\d MB\)", capsys.readouterr().out)
    with pytest.raises(SystemExit) as left:
        main(["report", "amber", "-o", "x.html", "--store", "absent.db"])
    assert left.value.code == 2
    assert "there is no store" in capsys.readouterr().err


# Comparisons.


def test_runs_of_a_comparison_are_one_report(store, tmp_path):
    for contender in ("model", "mutation"):
        for seed in (1, 2, 3):
            fill(
                store.create_run(f"digits/{contender}/{seed}", {"task": TASK}),
                scores_of(10, seed),
            )
    facts = page_of(store, "digits", tmp_path).block("facts")
    assert [(run["contender"], run["seed"]) for run in facts["runs"]][:4] == [
        ("model", "1"),
        ("model", "2"),
        ("model", "3"),
        ("mutation", "1"),
    ]
    assert all(
        run["curve"]["best"] == sorted(run["curve"]["best"]) for run in facts["runs"]
    )


def test_a_curve_has_a_point_where_the_best_rose_and_at_the_end():
    trials = [
        Trial.of(0, "a", Status.FAILED, "x0", finished_at=101.0),
        Trial.of(
            1,
            "b",
            Status.COMPLETE,
            "m",
            0.0,
            usage=Usage(2, cost_usd=0.5),
            finished_at=103.0,
        ),
        Trial.of(
            2,
            "c",
            Status.COMPLETE,
            "m",
            0.0,
            usage=Usage(1, cost_usd=0.25),
            finished_at=104.0,
        ),
        Trial.of(3, "d", Status.COMPLETE, "m", 2.0, usage=Usage(1), finished_at=106.0),
        Trial.of(4, "e", Status.COMPLETE, "m", 1.0, finished_at=105.0),
    ]
    assert curve(trials, 100.0) == {
        "trial": [2, 4, 5],
        "scorings": [2, 4, 5],
        "calls": [2, 4, 4],
        "cost": [0.5, None, None],
        "seconds": [3.0, 6.0, 6.0],
        "best": [0.0, 2.0, 2.0],
    }
    assert curve([], 0.0)["best"] == []


def test_a_comparison_of_an_unknown_run_is_an_error(store):
    with pytest.raises(RunNotFound):
        comparison(store, ["nobody"])


# Differences and colors.


def rebuilt(old, new):
    """Return the new text, put together from the steps and both texts."""
    a, b = old.split("\n"), new.split("\n")
    lines, at = [], (0, 0)
    for sign, i, j, k, m in steps(old, new):
        assert (i, k) == at, "steps follow each other"
        at = (j, m)
        assert {"=": a[i:j] == b[k:m], "-": k == m, "+": i == j, "~": i < j and k < m}[
            sign
        ]
        lines += a[i:j] if sign == "=" else b[k:m]
    assert at == (len(a), len(b))
    return "\n".join(lines)


def test_steps_lead_from_any_text_to_any_other():
    rng = Random(2)
    texts = [
        "",
        "\n",
        "a",
        *("\n".join(rng.choices("abc", k=rng.randrange(12))) for _ in range(60)),
        *HOSTILE[:-1],
    ]
    for _ in range(400):
        old, new = rng.choice(texts), rng.choice(texts)
        assert rebuilt(old, new) == new


def test_texts_too_long_to_compare_are_taken_as_a_whole():
    old, new = ("\n".join(f"{side}{number}" for number in range(3000)) for side in "ab")
    assert steps(f"same\n{old}", f"same\n{new}") == [
        ("=", 0, 1, 0, 1),
        ("~", 1, 3001, 1, 3001),
    ]


def test_parts_of_an_x_that_come_and_go_are_in_the_change():
    change = changes({"a.py": "1\n", "b.py": "2\n"}, {"b.py": "3\n", "c.py": "4\n"})
    assert list(change) == ["b.py", "c.py", "a.py"]
    assert change["a.py"] == [("-", 0, 1, 0, 0), ("=", 1, 2, 0, 1)]
    assert parts({"lr": 0.5}) == {"": '{\n "lr": 0.5\n}'}
    assert parts(None) == {}


def test_runs_of_colour_cover_each_line_whatever_is_in_it():
    for name, text in [
        ("", CODE),
        ("a.c", "/* x\ny */ int 𝕏 = 1;\n"),
        ("", '{"a": [1, "𝕏"]}'),
        ("m.py", HOSTILE[11]),
    ]:
        runs = Colors().of(name, text).split("\n")
        for line, coloured in zip(text.split("\n"), runs, strict=False):
            units = sum(int(size) for size in re.findall(r"\d+", coloured))
            assert units in (0, len(line.encode("utf-16-le", "surrogatepass")) // 2)
        assert re.search("[a-z]", "".join(runs))


def test_a_text_of_no_language_has_no_colors():
    assert [Colors().of("", text) for text in ("raise the number", "", "[5, 3")] == [
        "",
        "",
        "",
    ]
    assert Colors().of("x.nosuchlanguage", "import a") == ""


def test_lines_beyond_what_is_read_whole_are_read_one_by_one():
    text = '"""\nimport this\n"""\n'
    assert Colors().of("", text + "import a").split("\n")[1] == "s11"
    assert (
        Colors(whole_chars=0).of("", text + "import a").split("\n")[1].startswith("k6")
    )


# What follows from trials.


def test_failures_stand_in_a_line_without_their_status():
    trial = Trial.of(
        0, "x", Status.TIMEOUT, "x0", feedback="one\nkilled at its deadline"
    )
    assert feedback_line(trial) == "killed at its deadline"
    assert (
        len(
            feedback_line(
                Trial.of(0, "x", Status.COMPLETE, "x0", 1.0, feedback=HOSTILE[-1])
            )
        )
        == 160
    )


def test_half_a_surrogate_pair_goes_through_json():
    assert json.loads(to_json({"a": "\ud800", "b": {1, 2}}))["a"] == "\ud800"


def test_a_story_keeps_the_steps_that_gained_most():
    trials = [
        Trial.of(
            n, f"{n}", Status.COMPLETE, "m", float(n * n), parent=n - 1 if n else None
        )
        for n in range(100)
    ]
    told = story(columns(trials), trials.__getitem__)
    assert [step["number"] for step in told["steps"]] == [0, *range(61, 100)]
    assert told["left_out"] == 60
    assert [step["on"] for step in told["steps"]][:3] == [None, 0, 61]
    assert story(columns([]), trials.__getitem__) == {
        "steps": [],
        "left_out": 0,
        "best": None,
    }


def test_parents_in_a_circle_or_missing_end_the_line():
    assert ancestors({0: 1, 1: 0}, 0) == [1, 0]
    assert ancestors({3: 2}, 3) == [3]


def test_the_parameter_that_makes_the_score_is_the_most_important_and_chance_tells_nothing():
    rng = Random(3)
    known = space.Space(
        {
            "peak": space.Float(0.0001, 1, log=True),
            "kind": space.Choice("a", "b"),
            "noise": space.Int(0, 99),
        }
    )
    trials = []
    for number in range(300):
        x = known.sample(rng)
        score = -(abs(x["peak"] - 0.01) ** 0.25) + (x["kind"] == "a") * 0.2
        trials.append(Trial.of(number, x, Status.COMPLETE, "m", score))
    told = parameters(known.to_json(), trials)
    importance = {row["name"]: row["importance"] for row in told["rows"]}
    assert importance["peak"] > importance["kind"] > 0.05 > importance["noise"]
    assert told["rows"][0]["kind"] == "float"
    assert told["rows"][0]["log"]
    assert told["values"]["kind"][0] in ("a", "b")
    assert parameters(None, trials) is None
    assert parameters(known.to_json(), trials[:5])["rows"][0]["importance"] is None


def test_ranks_bins_and_shares_hold_at_their_edges():
    assert ranked([]) == []
    assert set(binned([1.0] * 20)) == {0}
    assert explained(["a"] * 9, [1.0] * 9) == 0.0
    assert explained(list("abc"), [1, 2, 3]) == 0.0
    by_bin = [binned(list(range(100))).count(place) for place in range(7)]
    assert max(by_bin) - min(by_bin) <= 1


# Our scripts.


@pytest.mark.parametrize(
    "entry", ["report/static/report", "report/static/comparison", "page/static/page"]
)
def test_a_script_holds_all_its_modules_and_makes_no_markup(entry):
    script = bundle.script(entry)
    assert "import {" not in script
    assert not re.search(r"^export ", script, re.M)
    assert "</script" not in script.lower()
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "DOMParser",
    ):
        assert way not in script
