"""The page's list of runs over HTTP: what it knows of them, and how it changes them."""

import json
import re
import threading
from contextlib import closing

import httpx
import pytest

from llm_optimize.store import Store
from llm_optimize.watch.comparison import of_runs
from llm_optimize.watch.page import Page
from pages import TASK, fill

TOKEN = "x-llm-optimize-token"


@pytest.fixture
def store(tmp_path):
    with closing(Store(tmp_path / "runs.db")) as opened:
        yield opened


@pytest.fixture
def served(store):
    page = Page(store, port=0)
    thread = threading.Thread(target=page.run)
    thread.start()
    with httpx.Client(base_url=page.address, timeout=30) as client:
        yield page, client
    page.stop()
    thread.join(10)


def manage(client, page, run, kind, text=""):
    headers = {
        TOKEN: page.url.partition("token=")[2],
        "content-type": "application/json",
    }
    body = json.dumps({"kind": kind, "text": text})
    return client.post(f"/api/manage?run={run}", content=body, headers=headers)


def test_the_list_knows_state_progress_and_the_time_left(store, served):
    _, client = served
    settings = {"task": TASK, "x0": ["a"], "max_steps": 20}
    running = store.create_run("amber", settings)
    running.end(None)
    fill(running, [0.5, 0.75])
    done = store.create_run("digits/best/0", {**settings, "direction": "minimize"})
    fill(done, [0.5, 0.75])
    done.end("stopped by you")
    one, two = client.get("/api/runs").json()["runs"]
    assert (one["state"], one["progress"], one["share"]) == (
        "running",
        "1 of 20 steps",
        0.05,
    )
    assert re.fullmatch(r"about \d+ \w+ left", one["left"])
    assert (two["state_words"], two["left"]) == ("finished (stopped by you)", "")
    assert (two["comparison"], two["contender"], two["best"]) == (
        "digits",
        "best/0",
        0.5,
    )


def test_a_comparison_says_what_the_command_line_says(store, served):
    _, client = served
    for contender, level in (("best", 1.0), ("tree", 0.0)):
        for seed in range(4):
            budget = {"scorings": 2}
            name = f"digits/{contender}/{seed}"
            run = store.create_run(name, {"task": TASK, "budget": budget, "seed": seed})
            fill(run, [level + seed / 10, level])
            run.end("budget: scorings")
    found = of_runs(store, store.names())
    assert "best is ahead of tree" in found.sentence
    told = client.get("/api/verdict?run=digits").json()
    assert told == {"sentence": found.sentence}
    assert client.get("/api/verdict?run=nobody").json() == {"sentence": ""}


def test_runs_are_tagged_renamed_and_deleted(store, served):
    page, client = served
    for name in ("amber", "digits/best/0", "digits/tree/0"):
        run = store.create_run(name, {"task": TASK})
        fill(run, [0.5])
        run.end("max_steps")
        run.close()
    assert client.get("/api/facts?run=amber").status_code == 200
    assert manage(client, page, "amber", "tag", "good paper").status_code == 200
    assert manage(client, page, "amber", "untag", "paper").status_code == 200
    assert client.get("/api/runs").json()["runs"][0]["tags"] == ["good"]
    assert manage(client, page, "amber", "rename", "birch").status_code == 200
    assert client.get("/api/facts?run=amber").status_code == 404
    assert client.get("/api/facts?run=birch").json()["run"]["name"] == "birch"
    assert manage(client, page, "digits", "delete").status_code == 200
    assert store.names() == ["birch"]
    assert (
        "unknown kind of change" in manage(client, page, "birch", "x").json()["error"]
    )
    assert client.post("/api/manage?run=birch", content="{}").status_code == 403


def test_a_run_that_goes_on_is_kept(store, served):
    page, client = served
    store.create_run("amber", {"task": TASK})
    answer = manage(client, page, "amber", "delete")
    assert answer.status_code == 503
    assert "is held by process" in answer.json()["error"]
    assert store.names() == ["amber"]
