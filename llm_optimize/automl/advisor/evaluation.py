"""The proof: recommended configurations, trained and blended beside plain baselines.

All contenders get the same number of scorings, each a cross-validation in a sandbox with the same
deadline and memory, and their predictions are blended in the same way. The contenders that choose
beforehand share one run of the hall, so that what two of them choose is trained once; tpe, which
learns on the way, has a run of its own.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from random import Random
from typing import TYPE_CHECKING, Any

import llm_optimize  # the hall loads when it is used, and not for the help of a command

from ...errors import LlmOptimizeError, UnknownName, UsageError, require
from ...llm import Model
from ...propose.classical import Classical
from ...records import Budget, Limits, Result, Trial
from ...shell import pip_install
from ...store import DEFAULT_URL
from .crossval import CrossValidation, prepare
from .description import Table, metadata_of_table, table_of
from .estimators import check_installed
from .grids import Config, Grids, builtin_grids, config_of, distinct, space_of
from .library import REGRESSION, builtin_tasks
from .options import ADVISOR, CONTENDERS, CONTEXT, METRICS, RANDOM, TPE, USUAL
from .portfolio import completed, context_random, random_configs, usual_configs
from .prompts import task_text
from .recommendation import PORTFOLIO, Recommendation, recommend
from .scores import blended, greedy_blend, score
from .similar import support

if TYPE_CHECKING:
    import pandas

_QUESTION = "Which configuration predicts better on rows that it was not trained on?"
_TEST_SHARE = 0.25


@dataclass(frozen=True)
class Limited:
    """What one scoring may use, and how many there are.

    Args:
        count: scorings of each contender.
        folds: of the cross-validation of each scoring.
        timeout_secs: of one scoring.
        memory_mb: of one scoring.
        workers: scorings at a time.
    """

    count: int = 10
    folds: int = 5
    timeout_secs: float = 120.0
    memory_mb: int = 4096
    workers: int = 1

    def __post_init__(self) -> None:
        for name, least in (("count", 1), ("folds", 2), ("workers", 1)):
            if getattr(self, name) < least:
                raise UsageError(
                    f"{name} is {getattr(self, name)}: give {least} or more"
                )


@dataclass(frozen=True)
class Standing:
    """What one contender reached; scores are higher for better, NaN where there is none.

    Args:
        name: of the contender.
        run: the name of its run.
        best: out-of-fold score of its best configuration.
        blend: out-of-fold score of the blend, which was chosen by it.
        test: score of the blend on the test rows, which chose nothing.
        weights: of the configurations that the blend uses.
        failed: scorings that gave no score, such as those that were killed at the deadline.
        seconds: of its scorings, one after the other.
        predicted: what the blend predicts for the test rows.
    """

    name: str
    run: str
    best: float
    blend: float
    test: float
    weights: tuple[tuple[Config, float], ...]
    failed: int
    seconds: float
    predicted: Any = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found; printed, it is a table."""

    metadata: Mapping[str, Any]
    recommendation: Recommendation
    standings: tuple[Standing, ...]
    skipped: tuple[str, ...]

    def standing(self, name: str) -> Standing:
        """Return the standing of a contender."""
        for one in self.standings:
            if one.name == name:
                return one
        known = [one.name for one in self.standings]
        raise UnknownName("contender", name, known)

    def share_of_defaults(self) -> float | None:
        """Return the part of the advisor's win over random that the defaults have as well.

        None where the advisor has no win to explain, or one of the three did not take part. It is
        measured on the test rows, where there are some, else out of fold.
        """
        gains = {}
        for one in self.standings:
            gains[one.name] = one.blend if math.isnan(one.test) else one.test
        if not {ADVISOR, RANDOM, USUAL} <= gains.keys():
            return None
        win = gains[ADVISOR] - gains[RANDOM]
        if not win > 0:
            return None
        return (gains[USUAL] - gains[RANDOM]) / win

    def to_json(self) -> dict[str, Any]:
        """Return the standings as plain data; a score that is unknown is None."""
        listed = []
        for one in self.standings:
            weights = []
            for config, weight in one.weights:
                weights.append({"weight": weight, **config.x()})
            row: dict[str, Any] = {
                "name": one.name,
                "run": one.run,
                "blend_of": weights,
            }
            for name in ("best", "blend", "test"):
                value = getattr(one, name)
                row[name] = value if math.isfinite(value) else None
            row["failed"] = one.failed
            row["seconds"] = round(one.seconds, 1)
            listed.append(row)
        share = self.share_of_defaults()
        return {
            "metadata": dict(self.metadata),
            "scores": "higher is better",
            "share_of_defaults": share,
            "contenders": listed,
        }

    def __str__(self) -> str:
        metric = str(self.metadata["score_name"])
        better = "higher" if METRICS[metric] else "lower"
        count = len(self.recommendation)
        title = f"{metric}, {better} is better; {count} scorings each"
        rows = [["contender", "best", "blend", "test", "failed", "seconds"]]
        for one in self.standings:
            cells = [_shown(metric, value) for value in (one.best, one.blend, one.test)]
            seconds = f"{one.seconds:.0f}"
            rows.append([one.name, *cells, str(one.failed), seconds])
        lines = [title]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for first, *cells in rows:
            words = [first.ljust(widths[0])]
            for cell, width in zip(cells, widths[1:], strict=True):
                words.append(cell.rjust(width))
            lines.append("  ".join(words))
        lines += [*self.skipped, self._explained()]
        return "\n".join(lines)

    def _explained(self) -> str:
        share = self.share_of_defaults()
        if share is None:
            return "the advisor does not beat random configurations here"
        shown = max(0.0, min(1.0, share))
        return (
            f"the advisor beats random configurations; "
            f"the defaults explain {shown:.0%} of that"
        )


