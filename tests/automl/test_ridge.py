"""The ridge experiment: golden values, a simulation, the words of its options, its models."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random
from statistics import fmean

import pytest

pytest.importorskip("numpy", reason="the ridge experiment needs the automl extra")

import numpy as np

from llm_optimize import cli
from llm_optimize.automl.advisor.synthetic import (
    closed_form,
    command,
    experiment,
    plain,
)
from llm_optimize.automl.advisor.synthetic.grid import LAMBDAS, k_grid, nearest
from llm_optimize.automl.advisor.synthetic.predictors import (
    best_constant,
    log_mean,
    nearest_neighbors,
)
from llm_optimize.automl.advisor.synthetic.prompts import (
    messages_of,
    read_number,
    read_penalty,
)
from llm_optimize.automl.advisor.synthetic.summary import bootstrap, by_k
from llm_optimize.automl.advisor.synthetic.tasks import RidgeTask, Solved, draw_many
from llm_optimize.automl.ridge import RidgeOptions, run
from llm_optimize.errors import UsageError

ROOT = Path(__file__).parents[2]
FAR = tuple(-number / 10 for number in range(20))
A = RidgeTask(100, 200, (1.0, 1.0), (-0.5, -1.5), 0.3, 0.7)
B = RidgeTask(12, 480, (1.0, 1.0), (-0.1, -0.05), 0.85, 0.1)
C = RidgeTask(50, 50, (1.0, 1.0), (-1.0, -1.0), 0.0, 0.0)
D = RidgeTask(30, 40, (1.0,) * 20, FAR, 0.5, 0.2)
GOLDEN = [
    (A, True, ".1061873 .1061752 .1060582 .1052375 .1053286 .1084511 .1092380", 0.1),
    (A, False, ".1062270 .1062148 .1060973 .1052724 .1053538 .1084547 .1092380", 0.1),
    (B, True, ".2821643 .2821571 .2820867 .2814595 .2787144 .2768025 .2765446", 100.0),
    (B, False, ".2806491 .2806442 .2805950 .2801591 .2782481 .2767842 .2765444", 100.0),
    (C, True, ".0811124 .0811100 .0810861 .0808759 .0800129 .0795899 .0796657", 10.0),
    (C, False, ".0811124 .0811100 .0810861 .0808759 .0800129 .0795899 .0796657", 10.0),
    (D, True, ".0041660 .0041436 .0039345 .0027200 .0012019 .0008330 .0007983", 100.0),
    (D, False, ".0050451 .0050192 .0047762 .0032967 .0012763 .0008347 .0007984", 100.0),
]


@pytest.mark.parametrize(("task", "compat", "errors", "best"), GOLDEN)
def test_the_errors_are_those_that_are_known(task, compat, errors, best):
    (solved,) = closed_form.solve([task], compat=compat)
    assert solved.errors == pytest.approx(list(map(float, errors.split())), abs=1e-6)
    assert solved.best == best


def test_tasks_are_solved_alike_alone_and_in_a_batch():
    together = closed_form.solve([A, B, C])
    alone = [closed_form.solve([task])[0] for task in (A, B, C)]
    for one, other in zip(together, alone, strict=True):
        assert one.errors == pytest.approx(other.errors, abs=1e-12)


@pytest.mark.parametrize("compat", [True, False])
def test_the_closed_form_is_the_same_without_numpy(compat):
    for task in (A, B, C, D, *draw_many("plain", 3, range(5))):
        (solved,) = closed_form.solve([task], compat=compat)
        assert plain.errors_of_task(task, compat=compat) == pytest.approx(
            solved.errors, abs=1e-9
        )


def simulated_variances(task, penalty, fits):
    """Return the variance of the score in each class, over fits and new samples."""
    rng = np.random.default_rng(0)
    lags = np.abs(np.subtract.outer(np.arange(task.dim), np.arange(task.dim)))
    covs = [task.alpha1**lags, task.alpha2**lags]
    mus = [np.array(task.mu1), np.array(task.mu2)]
    roots = [np.linalg.cholesky(cov) for cov in covs]
    counts = [task.n1, task.n2]
    total = sum(counts)
    weights = []
    for _ in range(fits):
        parts = []
        for mu, root, count in zip(mus, roots, counts, strict=True):
            parts.append(mu + rng.standard_normal((count, task.dim)) @ root.T)
        x = np.vstack(parts)
        y = np.repeat([1.0, -1.0], counts)
        inner = x.T @ x / total + penalty * np.eye(task.dim)
        weights.append(np.linalg.solve(inner, x.T @ y / total))
    w = np.array(weights)
    # The law of total variance: within a fit, and between the means of fits.
    return [
        np.einsum("fi,ij,fj->f", w, cov, w).mean() + (w @ mu).var()
        for mu, cov in zip(mus, covs, strict=True)
    ]


def test_the_variance_of_the_score_is_that_of_a_simulation_in_fixed_mode_only():
    mu2 = tuple(-value for value in np.linspace(0, 1, 20).tolist())
    task = RidgeTask(30, 40, (1.0,) * 20, mu2, 0.5, 0.2)
    # The closed form is the variance within a fit; the fits' means hardly vary.
    simulated = simulated_variances(task, LAMBDAS[0], fits=6_000)
    _, fixed = closed_form.score_laws([task])
    _, published = closed_form.score_laws([task], compat=True)
    assert fixed[0] == pytest.approx(simulated, rel=0.03)
    assert published[0] != pytest.approx(simulated, rel=0.06)


def test_no_error_is_nan_and_an_infinite_one_is_never_the_best():
    tasks = draw_many("s", 50, range(30))
    for compat in (True, False):
        for solved in closed_form.solve(tasks, compat=compat):
            finite = [error for error in solved.errors if math.isfinite(error)]
            assert not any(math.isnan(error) for error in solved.errors)
            if finite:
                assert solved.errors[LAMBDAS.index(solved.best)] == min(finite)


def test_a_task_whose_error_cannot_be_computed_is_drawn_again_and_counted():
    counts = experiment.Counts()
    setup = experiment.Setup(reps=15, ks=(3,), dim=50, seed=0, compat=True)
    for rep in experiment.repetitions(setup, counts):
        for one in (rep.target, *rep.context):
            assert math.isfinite(max(one.errors))
    assert counts.redrawn > 0


@pytest.fixture(scope="module")
def pool():
    """Return 20,000 solved tasks of dimension 2, by the published formula."""
    return closed_form.solve(draw_many("0", 2, range(20_000)), compat=True)


PUBLISHED = {  # mean regret of the log mean, with the nearest value of the plain scale
    1: 0.00228,
    2: 0.00182,
    5: 0.00157,
    10: 0.00147,
    15: 0.00135,
    20: 0.00131,
    50: 0.00127,
    100: 0.00129,
}


@pytest.mark.parametrize("k", PUBLISHED)
def test_the_log_mean_has_the_regret_that_is_known(pool, k):
    rng = Random(k)
    predict = log_mean(compat=True)
    regrets = []
    for target in pool:
        penalty = predict(rng.choices(pool, k=k), target, rng)
        regrets.append(target.errors[LAMBDAS.index(penalty)] - min(target.errors))
    assert fmean(regrets) == pytest.approx(PUBLISHED[k], abs=1e-4)


def test_the_best_penalties_have_the_frequencies_that_are_known(pool):
    found = Counter(one.best for one in pool)
    shares = [found[penalty] / len(pool) for penalty in LAMBDAS]
    expected = [0.345, 0.002, 0.030, 0.119, 0.173, 0.233, 0.098]
    assert shares == pytest.approx(expected, abs=0.02)


def test_the_best_constant_at_two_dimensions_is_a_tenth():
    assert best_constant("0", 2, compat=True) == 0.1


def test_neighbors_are_found_on_scaled_features():
    near = Solved(A, (0.0,) * 7, 10.0)
    far = Solved(B, (0.0,) * 7, 1e-4)
    context = [near, near, near, far, far]
    assert nearest_neighbors(context, near, Random(0)) == 10.0


# The words of the options.


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1,2,5,10", (1, 2, 5, 10)),
        (" 1, ,2,", (1, 2)),
        ("0:20:5", (0, 5, 10, 15, 20)),
        ("0:10:3", (0, 3, 6, 9)),
        ("0:7:2", (0, 2, 4, 6)),
        ("0:5", (0, 1, 2, 3, 4, 5)),
        ("5:5", (5,)),
    ],
)
def test_a_k_grid_is_read(text, found):
    assert k_grid(text) == found


@pytest.mark.parametrize(
    "text",
    ["10:0:2", "0:5:0", "0:5:-1", "1:2:3:4", "a:b", "1.5", "-2", "", "1,1", "0:10001"],
)
def test_a_wrong_k_grid_is_refused_in_one_sentence(text):
    with pytest.raises(UsageError, match=r"^--k-grid is .*; write 1,2,5 or START"):
        k_grid(text)


PARSED = [  # text, as published, and ours: the number, None where there is none
    (".5", 0.5, 0.5),
    ("10.", 10.0, 10.0),
    ("**0.01**", 0.01, 0.01),
    ("1,000", 1.0, 1000.0),
    ("T01: 0.1", 1.0, 0.1),
    ("lambda_1 = 10", 1.0, 10.0),
    ("-1", -1.0, None),
    ("1e400", math.inf, None),
    ("nan", None, None),
    ("", None, None),
    ("1e-4", 1e-4, 1e-4),
    ("I would take 0.1 or 10, so 10.", 0.1, 10.0),
    ("0.1 (of 9 values)", 0.1, 0.1),
    ("λ=0.001", 0.001, 0.001),
    ("`100`", 100.0, 100.0),
]


@pytest.mark.parametrize(("text", "published", "ours"), PARSED)
def test_an_answer_is_read(text, published, ours):
    assert read_number(text, compat=True) == published
    assert read_number(text) == ours


def test_a_number_off_the_grid_goes_to_the_nearest_by_its_logarithm():
    assert nearest(4.0) == 10.0
    assert nearest(4.0, compat=True) == 1.0
    assert nearest(3.0) == 1.0
    assert [read_penalty(text, compat=True)[0] for text in ("-1", "1e400")] == [
        1e-4
    ] * 2
    assert read_penalty("0.5") == (1.0, True)
    assert read_penalty("0.1") == (0.1, False)


def test_a_prompt_shows_solved_tasks_with_and_the_target_without_the_best():
    solved = closed_form.solve([A, B])
    (message,) = messages_of(solved, C)
    assert json.dumps(LAMBDAS) in message["content"]
    assert message["content"].count('"lambda_star"') == 2
    for task_id in ("T01", "T02", "NEW"):
        assert f'"task_id": "{task_id}"' in message["content"]
    (alone,) = messages_of([], C)
    assert '"task_id": "0"' in alone["content"]
    assert "lambda_star" not in alone["content"]
    assert len(alone["content"]) < 1_200


def test_the_bootstrap_covers_the_true_mean_about_as_often_as_it_says():
    rng = Random(1)
    covered = 0
    for seed in range(30):
        low, high = bootstrap([rng.gauss(0.5, 1) for _ in range(40)], seed)
        covered += low <= 0.5 <= high
    assert covered >= 25  # of 30 at 95 %, less three standard errors


# The whole command.


def options(folder, **given):
    return RidgeOptions(
        **{"rep": 6, "k_grid": "0,1,3", "log_dir": str(folder), **given}
    )


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_csv_has_the_columns_order_and_name_of_the_published_program(tmp_path):
    findings = run(options(tmp_path / "new", model="mean", seed=3))
    path = tmp_path / "new" / "records_mean_N6.csv"
    assert findings.files == [path]
    rows = rows_of(path)
    assert path.read_text().splitlines()[0] == (
        "k,lambda_pred,best_lambda,regret,is_correct,grid_dist"
    )
    assert [row["k"] for row in rows] == ["0", "1", "3"] * 6
    for row in rows:
        assert float(row["regret"]) >= 0
        assert (row["is_correct"] == "1") == (row["grid_dist"] == "0")
    again = run(options(tmp_path / "again", model="mean", seed=3))
    assert again.files[0].read_bytes() == path.read_bytes()


def test_all_methods_and_all_k_meet_the_same_targets(tmp_path):
    few = run(options(tmp_path, model="mean,knn", k_grid="1,2"))
    many = run(options(tmp_path, model="random", k_grid="2,7"))
    targets = {}
    for rows in (*few.rows.values(), *many.rows.values()):
        for row in rows:
            targets.setdefault(row.rep, set()).add(row.best_lambda)
    assert all(len(found) == 1 for found in targets.values())
    assert set(few.rows) == {"mean", "knn", "best-constant", "random", "oracle"}
    assert {row.regret for row in few.rows["oracle"]} == {0.0}
    assert [row.regret for row in few.rows["mean"] if row.k == 2] == pytest.approx(
        by_k(run(options(tmp_path, model="mean", k_grid="2,7")).rows["mean"])[2]
    )


def test_a_model_is_asked_once_for_each_question_and_a_resumed_run_repeats_no_call(
    tmp_path, server
):
    given = {
        "model": "org/small",
        "base_url": server.url,
        "api_key": "sk",
        "workers": 3,
    }
    server.replies(*["0.1", "T01: 4", "none"] * 2, "10")
    with pytest.raises(Exception, match="no reply left"):
        run(options(tmp_path, **given))
    ledger = tmp_path / "records_org_small_T0.1_N6.jsonl"
    assert not ledger.with_suffix(".csv").exists()
    stored = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert len(stored) == 7
    assert server.requests[0]["temperature"] == 0.1
    assert "max_tokens" not in server.requests[0]
    ledger.write_text(ledger.read_text() + '{"key": {"cut')  # by a kill
    server.requests.clear()
    server.replies("1", for_ever=True)
    findings = run(options(tmp_path, **given))
    # Of the seven answers two held no number: five questions were answered.
    assert len(server.requests) == 18 - 5
    assert findings.problem == ""
    rows = rows_of(ledger.with_suffix(".csv"))
    assert len(rows) == 18
    calls = len(server.requests)
    run(options(tmp_path, **given))
    assert len(server.requests) == calls
    assert "answers were no value of the grid" in findings.table


def test_answers_without_a_number_are_reported_and_end_nothing(tmp_path, server):
    server.replies("I cannot say.", for_ever=True)
    findings = run(
        options(
            tmp_path, model="m", base_url=server.url, api_key="k", rep=2, k_grid="1"
        )
    )
    assert "m 2 of 2" in findings.problem
    assert len(server.requests) == 6


def test_a_budget_ends_the_calls_and_the_same_command_goes_on(tmp_path, server):
    server.replies("1", for_ever=True)
    given = {"model": "m", "base_url": server.url, "api_key": "k", "k_grid": "1"}
    with pytest.raises(Exception, match=r"calls is 4; .*the same command goes on"):
        run(options(tmp_path, max_calls=4, **given))
    assert len(server.requests) == 4
    run(options(tmp_path, max_calls=4, **given))
    assert len(server.requests) == 6


def test_compat_asks_for_five_tokens_as_the_published_program(tmp_path, server):
    server.replies("1", for_ever=True)
    run(
        options(
            tmp_path,
            model="m",
            base_url=server.url,
            api_key="k",
            rep=1,
            k_grid="1",
            compat=True,
        )
    )
    assert server.requests[0]["max_tokens"] == 5


def test_the_same_seed_makes_byte_identical_prompts(tmp_path, server):
    server.replies("1", for_ever=True)
    given = {"model": "m", "base_url": server.url, "api_key": "k", "workers": 1}
    for name in ("one", "two"):
        run(options(tmp_path / name, **given))
    prompts = [json.dumps(request["messages"]) for request in server.requests]
    assert prompts[:18] == prompts[18:]


def shell(*arguments, folder):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_both_front_doors_do_the_same(tmp_path):
    words = ["--model", "mean", "-N", "3", "--k-grid", "1:2", "-d", "3"]
    words += ["--seed", "5", "--compat", "--log-dir"]
    one = shell("llm_optimize.automl.ridge", *words, "a", folder=tmp_path)
    other = shell("llm_optimize", "ridge-exp", *words, "b", folder=tmp_path)
    assert (one.returncode, other.returncode) == (0, 0), one.stderr + other.stderr
    assert one.stdout == other.stdout
    name = "records_mean_N3.csv"
    assert (tmp_path / "a" / name).read_text() == (tmp_path / "b" / name).read_text()


@pytest.mark.parametrize(
    "words",
    [
        ["--k-grid", "a:b"],
        ["--rep", "0"],
        ["--dim", "0"],
        ["--workers", "0"],
        ["--model", "mean,mean"],
        ["--model", "mean", "--plot", "x.txt"],
        ["--model", "m"],
        ["--model", "m", "--api-key", "k", "--max-usd", "1", "--base-url", "http://a"],
    ],
)
def test_wrong_options_are_refused_in_one_sentence_with_exit_code_2(
    words, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main(["ridge-exp", *words])
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_chart_shows_every_method(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "regret.svg"
    command.run(options(tmp_path, model="mean", plot=str(path)))
    assert path.read_text().startswith("<?xml")
