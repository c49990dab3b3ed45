"""The command `generate-models`: its options, and the files that it writes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import AnswerUnusable, LlmOptimizeError, UsageError, suggestion
from ...llm import Chat
from ...records import Budget
from .answer import Recommended
from .description import read_csv
from .evaluation import Evaluation, Limited, evaluate
from .flags import made_folder
from .grids import as_models, builtin_grids, grids_in
from .library import Library, PastTask, builtin_tasks, task_of, tasks_in
from .options import ADVISOR, GenerateOptions
from .own_runs import own_tasks
from .recommendation import PORTFOLIO, Recommendation, recommend


@dataclass(frozen=True)
class Generated:
    """What was recommended and written; `evaluation` is None without --evaluate."""

    recommendation: Recommendation
    files: tuple[Path, ...]
    evaluation: Evaluation | None = None

    def text(self) -> str:
        """Return a summary, to print."""
        rows = self.recommendation.rows
        sources: dict[str, int] = {}
        for one in rows:
            sources[one.source] = sources.get(one.source, 0) + 1
        origins = ", ".join(f"{count} {name}" for name, count in sources.items())
        count = len(rows)
        lines = [f"{count} configurations: {origins}"]
        if self.recommendation.problems:
            problems = "; ".join(self.recommendation.problems)
            lines.append(f"in the answer: {problems}")
        if any(not one.is_new for one in self.recommendation.answers):
            lines.append(
                "an earlier answer was used: another --seed asks for another one"
            )
        lines += [f"wrote {path}" for path in self.files]
        if self.evaluation is not None:
            lines += ["", str(self.evaluation)]
        return "\n".join(lines)


def generate(options: GenerateOptions) -> Generated:
    """Recommend ten configurations for a task, and write them.

    models.json has the configurations, provenance.json says where each comes from, answer.txt
    holds what the model said, whatever that was.

    Raises:
        UsageError: an option is wrong.
        ModelError: the model did not answer, or no answer held a configuration. What it said is in
            answer.txt.
    """
    grids = builtin_grids()
    if options.models_dir is not None:
        grids = grids_in(options.models_dir)
    library = dict(builtin_tasks(grids))
    if options.tasks_dir is not None:
        library = dict(tasks_in(options.tasks_dir, grids))
    _check(options)
    model = _model(options)
    how: dict[str, Any] = {
        "budget": Budget(usd=options.max_usd),
        "zero_shot": options.zero_shot,
        "seed": options.seed,
        "show_names": options.show_names,
        "grids": grids,
    }
    if options.evaluate is None:
        task = _task(options, library)
        how.update(exclude=task.name, library=library)
        work: Callable[..., Any] = partial(recommend, task.metadata, model)
    else:
        own = own_tasks(options.store, grids)
        how["library"] = {**library, **own}
        work = partial(_evaluate(options), model=model)
    folder = made_folder("--output-dir", options.output_dir)
    try:
        ledger = _ledger(options, folder)
        done = work(ledger=ledger, **how)
    except AnswerUnusable as error:
        path = folder / "answer.txt"
        _write(path, _answers(error.answers))
        message = f"{error}; it is in {path}"
        raise AnswerUnusable(message, error.answers) from error
    if isinstance(done, Evaluation):
        files = _files(options, done.recommendation)
        facts = done.to_json()
        files["evaluation.json"] = _json(facts, indent=1)
        files.update(_predictions(options, done))
    else:
        files = _files(options, done)
    for name, text in files.items():
        _write(folder / name, text)
    paths = tuple(folder / name for name in files)
    if isinstance(done, Evaluation):
        return Generated(done.recommendation, paths, done)
    return Generated(done, paths)


def _check(options: GenerateOptions) -> None:
    """Raise UsageError for options that do not go together."""
    if options.evaluate is None:
        for word in ("target", "test", "metric"):
            if getattr(options, word) is not None:
                raise UsageError(f"--{word} is for --evaluate: name its file as well")
    elif options.target is None:
        raise UsageError("--evaluate needs --target, the column to predict")
    elif options.task is not None:
        raise UsageError("--task and --evaluate each name a data set: drop one of both")


def _evaluate(options: GenerateOptions) -> Callable[..., Evaluation]:
    """Return the evaluation of the table that the options name; its files are read now."""
    limited = Limited(
        folds=options.folds,
        timeout_secs=options.timeout,
        memory_mb=options.memory_mb,
        workers=options.workers,
    )
    test = None
    if options.test is not None:
        test = read_csv(options.test)
    return partial(
        evaluate,
        read_csv(str(options.evaluate)),
        str(options.target),
        options.metric,
        test=test,
        contenders=[word.strip() for word in options.contenders.split(",")],
        limited=limited,
        store=options.store,
        name=Path(str(options.evaluate)).stem,
    )


def _files(
    options: GenerateOptions,
    found: Recommendation,
) -> dict[str, str]:
    """Return the text of each file of a recommendation."""
    models = as_models(found.configs, found.grids)
    files = {
        "models.json": _json(models, indent=4),
        "provenance.json": _json(_provenance(found.rows), indent=1),
    }
    if found.answers:
        texts = [one.text for one in found.answers]
        files["answer.txt"] = _answers(texts)
    if options.save_reasoning:
        files["reasoning.txt"] = _reasoning(found)
    if options.save_prompt:
        files["user_prompt.txt"] = _prompt(found)
    return files


def _predictions(
    options: GenerateOptions,
    done: Evaluation,
) -> dict[str, str]:
    """Return what the advisor's blend predicts for the rows of --test."""
    names = [one.name for one in done.standings]
    if options.test is None or ADVISOR not in names:
        return {}
    predicted = done.standing(ADVISOR).predicted
    if predicted is None:
        return {}
    lines = ["prediction"]
    if predicted.ndim == 2:
        lines = [",".join(f"class_{n}" for n in range(predicted.shape[1]))]
        lines += [",".join(map(repr, row)) for row in predicted.tolist()]
    else:
        lines += map(repr, predicted.tolist())
    return {"predictions.csv": "\n".join(lines) + "\n"}