def _shown(metric: str, value: float) -> str:
    if math.isnan(value):
        return "-"
    sign = 1 if METRICS[metric] else -1
    return f"{sign * value:.5g}"


def evaluate(
    data: pandas.DataFrame,
    target: str,
    metric: str | None = None,
    *,
    test: pandas.DataFrame | None = None,
    contenders: Sequence[str] = CONTENDERS,
    limited: Limited | None = None,
    store: str = DEFAULT_URL,
    **how: Any,
) -> Evaluation:
    """Train what the advisor recommends, and what plain baselines choose, on the same terms.

    Args:
        data: rows with a target.
        target: the name of the column to predict.
        metric: see `describe`.
        test: rows to score the blends on; None keeps a quarter of the data for that. Without the
            target they are predicted only.
        contenders: some of advisor, random, defaults, context-random and tpe.
        limited: what scorings may use.
        store: of the runs; their results become past tasks for later recommendations.
        how: `model` and other arguments of `recommend`. `seed` is also that of folds and baselines;
            `seeded` is True here, so that a recommendation begins with the usual configurations.

    Raises:
        UsageError: data or an argument are wrong; MissingExtra names a package that is missing.
        ModelError: the model gave no recommendation.
    """
    require("sklearn", "pandas", needed_by="an evaluation")
    limited = limited or Limited()
    for name in contenders:
        if name not in CONTENDERS:
            raise UnknownName("contender", name, CONTENDERS)
    grids: Grids = how.setdefault("grids", builtin_grids())
    check_installed(grids)
    seed = how.setdefault("seed", 42)
    how.setdefault("seeded", True)
    train, further, truth = _split(data, target, metric, test, seed)
    table = table_of(train, target, metric, further)
    name = str(how.pop("name", ""))
    metadata = metadata_of_table(table, name)
    model: str | Model = how.pop("model", PORTFOLIO)
    found = recommend(metadata, model, count=limited.count, **how)
    with tempfile.TemporaryDirectory(prefix="advisor-") as folder:
        f = CrossValidation(
            folder, table.metric, table.kind, limited.folds, seed, tuple(grids)
        )
        prepare(table, truth, f)
        contest = _Contest(f, grids, metadata, limited, store, seed)
        standings = contest.standings(contenders, found.configs)
    skipped = []
    if TPE in contenders and not _has_optuna():
        skipped.append(f"tpe was left out, it needs optuna: {pip_install('optuna')}")
    return Evaluation(metadata, found, tuple(standings), tuple(skipped))


def _has_optuna() -> bool:
    return find_spec("optuna") is not None


def _split(
    data: pandas.DataFrame,
    target: str,
    metric: str | None,
    test: pandas.DataFrame | None,
    seed: int,
) -> tuple[pandas.DataFrame, pandas.DataFrame, pandas.Series[Any] | None]:
    """Return training rows, test rows, and the target of the latter where it is known."""
    if test is not None:
        if target not in test.columns:
            return data, test, None
        test = test[test[target].notna()]
        return data, test, test[target]
    from sklearn.model_selection import train_test_split

    whole: Table = table_of(data, target, metric)
    rows = data.loc[whole.target.index]
    classes = None if whole.kind == REGRESSION else whole.target
    try:
        train, kept = train_test_split(
            rows, test_size=_TEST_SHARE, random_state=seed, stratify=classes
        )
    except ValueError as error:
        raise UsageError(
            f"no test rows can be kept apart ({error}): give some of your own"
        ) from error
    return train, kept, kept[target]


