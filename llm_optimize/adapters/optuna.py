"""For users of Optuna: a sampler that lets a model propose inside their own study.

import optuna
from llm_optimize.adapters.optuna import ModelSampler

study = optuna.create_study(direction="minimize", sampler=ModelSampler("gpt-5-mini", "Loss of a small network."))
study.optimize(objective, n_trials=50)
"""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from ..blocking import wait_for
from ..errors import MissingExtra, ModelError, UsageError
from ..llm import Chat, as_model, reply_of
from ..propose.language import HUMAN_PROMPT, SYSTEM_PROMPT
from ..propose.model import ModelProposer
from ..records import Message, Plan, Proposal, Reply, Status, Task, Trial, Usage, rank
from ..space import Space, as_space

try:
    import optuna
except ImportError as error:
    raise MissingExtra(
        'ModelSampler needs optuna: pip install "llm_optimize[classical]"'
    ) from error

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

_log = logging.getLogger("llm_optimize")
_SHOWN_BEST = 5
_SHOWN_LATEST = 5
_SHOWN_FAILURES = 5
_STARTUP = 1  # finished trials before a model is asked: without one it is not known what there is to choose


class ModelSampler(optuna.samplers.BaseSampler):
    """Proposes by a model inside a study of Optuna.

    What may be chosen is learnt from the trials so far (define-by-run), so that the first trial is the fallback's. The
    model reads names, ranges, the best and the latest configurations with their values, and those that failed. A
    value is the fallback's where the model fails or a parameter is new. Every trial of the study counts, whoever
    proposed it; with `n_jobs` the model is asked for one trial at a time.

    Attributes:
        proposals: how many configurations the model wrote.
        fallbacks: how many the fallback wrote because the model failed.
        usage: what the model calls used, those of replies that could not be read included.

    >>> from llm_optimize.testing import ScriptedChat
    >>> sampler = ModelSampler(ScriptedChat('{"x": 2.5}'), "The square of x - 2.")
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> study = optuna.create_study(sampler=sampler)
    >>> study.optimize(lambda trial: (trial.suggest_float("x", -9, 9) - 2) ** 2, n_trials=2)
    >>> study.trials[1].params, sampler.proposals
    ({'x': 2.5}, 1)
    """

    def __init__(
        self,
        model: Any = None,
        task_description: str = "",
        task_question: str = "Which configuration is better than all so far?",
        *,
        fallback: optuna.samplers.BaseSampler | None = None,
        startup: int = _STARTUP,
        seed: int | None = None,
    ) -> None:
        """Take the model and what is wanted.

        Args:
            model: a model's name, an `llm.Chat`, any callable from messages to text, or several of them; None takes
                `llm.default_llm_options` and the environment.
            task_description: what is tuned, in words: the more a model knows, the better its first proposals.
            task_question: what is asked at each step.
            fallback: the sampler of new parameters and of trials for which the model failed; None is Optuna's TPE.
            startup: finished trials that are left to the fallback at first; at least 1.
            seed: of the fallback and of our dice.

        Raises MissingKey when the model has no key, UsageError for what is no model or a `startup` less than 1.
        """
        if startup < 1:
            raise UsageError(
                f"startup is {startup}: the first trial shows what parameters there are; give 1 or more"
            )
        self._model = as_model(model)
        if isinstance(self._model, Chat):
            self._model.check()
        self._words = (task_description, task_question)
        self._fallback = fallback or optuna.samplers.TPESampler(seed=seed)
        self._startup = startup
        self._seed = seed
        self._lock = threading.Lock()
        self.proposals = 0
        self.fallbacks = 0
        self.usage = Usage()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return all parameters that finished trials had, but for those whose range was not always the same."""
        if len(study.directions) > 1:
            raise UsageError(
                f"the study has {len(study.directions)} objectives: a ModelSampler takes one"
            )
        seen: dict[str, list[BaseDistribution]] = {}
        finished = _finished(study)
        for other in finished:
            for name, distribution in other.distributions.items():
                seen.setdefault(name, []).append(distribution)
        if len(finished) < self._startup:
            return {}
        return {
            name: several[-1]
            for name, several in seen.items()
            if _is_searchable(several)
        }

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """Return the configuration that the model proposes, or the fallback's where it fails."""
        if not search_space:
            return {}  # all parameters are new
        if search_space.keys() <= trial.system_attrs.get("fixed_params", {}).keys():
            return {}  # Study.enqueue_trial has said all
        with self._lock:
            x = self._asked(study, trial, _described(study, search_space))
            self.proposals += x is not None
            self.fallbacks += x is None
        return self._fall_back(study, trial, search_space) if x is None else x

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return a value of the fallback for a parameter that is new, or whose range has changed."""
        return self._fallback.sample_independent(
            study, trial, param_name, param_distribution
        )

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Tell the fallback."""
        self._fallback.before_trial(study, trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: Any,
        values: Sequence[float] | None,
    ) -> None:
        """Tell the fallback."""
        self._fallback.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Reseed the fallback; our own dice are those of the trial."""
        self._fallback.reseed_rng()

    def _asked(
        self, study: Study, trial: FrozenTrial, space: Space
    ) -> dict[str, Any] | None:
        """Return the model's configuration, or None where it failed."""
        try:
            proposal = wait_for(self._proposal(study, trial, space))
        except ModelError as error:
            problem = str(error)
        else:
            self.usage += proposal.usage
            if isinstance(proposal.x, dict):
                return proposal.x
            problem = proposal.problem
        name = type(self._fallback).__name__
        _log.warning(
            "trial %d is proposed by %s, since the model failed: %s",
            trial.number,
            name,
            problem,
        )
        return None

    async def _proposal(
        self, study: Study, trial: FrozenTrial, space: Space
    ) -> Proposal:
        proposer = ModelProposer(self._task(study), space)
        try:
            return await proposer.propose(
                plan_of(study), self._ask, Random(f"{self._seed}/{trial.number}")
            )
        finally:
            await self._model.aclose()

    async def _ask(
        self, messages: Sequence[Message], /, schema: Mapping[str, Any] | None = None
    ) -> Reply:
        return await reply_of(self._model, messages, schema)

    def _task(self, study: Study) -> Task:
        description, question = self._words
        said = [description] if description else []
        if _sign(study) < 0:
            said.append(
                "The objective is to be minimized: the score of a trial is its value with the sign changed."
            )
        return Task(
            "\n".join(said) or "Find the configuration with the highest score.",
            question,
            SYSTEM_PROMPT,
            HUMAN_PROMPT,
        )

    def _fall_back(
        self, study: Study, trial: FrozenTrial, allowed: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        own = self._fallback.infer_relative_search_space(study, trial)
        x = self._fallback.sample_relative(study, trial, own)
        return {name: value for name, value in x.items() if name in allowed}


def plan_of(study: Study) -> Plan:
    """Return what a model is to see of a study: the best trial to build on, others of the best and latest, failures."""
    done = [
        _trial(study, trial)
        for trial in study.get_trials(deepcopy=False)
        if trial.state.is_finished()
    ]
    scored = sorted((trial for trial in done if trial.scored), key=rank)
    failed = tuple(trial for trial in done if not trial.scored)[-_SHOWN_FAILURES:]
    if not scored:
        return Plan(None, failures=failed)
    best = scored[-1]
    latest = [trial for trial in done if trial.scored][-_SHOWN_LATEST:]
    shown = {
        trial.number: trial
        for trial in (*scored[-1 - _SHOWN_BEST : -1], *latest)
        if trial is not best
    }
    return Plan(
        best, context=tuple(shown[number] for number in sorted(shown)), failures=failed
    )


def _trial(study: Study, trial: FrozenTrial) -> Trial:
    value = trial.value if trial.state == optuna.trial.TrialState.COMPLETE else None
    if value is not None and math.isfinite(value):
        status, score, said = Status.COMPLETE, _sign(study) * value, f"value {value}"
    else:
        reached = (
            f" at {trial.value}" if trial.value is not None else ""
        )  # of a pruned one its last report
        status, score, said = (
            Status.FAILED,
            None,
            f"{trial.state.name.lower()}{reached} with {json.dumps(trial.params)}",
        )
    return Trial.of(
        trial.number, dict(trial.params), status, "optuna", score=score, feedback=said
    )


def _finished(study: Study) -> list[FrozenTrial]:
    states = optuna.trial.TrialState
    return study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED))


def _sign(study: Study) -> int:
    return 1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else -1


def _is_searchable(several: Sequence[BaseDistribution]) -> bool:
    """Whether a parameter always had the same range, and one whose values a model can write."""
    if several[0].single() or any(
        distribution != several[0] for distribution in several
    ):
        return False
    try:
        return bool(json.dumps(as_space({"x": several[0]}).to_json(), allow_nan=False))
    except (
        ValueError
    ):  # options that are no text, number, boolean or None; NaN among them
        return False


def _described(study: Study, search_space: Mapping[str, BaseDistribution]) -> Space:
    """Return our parameters for distributions; one that not every trial has is said to be so."""
    finished = _finished(study)
    stored = as_space(search_space).to_json()
    for name, parameter in stored.items():
        having = sum(name in trial.params for trial in finished)
        if having < len(finished):
            parameter["description"] = (
                f"not every trial uses it: {having} of {len(finished)} did"
            )
    return as_space(stored)


__all__ = ["ModelSampler", "plan_of"]
