"""A sampler for Optuna: a language model proposes inside the user's own study.

import optuna
from llm_optimize.adapters.optuna import ModelSampler

sampler = ModelSampler("gpt-5-mini", "Loss of a small network.")
study = optuna.create_study(direction="minimize", sampler=sampler)
study.optimize(objective, n_trials=50)

The trials of the study are all that it knows; it stores nothing of its own.
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
from ..shell import pip_install
from ..space import Space, as_space

try:
    import optuna
except ImportError as error:
    raise MissingExtra(f"ModelSampler needs optuna: {pip_install('optuna')}") from error

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

_log = logging.getLogger("llm_optimize")
_SHOWN_BEST = 5
_SHOWN_LATEST = 5
_SHOWN_FAILURES = 5
_STARTUP = 1  # without a finished trial it is not known which parameters there are


class ModelSampler(optuna.samplers.BaseSampler):
    """Proposes the configurations of a study by a language model.

    Which parameters there are is learned from the finished trials (define-by-run), so the first
    trial is the fallback's. The model reads names, ranges, the best and the latest configurations
    with their values, and those that failed. The fallback gives a value where the model fails or
    a parameter is new. Every trial of the study counts, whatever proposed it; with `n_jobs` the
    model is asked for one trial at a time.

    Args:
        model: a model's name, an `llm.Chat`, any callable from messages to text, or several of
            them; None takes `llm.default_llm_options` and the environment.
        task_description: what is tuned, in words: the more a model knows, the better its first
            proposals.
        task_question: what is asked at each step.
        fallback: the sampler of new parameters and of trials for which the model failed; None is
            Optuna's TPE.
        startup: finished trials that are left to the fallback at first; at least 1.
        seed: of the fallback, and of what the prompt chooses at random.

    Attributes:
        proposals: how many configurations the model wrote.
        fallbacks: how many the fallback wrote because the model failed.
        usage: of all model calls, including those whose reply could not be read.

    Raises MissingKey when the model has no key, UsageError for what is not a model or a `startup`
    less than 1.

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
        if startup < 1:
            raise UsageError(
                f"startup is {startup}: the first trial shows what parameters there are; "
                "give 1 or more"
            )
        self.proposals = 0
        self.fallbacks = 0
        self.usage = Usage()
        self._model = as_model(model)
        if isinstance(self._model, Chat):
            self._model.check()
        self._description = task_description
        self._question = task_question
        self._fallback = fallback or optuna.samplers.TPESampler(seed=seed)
        self._startup = startup
        self._seed = seed
        self._lock = threading.Lock()  # of the counts above, and of the model

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the parameters of finished trials whose range was always the same."""
        objectives = len(study.directions)
        if objectives > 1:
            raise UsageError(
                f"the study has {objectives} objectives: a ModelSampler takes one"
            )
        finished = _finished(study)
        if len(finished) < self._startup:
            return {}
        ranges: dict[str, list[BaseDistribution]] = {}
        for other in finished:
            for name, distribution in other.distributions.items():
                ranges.setdefault(name, []).append(distribution)
        found = {}
        for name, distributions in ranges.items():
            if _is_searchable(distributions):
                found[name] = distributions[-1]
        return found

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """Return the configuration that the model proposes, or the fallback's where it fails."""
        enqueued = trial.system_attrs.get("fixed_params", {})  # by Study.enqueue_trial
        if search_space.keys() <= enqueued.keys():  # also where all parameters are new
            return {}
        with self._lock:
            x = self._ask(study, trial, _described(study, search_space))
            if x is not None:
                self.proposals += 1
                return x
            self.fallbacks += 1
        own = self._fallback.infer_relative_search_space(study, trial)
        sampled = self._fallback.sample_relative(study, trial, own)
        return {name: value for name, value in sampled.items() if name in search_space}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return the fallback's value, for a parameter that is new or whose range changed."""
        return self._fallback.sample_independent(
            study, trial, param_name, param_distribution
        )

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Notify the fallback."""
        self._fallback.before_trial(study, trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: Any,
        values: Sequence[float] | None,
    ) -> None:
        """Notify the fallback."""
        self._fallback.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Reseed the fallback; each prompt has a generator of its own, seeded by its trial."""
        self._fallback.reseed_rng()

    def _ask(
        self, study: Study, trial: FrozenTrial, space: Space
    ) -> dict[str, Any] | None:
        """Return the model's configuration, or None where it failed."""
        try:
            proposal = wait_for(self._propose(study, trial, space))
        except ModelError as error:
            problem = str(error)
        else:
            self.usage += proposal.usage
            if isinstance(proposal.x, dict):
                return proposal.x
            problem = proposal.problem
        _log.warning(
            "trial %d is proposed by %s, since the model failed: %s",
            trial.number,
            type(self._fallback).__name__,
            problem,
        )
        return None

    async def _propose(
        self, study: Study, trial: FrozenTrial, space: Space
    ) -> Proposal:
        proposer = ModelProposer(self._task(study), space)
        rng = Random(f"{self._seed}/{trial.number}")
        try:
            return await proposer.propose(plan_of(study), self._reply, rng)
        finally:
            # Each call runs an event loop of its own, and a connection belongs to its loop.
            await self._model.aclose()

    async def _reply(
        self, messages: Sequence[Message], /, schema: Mapping[str, Any] | None = None
    ) -> Reply:
        return await reply_of(self._model, messages, schema)

    def _task(self, study: Study) -> Task:
        sentences = []
        if self._description:
            sentences.append(self._description)
        if _sign(study) < 0:
            sentences.append(
                "The objective is to be minimized: the score of a trial is its value with the "
                "sign changed."
            )
        if not sentences:
            sentences.append("Find the configuration with the highest score.")
        return Task("\n".join(sentences), self._question, SYSTEM_PROMPT, HUMAN_PROMPT)


