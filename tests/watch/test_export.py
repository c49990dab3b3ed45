"""Runs for other tools: read by pandas, by JSON, and by the real optuna-dashboard."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from contextlib import closing

import pytest

from llm_optimize import cli, optimize
from llm_optimize.errors import UnknownName, UsageError
from llm_optimize.records import Evaluation, Proposal, Trial
from llm_optimize.space import Bool, Choice, Float, Int
from llm_optimize.store import Store
from llm_optimize.watch.export import as_csv, as_json_lines, export

HOSTILE = '=cmd()|\x1b[2J\u202e"\n,;\r\x00<script>\u5b57'
SPACE = {
    "lr": Float(1e-4, 1.0, log=True),
    "depth": Int(1, 8),
    "kind": Choice("a", "b", None),
    "flag": Bool(),
}
X0 = {"lr": 0.1, "depth": 3, "kind": "a", "flag": True}


def f(x):
    if x["depth"] == 3 and x["lr"] != 0.1:
        raise ValueError("=boom")
    return {"score": -abs(x["depth"] - 6) - x["lr"], "loss": 0.5, "feedback": HOSTILE}


def g(x):
    return float(len(x)), HOSTILE


@pytest.fixture
def store(tmp_path):
    """A store with a run of parameters and one of texts."""
    url = f"{tmp_path}/runs.db"
    shared = {
        "verbose": False,
        "sandbox": "inline",
        "store": url,
        "seed": 3,
        "model": "mutation",
    }
    optimize.run(
        "Deep.",
        "?",
        f,
        [X0, {**X0, "depth": 99}, {**X0, "lr": 0.2}],
        12,
        space=SPACE,
        name="params",
        **shared,
    )
    optimize.run(
        "Long.",
        "?",
        g,
        ["=1+1", HOSTILE, " @x", "-3", "plain"],
        0,
        name="texts",
        **shared,
    )
    with closing(Store(url)) as opened:
        yield opened


def test_csv_is_read_by_pandas_as_it_was_written(store):
    pandas = pytest.importorskip("pandas")
    trials = sorted(store.run("params").trials(), key=lambda trial: trial.number)
    frame = pandas.read_csv(io.StringIO(as_csv(trials)))
    assert frame["trial"].tolist() == [trial.number for trial in trials]
    assert frame["x.lr"].tolist() == [trial.x["lr"] for trial in trials]
    assert frame["x.depth"].dtype.kind == "i"
    assert frame["score"].dropna().tolist() == [
        trial.score for trial in trials if trial.scored
    ]
    assert frame["metric.loss"].dropna().unique().tolist() == [0.5]
    assert frame["status"].tolist() == [trial.status.value for trial in trials]


def test_no_text_in_csv_is_a_formula_and_none_holds_control_characters(store):
    pandas = pytest.importorskip("pandas")
    text = as_csv(store.run("texts").trials())
    assert not set(text) & set("\x1b\u202e\r\x00")
    cells = pandas.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    assert cells["x"].tolist()[0] == "'=1+1"
    assert cells["x"].tolist()[2:] == ["' @x", "'-3", "plain"]
    texts = cells[["x", "feedback", "source", "status"]].to_numpy().ravel()
    assert [
        cell for cell in texts if cell.lstrip().startswith(("=", "+", "-", "@"))
    ] == []


def test_json_lines_hold_every_field(store):
    trials = store.run("texts").trials()
    lines = as_json_lines(trials).splitlines()
    assert all(line.isascii() for line in lines)
    read = [json.loads(line) for line in lines]
    assert [trial["x"] for trial in read] == [trial.x for trial in trials]
    assert [trial["feedback"] for trial in read] == [trial.feedback for trial in trials]
    flat = {
        field.name
        for part in (Trial, Proposal, Evaluation)
        for field in dataclasses.fields(part)
    }
    assert set(read[0]) == flat - {
        "proposal",
        "evaluation",
        "problem",
        "note",  # these two are in the feedback
        "fault",  # of the session in which f was called
    }


def test_optuna_dashboard_opens_the_study(store, tmp_path):
    pytest.importorskip("optuna", reason="needs optuna")
    dashboard = pytest.importorskip("optuna_dashboard", reason="needs optuna-dashboard")
    import optuna

    file = tmp_path / "study.db"
    count = export(store.run("params"), "optuna", file)
    storage = optuna.storages.RDBStorage(f"sqlite:///{file}")
    app = dashboard.wsgi(storage)
    (summary,) = get(app, "/api/studies")["study_summaries"]
    assert (summary["study_name"], summary["directions"]) == ("params", ["maximize"])
    study = get(app, f"/api/studies/{summary['study_id']}")
    trials = sorted(store.run("params").trials(), key=lambda trial: trial.number)
    assert len(study["trials"]) == count == len(trials)
    for shown, trial in zip(study["trials"], trials, strict=True):
        assert shown["number"] == trial.number
        assert shown["state"] == ("Complete" if trial.scored else "Fail")
        assert [float(value) for value in shown.get("values", [])] == (
            [trial.score] if trial.scored else []
        )
        attributes = {pair["key"]: pair["value"] for pair in shown["user_attrs"]}
        assert attributes["source"].strip('"') == trial.source
        assert "lr" in attributes["x"]
        assert "\\x1b" in attributes["feedback"] or not trial.scored
        params = {
            pair["name"]: pair["param_external_value"] for pair in shown["params"]
        }
        assert set(params) == set(SPACE) - (
            {"depth"} if trial.x["depth"] == 99 else set()
        )
    assert {pair["name"] for pair in study["union_search_space"]} == set(SPACE)
    loaded = optuna.load_study(study_name="params", storage=storage)
    assert loaded.best_value == max(trial.score for trial in trials if trial.scored)
    assert loaded.trials[0].params == X0
    storage.engine.dispose()


def get(app, path):
    """Return what the dashboard answers, as a browser gets it."""
    said = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
    }
    environ |= {
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "QUERY_STRING": "",
    }
    body = b"".join(app(environ, lambda status, headers, *_: said.append(status)))
    assert said == ["200 OK"], body
    return json.loads(body)


def test_texts_become_a_study_too(store, tmp_path):
    optuna = pytest.importorskip("optuna")
    file = tmp_path / "study.db"
    export(store.run("texts"), "optuna", file)
    storage = optuna.storages.RDBStorage(f"sqlite:///{file}")
    study = optuna.load_study(study_name="texts", storage=storage)
    assert [trial.params for trial in study.trials] == [{}] * 5
    assert study.trials[1].user_attrs["x"].startswith("=cmd()|\\x1b[2J")
    storage.engine.dispose()


@pytest.mark.parametrize("form", ["csv", "jsonl", "optuna"])
def test_a_file_that_exists_is_left_alone(store, tmp_path, form):
    (tmp_path / "there").write_text("mine")
    with pytest.raises(UsageError, match="there exists: choose another"):
        export(store.run("texts"), form, tmp_path / "there")
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        export(store.run("texts"), form, tmp_path / "no" / "where")
    assert (tmp_path / "there").read_text() == "mine"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".export")]


def test_an_unknown_format_names_the_nearest(store, tmp_path):
    with pytest.raises(UnknownName, match="did you mean 'jsonl'"):
        export(store.run("texts"), "json", tmp_path / "a")


def command(capfd, *arguments):
    """Return the exit code, and what a command printed on its two outputs."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["export", *arguments])
    return (ended.value.code, *capfd.readouterr())


def test_the_command_writes_files_and_prints_texts(store, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    code, out, said = command(capfd, "texts", "--to", "jsonl")
    assert (code, len(out.splitlines()), said) == (0, 5, "")
    assert command(capfd, "texts", "--to", "csv", "-o", "a.csv") == (
        0,
        "",
        "5 trials of texts in a.csv\n",
    )
    assert (tmp_path / "a.csv").read_text().startswith("trial,status,score,source,")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("texts", "--to", "optuna"), "name its file with -o FILE"),
        (("texts", "--to", "xml"), "unknown format 'xml'"),
        (("text", "--to", "csv"), "did you mean 'texts'?"),
        (("texts", "--to", "csv", "-o", "runs.db"), "runs.db exists"),
    ],
)
def test_a_wrong_word_is_one_sentence(
    store, tmp_path, monkeypatch, capfd, wrong, words
):
    monkeypatch.chdir(tmp_path)
    code, out, said = command(capfd, *wrong)
    assert (code, out, len(said.splitlines())) == (2, "", 1)
    assert words in said
