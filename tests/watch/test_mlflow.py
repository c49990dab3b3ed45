"""Runs in a real MLflow with a SQLite store, in other processes: MLflow warns when imported."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
if importlib.util.find_spec("mlflow") is None:
    if os.environ.get("REQUIRE_MLFLOW"):
        raise RuntimeError("REQUIRE_MLFLOW is set, and MLflow is not installed")
    pytest.skip(
        'needs MLflow: pip install "llm_optimize[mlflow]"', allow_module_level=True
    )

BEGIN = """
import logging, socket, sys, threading, time
from llm_optimize import optimize
from llm_optimize.records import *
from llm_optimize.testing import ScriptedChat
from llm_optimize.watch.mlflow import Tracker
logging.basicConfig(level=logging.WARNING)

def f(x):
    return {"score": float(x.split()[0]), "loss %": 2.0, "feedback": "fine"}

def run(name, tracker, *replies, steps=None, **options):
    model = ScriptedChat(*(f"```\\n{reply}\\n```" for reply in replies))
    steps = len(replies) if steps is None else steps
    return optimize.run("Raise f.", "?", f, "1", steps, model, False, sandbox="inline",
                        name=name, seed=1, callbacks=[tracker], **options)
"""


def python(
    folder: Path, code: str, *, uri: str = "sqlite:///mlflow.db"
) -> subprocess.CompletedProcess[str]:
    """Run code in a folder, with an MLflow that knows where it is."""
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    env |= {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
        "DO_NOT_TRACK": "true",
    }
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done


TWO_RUNS = """

with Tracker("primes", parent="it's a \\"comparison\\"", params={"price": "0.25 and 2"}) as tracker:
    run("amber", tracker, "3 \\x1b[2J\\ud800", "oops", "2", workers=1, budget=Budget(calls=50))
    run("birch", tracker, "5", "5")
with Tracker("primes", artifacts="all") as tracker:
    model = ScriptedChat("```\\n7\\n```")
    optimize.resume("amber", f, max_steps=4, model=model, verbose=False, callbacks=[tracker])
    run("cedar", tracker, "0.5", "2", direction="minimize")
"""
READ = """
import json, mlflow
from mlflow.tracking import MlflowClient
client = MlflowClient()
experiment = client.get_experiment_by_name("primes").experiment_id
runs = {}
for found in client.search_runs([experiment]):
    key = found.info.run_id
    history = {}
    for name in found.data.metrics:
        history[name] = [(m.step, m.value) for m in client.get_metric_history(key, name)]
    folders = [client.list_artifacts(key, folder) for folder in ("", "champions", "others")]
    files = [file.path for folder in folders for file in folder if not file.is_dir]
    best = [name for name in files if name.startswith("champions")]
    text = mlflow.artifacts.load_text(f"runs:/{key}/{sorted(best)[1]}") if best else ""
    runs[found.info.run_name] = {"id": key, "status": found.info.status,
        "params": found.data.params, "files": files,
        "metrics": history, "tags": found.data.tags, "text": text}
print(json.dumps(runs))
"""
BELOW = """
from llm_optimize.llm import Chat
with mlflow.start_run() as active:
    with Tracker(artifacts="none") as tracker:
        optimize.run("d", "q", f, "1", 0, Chat("gpt-4o-mini", api_key="k"), False,
                     sandbox="inline", callbacks=[tracker])
parent = active.info.run_id
(found,) = mlflow.search_runs(
    output_format="list", filter_string=f"tags.mlflow.parentRunId = '{parent}'")
print(found.data.params["price.prompt_per_million"], found.info.status,
      mlflow.MlflowClient().list_artifacts(found.info.run_id),
      mlflow.get_run(parent).info.status)
