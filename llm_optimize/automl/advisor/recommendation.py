"""Configurations for a data set, recommended by a model or, without one, by past tasks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from ...blocking import blocking
from ...errors import AnswerUnusable, UsageError
from ...llm import as_model
from ...records import Budget, Message, Usage
from ...settings import refuse_unknown
from .answer import Reading, Recommended, read_answer
from .asking import Answer, Asker
from .grids import Config, Grids, builtin_grids, config_of
from .ledger import Ledger, Memory
from .library import Library, PastTask, builtin_tasks
from .portfolio import completed, portfolio, random_configs, usual_configs
from .prompts import REPAIR, Observed, messages_within
from .similar import support

PORTFOLIO = "portfolio"
_MAX_PROMPT_TOKENS = 16_000
_REPAIRS = 1  # times that a model is asked to mend its answer
_SHOWN_PROBLEMS = 5


@dataclass(frozen=True)
class Request:
    """What is recommended for whom.

    Args:
        metadata: of the data set, as `advisor.describe` returns it.
        count: how many configurations.
        zero_shot: show the model no past tasks.
        observed: what was tried already, as pairs of x and score.
        seed: of all that is drawn at random.
        max_prompt_tokens: of the prompt, roughly; the farthest past tasks are left out first.
        show_names: whether the model reads the names of data sets.
        seeded: begin with the usual configuration of each class; the others are recommended.
        exclude: the name of a past task that is this data set itself.
        grids: by model class.
        library: past tasks by name.
    """

    metadata: Mapping[str, Any]
    count: int = 10
    zero_shot: bool = False
    observed: Observed = ()
    seed: int = 42
    max_prompt_tokens: int = _MAX_PROMPT_TOKENS
    show_names: bool = False
    seeded: bool = False
    exclude: str | None = None
    grids: Grids = field(default_factory=builtin_grids)
    library: Library | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"count is {self.count}: recommend 1 or more")

    @property
    def tried(self) -> list[Config]:
        """The configurations that were tried already."""
        return [config_of(x) for x, _ in self.observed]

    @property
    def seeds(self) -> list[Config]:
        """The usual configurations that a recommendation begins with."""
        if not self.seeded:
            return []
        tried = self.tried
        usual = [grid.usual() for grid in self.grids.values()]
        new = [config for config in usual if config not in tried]
        return new[: self.count]

    @property
    def asked(self) -> int:
        """How many configurations a model is asked for."""
        left = self.count - len(self.seeds)
        return max(1, left)

    def past(self) -> list[PastTask]:
        """Return the past tasks to learn from, the nearest first."""
        library = self.library
        if library is None:
            library = builtin_tasks(self.grids)
        return support(self.metadata, library, exclude=self.exclude)


@dataclass(frozen=True)
class Recommendation(Sequence[Recommended]):
    """What was recommended: a sequence of configurations, each with its source.

    Args:
        rows: the configurations.
        grids: that they are in.
        shown: the names of the past tasks that the model was shown, or a portfolio was drawn from.
        messages: what the model was asked first; empty without a model.
        answers: what it said, the repair included.
        problems: what was wrong with the last answer.
        usage: of the calls of this session.
    """

    rows: tuple[Recommended, ...]
    grids: Grids
    shown: tuple[str, ...] = ()
    messages: tuple[Message, ...] = ()
    answers: tuple[Answer, ...] = ()
    problems: tuple[str, ...] = ()
    usage: Usage = field(default_factory=Usage)

    @property
    def configs(self) -> list[Config]:
        """The configurations alone."""
        return [one.config for one in self.rows]

    def x(self) -> list[dict[str, Any]]:
        """Return the configurations as x0 of a run with `space=advisor.space()`."""
        return [one.x() for one in self.rows]

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)


async def arecommend(
    metadata: Mapping[str, Any],
    model: Any = PORTFOLIO,
    *,
    budget: Budget | None = None,
    ledger: Path | None = None,
    **options: Any,
) -> Recommendation:
    """Return configurations for a data set, each different and in the grids.

    A model is asked once, and once more where its answer holds too few configurations; what is
    still missing is completed from past tasks and by neighbors. `recommend` is the same without
    await.

    Args:
        metadata: of the data set, as `describe` returns it.
        model: "portfolio" for none: the best members of the nearest past tasks. Else a model's
            name, an `llm.Chat`, a callable from messages to text, or a list of these.
        budget: caps on the calls of this session.
        ledger: a file that keeps replies; what it holds is not asked again.
        options: the other fields of `Request`, such as `observed` or `count`.

    Raises:
        AnswerUnusable: no answer held a configuration.
        ModelError: the model did not answer, or the budget is spent.
        UsageError: an argument is wrong.

    >>> found = recommend({"prediction_type": "regression", "n_train": 400}, count=3)
    >>> [one.source for one in found], found.x()[0]["model"]
    (['support', 'support', 'support'], 'lgbm')
    """
    refuse_unknown(options, list(Request.__dataclass_fields__), "recommend")
    request = Request(metadata, **options)
    past = request.past()
    if model == PORTFOLIO:
        rows = _completed(request, past, [])
        return Recommendation(rows, request.grids, tuple(task.name for task in past))
    chat = as_model(model, seed=request.seed)
    observed = [(dict(x), score) for x, score in request.observed]
    messages, shown = messages_within(
        request.max_prompt_tokens,
        request.metadata,
        request.grids,
        [] if request.zero_shot else past,
        request.asked,
        observed=observed,
        show_names=request.show_names,
    )
    opened = Ledger(ledger) if ledger is not None else nullcontext(Memory())
    with opened as kept:
        asker = Asker(chat, kept, budget or Budget())
        try:
            answers, reading = await _conversation(request, asker, chat.name, messages)
        finally:
            await chat.aclose()
    return Recommendation(
        _completed(request, past, reading.rows),
        request.grids,
        tuple(task.name for task in shown),
        tuple(messages),
        tuple(answers),
        reading.problems,
        asker.usage,
    )


recommend = blocking(arecommend)


async def _conversation(
    request: Request,
    asker: Asker,
    name: str,
    messages: Sequence[Message],
) -> tuple[list[Answer], Reading]:
    """Return the answers and what the best of them holds. Raises AnswerUnusable."""
    talk = list(messages)
    answers: list[Answer] = []
    best = Reading((), ())
    for _ in range(1 + _REPAIRS):
        text = json.dumps(talk).encode()
        key = {"model": name, "seed": request.seed}
        key["prompt"] = hashlib.sha256(text).hexdigest()
        answer = await asker.ask(key, talk)
        answers.append(answer)
        reading = _read(request, answer)
        if len(reading.rows) >= len(best.rows):
            best = reading
        if len(best.rows) >= request.asked:
            break
        found = len(reading.rows)
        problems = list(reading.problems[:_SHOWN_PROBLEMS])
        if answer.incomplete:
            problems.insert(0, answer.incomplete.rstrip("."))
        problems.append(f"{found} usable configurations of {request.asked}")
        problem = "; ".join(problems)
        sentence = REPAIR.substitute(problem=problem, count=request.asked)
        said = answer.text or "(empty)"
        talk.append(Message(role="assistant", content=said))
        talk.append(Message(role="user", content=sentence))
    if not best.rows:
        first = best.problems[:_SHOWN_PROBLEMS]
        reason = "; ".join(first) or "nothing new"
        raise AnswerUnusable(
            f"no answer of {name} holds a configuration ({reason}): "
            "look at the answer, or take another model",
            [one.text for one in answers],
        )
    return answers, best


def _read(request: Request, answer: Answer) -> Reading:
    """Return what an answer holds besides what was tried already."""
    reading = read_answer(answer.text, request.grids)
    tried = request.tried
    new = tuple(one for one in reading.rows if one.config not in tried)
    return Reading(new, reading.problems)


def _completed(
    request: Request,
    past: Sequence[PastTask],
    rows: Sequence[Recommended],
) -> tuple[Recommended, ...]:
    """Return the wanted number of rows: these, then others with their sources."""
    found: dict[Config, Recommended] = {}
    for config in request.seeds:
        found[config] = Recommended(config, "usual")
    for one in rows:
        found.setdefault(one.config, one)
    tried = request.tried
    rng = Random(f"{request.seed}/complete")

    def add(configs: Sequence[Config], source: str) -> None:
        for config in configs:
            if config not in found and config not in tried:
                found[config] = Recommended(config, source)

    near_best = _near_best(request, rng)
    add(near_best, "neighbor")
    enough = request.count + len(tried)
    add(portfolio(past, enough), "support")
    if len(found) < request.count:
        add(usual_configs(request.grids, request.count), "usual")
    if len(found) < request.count:
        more = completed(found, request.grids, request.count, rng)
        add(more, "neighbor")
    if len(found) < request.count:
        more = random_configs(request.grids, request.count, rng)
        add(more, "random")
    rows = list(found.values())
    return tuple(rows[: request.count])


def _near_best(request: Request, rng: Random) -> list[Config]:
    """Return neighbors of the best that was observed, for half of the places."""
    scored = [(score, x) for x, score in request.observed if score is not None]
    if not scored:
        return []
    best = config_of(max(scored, key=lambda pair: pair[0])[1])
    grid = request.grids[best.model]
    wanted = request.count // 2
    return [grid.near(best, rng) for _ in range(wanted)]