def _task(options: GenerateOptions, library: Library) -> PastTask:
    if options.task is None:
        hint = suggestion("", library)
        raise UsageError(f"no task is named: give --task; {hint}")
    return task_of(library, options.task)


def _model(options: GenerateOptions) -> Any:
    if options.llm_model == PORTFOLIO:
        if options.zero_shot:
            raise UsageError(
                "--zero-shot uses no past tasks, and a portfolio is made of them: drop one of both"
            )
        return PORTFOLIO
    chat = Chat(
        options.llm_model,
        base_url=options.base_url,
        api_key=options.api_key,
        temperature=options.temperature,
        seed=options.seed,
    )
    chat.check()
    if options.max_usd is not None and chat.price is None:
        raise UsageError(
            f"--max-usd is {options.max_usd:g}, but the price of {chat.name!r} is unknown: "
            "drop it; at most two calls are made"
        )
    return chat


def _ledger(options: GenerateOptions, folder: Path) -> Path | None:
    """Return the file that keeps replies; the same command asks for none of them again."""
    if options.llm_model == PORTFOLIO:
        return None
    safe = re.sub(r"[^\w.@+-]", "_", options.llm_model)
    return folder / f"replies_{safe}_T{options.temperature}.jsonl"


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise LlmOptimizeError(f"{path} cannot be written: {reason}") from error


def _json(data: Any, indent: int) -> str:
    return json.dumps(data, indent=indent) + "\n"


def _answers(texts: Sequence[str]) -> str:
    return "\n\n---- asked again ----\n\n".join(texts) + "\n"


def _reasoning(found: Recommendation) -> str:
    texts = [one.reasoning for one in found.answers if one.reasoning]
    if not texts:
        return "The endpoint returned no reasoning.\n"
    return "\n\n".join(texts) + "\n"


def _prompt(found: Recommendation) -> str:
    for message in found.messages:
        if message["role"] == "user":
            return message["content"] + "\n"
    return "No model was asked.\n"


def _provenance(
    rows: Sequence[Recommended],
) -> list[dict[str, Any]]:
    listed = []
    for one in rows:
        listed.append(
            {
                "model": one.config.model,
                "source": one.source,
                "notes": list(one.notes),
                "values": one.config.by_name,
            }
        )
    return listed
