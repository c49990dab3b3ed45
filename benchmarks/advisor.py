"""Benchmark of the advisor: python -m benchmarks.advisor [--only ridge] [--seeds 5].

`ridge` measures the bars of the ridge experiment. `blends` prints, for three data sets of
scikit-learn, what the advisor's ten configurations are worth beside plain baselines: each trained,
cross-validated and blended on the same terms, over several seeds. It has no bar: where the advisor
does not beat random configurations, docs/advisor.md says so.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from math import sqrt
from pathlib import Path
from random import Random
from statistics import fmean, stdev
from typing import Any

from llm_optimize.automl import advisor
from llm_optimize.automl.advisor.options import METRICS
from llm_optimize.automl.advisor.synthetic.closed_form import score_laws, solve
from llm_optimize.automl.advisor.synthetic.grid import LAMBDAS
from llm_optimize.automl.advisor.synthetic.predictors import log_mean
from llm_optimize.automl.advisor.synthetic.tasks import RidgeTask, draw_many

from .bars import Bar, measure, report

SEEDS = 5
DRAWS = 20_000
LOG_MEAN = {  # mean regret that is known, by k: published formula, plain distances
    1: 0.00228,
    2: 0.00182,
    5: 0.00157,
    10: 0.00147,
    15: 0.00135,
    20: 0.00131,
    50: 0.00127,
    100: 0.00129,
}
DATA_SETS = {"diabetes": "rmse", "breast_cancer": "auc", "wine": "nll"}
T_95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31}


def log_mean_row() -> Iterable[Bar]:
    """Yield how far the log-mean predictor is from its known regret, at most over k."""
    pool = solve(draw_many("benchmark", 2, range(DRAWS)), compat=True)
    predict = log_mean(compat=True)
    for k, known in LOG_MEAN.items():
        rng = Random(k)
        regrets = []
        for target in pool:
            penalty = predict(rng.choices(pool, k=k), target, rng)
            regret = target.errors[LAMBDAS.index(penalty)] - min(target.errors)
            regrets.append(regret)
        found = fmean(regrets)
        yield Bar(
            f"ridge, log mean, k={k}: distance from {known}",
            abs(found - known),
            1e-4,
            note=f"{found:.5f}",
        )


def simulated_variances(fits: int = 20_000) -> Iterable[Bar]:
    """Yield how far the closed form of the variance is from simulated ridge fits."""
    import numpy as np

    mu2 = tuple(-value for value in np.linspace(0, 1, 20).tolist())
    task = RidgeTask(30, 40, (1.0,) * 20, mu2, 0.5, 0.2)
    rng = np.random.default_rng(1)
    lags = np.abs(np.subtract.outer(np.arange(20), np.arange(20)))
    covs = [task.alpha1**lags, task.alpha2**lags]
    mus = [np.array(task.mu1), np.array(task.mu2)]
    y = np.repeat([1.0, -1.0], [task.n1, task.n2])
    weights = []
    for _ in range(fits):
        x = np.vstack(
            [
                mu + rng.standard_normal((count, 20)) @ np.linalg.cholesky(cov).T
                for mu, cov, count in zip(mus, covs, (task.n1, task.n2), strict=True)
            ]
        )
        inner = x.T @ x / len(y) + LAMBDAS[0] * np.eye(20)
        weights.append(np.linalg.solve(inner, x.T @ y / len(y)))
    w = np.array(weights)
    _, variances = score_laws([task])
    for number, (mu, cov) in enumerate(zip(mus, covs, strict=True)):
        simulated = np.einsum("fi,ij,fj->f", w, cov, w).mean() + (w @ mu).var()
        found = float(variances[0, number])
        yield Bar(
            f"ridge, variance of class {number + 1}: off a simulation",
            100 * abs(found / simulated - 1),
            3,
            "%",
            note=f"{found:.4f} against {simulated:.4f}",
        )


def blends(
    seeds: int, data_sets: Sequence[str], output: str | None = None
) -> Iterable[Bar]:
    """Print a table for each data set, with 95 % intervals over seeds; yield nothing.

    The seeds are the outer loop: a benchmark that is stopped has whole seeds in its file.
    """
    found: dict[str, list[advisor.Evaluation]] = {name: [] for name in data_sets}
    listed = []
    for seed in range(seeds):
        for name in data_sets:
            one = evaluated(name, seed)
            found[name].append(one)
            listed.append({"data set": name, "seed": seed, **one.to_json()})
            if output:
                Path(output).write_text(json.dumps(listed, indent=1) + "\n")
    for name, evaluations in found.items():
        print(table(name, evaluations), flush=True)
    return []


def evaluated(name: str, seed: int) -> advisor.Evaluation:
    """Return the evaluation on one data set with one seed."""
    from sklearn import datasets

    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    with tempfile.TemporaryDirectory() as folder:
        return advisor.evaluate(
            frame,
            "target",
            DATA_SETS[name],
            limited=advisor.Limited(folds=2, timeout_secs=30),
            store=f"{folder}/runs.db",
            seed=seed,
        )


def table(name: str, found: Sequence[advisor.Evaluation]) -> str:
    """Return the mean of each contender, and its difference from random, over seeds."""
    metric = DATA_SETS[name]
    sign = 1 if METRICS[metric] else -1
    better = "higher" if sign > 0 else "lower"
    lines = [f"\n{name}: {metric} of the blend on test rows, {better} is better"]
    tests: Mapping[str, list[float]] = {
        one.name: [each.standing(one.name).test for each in found]
        for one in found[0].standings
    }
    for contender, values in tests.items():
        paired = [
            sign * (one - other)
            for one, other in zip(values, tests["random"], strict=True)
        ]
        seconds = fmean(each.standing(contender).seconds for each in found)
        failed = sum(each.standing(contender).failed for each in found)
        lines.append(
            f"{contender:15} {sign * fmean(values):9.5f} +- {interval(values):.5f}   "
            f"less random {fmean(paired):+9.5f} +- {interval(paired):.5f}   "
            f"{seconds:4.0f} s, {failed} failed"
        )
    shares = [one.share_of_defaults() for one in found]
    known = [share for share in shares if share is not None]
    lines.append(f"the advisor beats random in {len(known)} of {len(found)} seeds")
    if known:
        lines.append(f"the defaults explain {fmean(known):.0%} of that")
    return "\n".join(lines)


def interval(values: Sequence[float]) -> float:
    """Return half of the 95 % interval of a mean of few values."""
    if len(values) < 2:
        return 0.0
    return T_95.get(len(values), 2.0) * stdev(values) / sqrt(len(values))


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--data-sets", nargs="*", default=list(DATA_SETS))
    parser.add_argument("--output", help="write the numbers as JSON into this file")
    given = parser.parse_args()
    benchmarks: dict[str, Any] = {
        **BENCHMARKS,
        "blends": partial(blends, given.seeds, given.data_sets, given.output),
    }
    return report(measure(benchmarks, given.only))


BENCHMARKS = {"log mean": log_mean_row, "variance": simulated_variances}


if __name__ == "__main__":
    sys.exit(main())