def plan_of(study: Study) -> Plan:
    """Return what a model sees of a study.

    These are the best trial, to build on; others of the best and the latest; the latest failures.
    """
    scored: list[Trial] = []
    failed: list[Trial] = []
    for trial in study.get_trials(deepcopy=False):
        if trial.state.is_finished():
            ours = _trial(study, trial)
            (scored if ours.scored else failed).append(ours)
    failures = tuple(failed[-_SHOWN_FAILURES:])
    if not scored:
        return Plan(None, failures=failures)
    *others, best = sorted(scored, key=rank)
    shown = {}
    for ours in (*others[-_SHOWN_BEST:], *scored[-_SHOWN_LATEST:]):
        if ours is not best:
            shown[ours.number] = ours
    context = tuple(shown[number] for number in sorted(shown))
    return Plan(best, context=context, failures=failures)


def _trial(study: Study, trial: FrozenTrial) -> Trial:
    """Return a finished trial of Optuna as one of ours; higher scores are better."""
    params, value = dict(trial.params), trial.value
    is_complete = trial.state == optuna.trial.TrialState.COMPLETE
    if is_complete and value is not None and math.isfinite(value):
        return Trial.of(
            trial.number,
            params,
            Status.COMPLETE,
            "optuna",
            score=_sign(study) * value,
            feedback=f"value {value}",
        )
    feedback = trial.state.name.lower()
    if value is not None:  # of a pruned trial, its last report
        feedback += f" at {value}"
    feedback += f" with {json.dumps(params)}"
    return Trial.of(trial.number, params, Status.FAILED, "optuna", feedback=feedback)


def _finished(study: Study) -> list[FrozenTrial]:
    states = optuna.trial.TrialState
    return study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED))


def _sign(study: Study) -> int:
    return 1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else -1


def _is_searchable(ranges: Sequence[BaseDistribution]) -> bool:
    """Return whether a parameter always had the same range, and a model can write its values."""
    first = ranges[0]
    if first.single() or any(other != first for other in ranges):
        return False
    try:
        json.dumps(as_space({"x": first}).to_json(), allow_nan=False)
    except ValueError:  # options other than text, number, boolean and None; or NaN
        return False
    return True


def _described(study: Study, search_space: Mapping[str, BaseDistribution]) -> Space:
    """Return the distributions as a Space; it says which parameters not every trial has."""
    finished = _finished(study)
    parameters = as_space(search_space).to_json()
    for name, parameter in parameters.items():
        count = sum(name in trial.params for trial in finished)
        if count < len(finished):
            parameter["description"] = (
                f"not every trial uses it: {count} of {len(finished)} did"
            )
    return as_space(parameters)


__all__ = ["ModelSampler", "plan_of"]