@dataclass(frozen=True)
class _Contest:
    """What is the same for all contenders."""

    f: CrossValidation
    grids: Grids
    metadata: Mapping[str, Any]
    limited: Limited
    store: str
    seed: int

    def standings(
        self, contenders: Sequence[str], recommended: Sequence[Config]
    ) -> list[Standing]:
        """Train what each contender chooses, and return what they reached."""
        chosen: dict[str, Sequence[Config]] = {}
        for name in contenders:
            if name != TPE:
                chosen[name] = self._configs(name, recommended)
        found = []
        if chosen:
            together: list[Config] = []
            for configs in chosen.values():
                together += configs
            result = self._score(distinct(together))
            trials = {}
            for trial in result.trials:
                if isinstance(trial.x, dict):
                    trials[config_of(trial.x)] = trial
            for name, configs in chosen.items():
                own = [trials[config] for config in configs if config in trials]
                standing = self._blend(name, result.name, own)
                found.append(standing)
        if TPE in contenders and _has_optuna():
            result = self._search()
            standing = self._blend(TPE, result.name, result.trials)
            found.append(standing)
        found.sort(key=lambda one: contenders.index(one.name))
        return found

    def _configs(
        self,
        name: str,
        recommended: Sequence[Config],
    ) -> Sequence[Config]:
        count = self.limited.count
        rng = Random(f"{self.seed}/{name}")
        if name == ADVISOR:
            return recommended
        if name == USUAL:
            return usual_configs(self.grids, count)
        if name == CONTEXT:
            tasks = builtin_tasks(self.grids)
            past = support(self.metadata, tasks)
            members = context_random(past, count, rng)
            return completed(members, self.grids, count, rng)
        return random_configs(self.grids, count, rng)

    def _score(self, configs: Sequence[Config]) -> Result:
        """Score these configurations in a run that proposes no others."""
        first = [config.x() for config in configs]
        return self._run(x0=first, max_steps=0, model="mutation")

    def _search(self) -> Result:
        count = self.limited.count
        space = space_of(self.grids)
        half = max(1, count // 2)
        proposer = Classical(space, "tpe", startup=half)
        return self._run(
            max_steps=4 * count, proposer=proposer, budget=Budget(scorings=count)
        )

    def _run(self, **how: Any) -> Result:
        limits = Limits(
            memory_mb=self.limited.memory_mb,
            readable=(self.f.folder,),
            writable=(self.f.folder,),
        )
        result = llm_optimize.optimize.run(
            task_text(self.metadata),
            _QUESTION,
            self.f,
            verbose=False,
            space=space_of(self.grids),
            timeout_secs=self.limited.timeout_secs,
            workers=self.limited.workers,
            limits=limits,
            store=self.store,
            seed=self.seed,
            **how,
        )
        if result.stop_reason.startswith("error"):
            reason = result.stop_reason
            raise LlmOptimizeError(f"the run {result.name} ended: {reason}")
        return result

    def _blend(
        self,
        name: str,
        run: str,
        trials: Sequence[Trial],
    ) -> Standing:
        """Return what the trials of a contender reach together."""
        configs = []
        out_of_fold = []
        tests = []
        scores = []
        seconds = 0.0
        for trial in trials:
            seconds += trial.seconds
            if trial.score is None or not isinstance(trial.x, dict):
                continue
            predictions = self.f.predictions(trial.x)
            if predictions is not None:
                configs.append(config_of(trial.x))
                scores.append(trial.score)
                out_of_fold.append(predictions.out_of_fold)
                tests.append(predictions.test)
        failed = len(trials) - len(configs)
        if not configs:
            nothing = (math.nan, math.nan, math.nan, ())
            return Standing(name, run, *nothing, failed, seconds)
        y, y_test = self.f.truth()
        metric = self.f.metric
        weights = greedy_blend(metric, y, out_of_fold)
        predicted = blended(weights, tests)
        test = math.nan
        if len(y_test):
            test = score(metric, y_test, predicted)
        used = []
        for config, weight in zip(configs, weights, strict=True):
            if weight:
                used.append((config, weight))
        return Standing(
            name=name,
            run=run,
            best=max(scores),
            blend=score(metric, y, blended(weights, out_of_fold)),
            test=test,
            weights=tuple(used),
            failed=failed,
            seconds=seconds,
            predicted=predicted,
        )