"""


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """Return what a second process reads in an MLflow with two runs, and prints about a third.

    One of the two was resumed.

    Each process imports MLflow anew, and the first makes its database, which takes seconds.
    """
    folder = tmp_path_factory.mktemp("mlflow")
    python(folder, TWO_RUNS)
    return python(folder, READ + BELOW).stdout.splitlines()[-2:]


@pytest.fixture(scope="module")
def runs(read):
    """Return by name what MLflow has of the first two."""
    return json.loads(read[0])


def test_runs_are_nested_below_their_parent_and_ended(runs):
    assert set(runs) == {'it\'s a "comparison"', "amber", "birch", "cedar"}
    parent = runs['it\'s a "comparison"']
    for name in ("amber", "birch"):
        assert runs[name]["tags"]["mlflow.parentRunId"] == parent["id"]
        assert runs[name]["tags"]["llm_optimize.run"] == name
        assert runs[name]["tags"]["llm_optimize.stop_reason"] == "max_steps"
    assert {run["status"] for run in runs.values()} == {"FINISHED"}
    assert runs["birch"]["tags"]["llm_optimize.best_trial"] == "1"


def test_metrics_are_there_by_step_once_though_the_run_was_resumed(runs):
    metrics = runs["amber"]["metrics"]
    assert metrics["score"] == [[0, 1.0], [1, 3.0], [3, 2.0], [4, 7.0]]
    assert metrics["best"] == [[0, 1.0], [1, 3.0], [2, 3.0], [3, 3.0], [4, 7.0]]
    assert [step for step, _ in metrics["seconds"]] == [0, 1, 2, 3, 4]
    assert metrics["failures"][-1] == [4, 1.0]
    assert metrics["calls"][-1] == [4, 4.0]
    assert [tokens for _, tokens in metrics["tokens"]] == sorted(
        tokens for _, tokens in metrics["tokens"]
    )
    assert metrics["metric/loss _"][0] == [0, 2.0]


def test_champions_are_artifacts_and_settings_are_params(runs):
    amber = runs["amber"]
    assert {
        "champions/trial_00000.txt",
        "champions/trial_00001.txt",
        "champions/trial_00004.txt",
    } <= set(amber["files"])
    assert not any("00002" in name or "00003" in name for name in amber["files"])
    assert "settings.json" in amber["files"]
    assert amber["text"] == "3 \x1b[2J\\ud800"
    params = amber["params"]
    assert params["price"] == "0.25 and 2"
    assert params["task.description"] == "Raise f."
    assert (
        params["model"],
        params["budget.calls"],
        params["max_steps"],
        params["seed"],
    ) == (
        "scripted",
        "50",
        "3",
        "1",
    )


def test_a_run_goes_below_the_one_that_is_active_and_the_list_price_is_a_param(read):
    assert read[1] == "0.15 FINISHED [] FINISHED"


TROUBLE = """
print(run("amber", Tracker(), "3", "4").best_score)
try:
    Tracker(artifacts="champion")
except ValueError as error:
    print(error)
print("deaf", file=sys.stderr)
deaf = socket.create_server(("127.0.0.1", 0))
tracker = Tracker(tracking_uri=f"http://127.0.0.1:{deaf.getsockname()[1]}", wait_secs=0.2)
begun = time.monotonic()
print(run("birch", tracker, *map(str, range(20))).best_score, time.monotonic() - begun < 10)
"""


@pytest.fixture(scope="module")
def trouble(tmp_path_factory):
    """Return what a process says that meets an MLflow that is down, then one that never answers."""
    return python(
        tmp_path_factory.mktemp("trouble"), TROUBLE, uri="http://ada:secret@127.0.0.1:9"
    )


def test_a_run_goes_on_when_mlflow_is_down_and_says_so_once(trouble):
    assert trouble.stdout.splitlines()[0] == "4.0"
    down, _, _ = trouble.stderr.partition("deaf\n")
    assert down.count("no longer tracked: MLflow at http://***@127.0.0.1:9 failed") == 1
    assert (
        trouble.stderr.count(
            "no longer tracked: MLflow at http://***@127.0.0.1:9 failed"
        )
        == 1
    )
    assert "secret" not in trouble.stderr


def test_a_run_does_not_wait_for_an_mlflow_that_never_answers(trouble):
    assert trouble.stdout.splitlines()[1:] == [
        "unknown choice of artifacts 'champion': did you mean 'champions'?",
        "19.0 True",
    ]
    assert (
        trouble.stderr.partition("deaf\n")[2].count(
            "has not taken everything within 0.2 s"
        )
        == 1
    )


def test_a_run_that_minimizes_has_the_lowest_score_as_best(runs):
    metrics = runs["cedar"]["metrics"]
    assert metrics["score"] == [[0, 1.0], [1, 0.5], [2, 2.0]]
    assert metrics["best"] == [[0, 1.0], [1, 0.5], [2, 0.5]]
