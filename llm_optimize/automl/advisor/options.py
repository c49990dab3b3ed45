"""Options of the commands `ridge-exp` and `generate-models`, without what carries them out.

The command line reads these records for the help of its commands, and loads nothing else for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...store import DEFAULT_URL
from .flags import flag

METRICS: Mapping[str, bool] = {  # whether a higher value is better
    "accuracy": True,
    "auc": True,
    "f1-micro": True,
    "mae": False,
    "nll": False,
    "r2": True,
    "rmse": False,
    "rmsle": False,
}
DEFAULT_K_GRID = "0,1,2,5,10,15,20,50,100"
BESIDE = ("best-constant", "knn", "random", "oracle")
"""The baselines that every experiment is shown beside."""

BASELINES = ("mean", "logistic-classifier", *BESIDE)
ADVISOR, RANDOM, USUAL, CONTEXT, TPE = (
    "advisor",
    "random",
    "defaults",
    "context-random",
    "tpe",
)
CONTENDERS = (ADVISOR, RANDOM, USUAL, CONTEXT, TPE)


@dataclass(frozen=True)
class RidgeOptions:
    """The options of `ridge-exp`; those without a note are those of the published program."""

    rep: int = flag(100, "Repetitions.", "--rep", "-N")
    model: str = flag(
        "qwen2.5-72b-instruct",
        f"The name of a chat model, or one of {', '.join(BASELINES)}; several with commas "
        "between them.",
    )
    k_grid: str = flag(
        DEFAULT_K_GRID, "How many solved tasks are shown: 1,2,5 or START:STOP[:STEP]."
    )
    temperature: float = flag(0.1, "Of the model.")
    dim: int = flag(2, "Dimension of a sample.", "--dim", "-d")
    log_dir: str = flag(".", "Folder for the files; it is created.")
    base_url: str | None = flag(None, "Address of an OpenAI-compatible endpoint.")
    api_key: str | None = flag(None, "Its key; without it, OPENAI_API_KEY.")
    seed: int = flag(0, "Of the tasks, which are the same for all models.")
    workers: int = flag(8, "Model calls at a time.")
    plot: str | None = flag(None, "Draw Regret_vs_k into this file.")
    compat: bool = flag(
        False,
        "Repeat the published program: its formula, distances, parser and 5 tokens an answer.",
    )
    max_calls: int | None = flag(None, "End after this many model calls.")
    max_usd: float | None = flag(None, "End after this many US dollars.")


@dataclass(frozen=True)
class GenerateOptions:
    """The options of `generate-models`."""

    task: str | None = flag(
        None, "A task below the folder of tasks, or of the package."
    )
    zero_shot: bool = flag(False, "Show the model no past tasks.")
    llm_model: str = flag(
        "deepseek-reasoner",
        "The name of a chat model; portfolio takes members of the nearest past tasks, without "
        "any model.",
    )
    seed: int = flag(42, "For the endpoint, and for what is drawn at random.")
    temperature: float = flag(1.0, "Of the model.")
    tasks_dir: str | None = flag(
        None,
        "A folder that holds tasks/NAME/metadata.json; without it, those of the package.",
    )
    models_dir: str | None = flag(
        None, "A folder that holds models/CLASS/hyperparameter_grid.json."
    )
    output_dir: str = flag(".", "Folder for the files; it is created.")
    base_url: str | None = flag(None, "Address of an OpenAI-compatible endpoint.")
    api_key: str | None = flag(None, "Its key; without it, OPENAI_API_KEY.")
    save_reasoning: bool = flag(False, "Write reasoning.txt.")
    save_prompt: bool = flag(False, "Write user_prompt.txt.")
    show_names: bool = flag(
        False, "Let the model read the names of data sets, which it may know by heart."
    )
    max_usd: float | None = flag(
        None, "Make no further call beyond this many US dollars."
    )
    evaluate: str | None = flag(
        None,
        "A CSV file to recommend for, instead of --task: train the configurations, blend them, "
        "and show plain baselines beside them.",
    )
    target: str | None = flag(None, "The column of it to predict.")
    test: str | None = flag(
        None, "A CSV file with further rows; without it, a quarter is kept apart."
    )
    metric: str | None = flag(None, f"One of {', '.join(METRICS)}.")
    contenders: str = flag(
        ",".join(CONTENDERS), "Who takes part, with commas between them."
    )
    folds: int = flag(5, "Folds of the cross-validation of one configuration.")
    timeout: float = flag(120.0, "Seconds for one configuration; then it is killed.")
    memory_mb: int = flag(4096, "Memory of one configuration.")
    workers: int = flag(1, "Configurations that are trained at a time.")
    store: str = flag(
        DEFAULT_URL,
        "Where the runs are stored; their results are past tasks of later ones.",
    )
