"""The command `llm-optimize init`: writes a folder with a task that runs at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from ..store import command_line

_TASK = """\
# A task for `llm-optimize run task.toml`. Flags of the command line override what stands here.

task = "Raise f(x). x is three numbers in [-10, 10], such as [5, 3, -2]."
question = "What x makes f(x) higher?"
func = "task.py:f"
x0_file = "x0.txt"
max_steps = 20            # candidates beyond x0

# What else can be decided here; these are examples, not the defaults.
# model = "gpt-5-mini"    # the key is read from OPENAI_API_KEY
# base_url = "http://localhost:11434/v1"
# price = "0.25/2"        # dollars per million tokens of prompt and of reply
# temperature = 1.0
# search = "islands"      # best, chat, tree, islands, pareto or best_of_n
# direction = "minimize"  # a lower score is better
# workers = 4             # scorings that run concurrently
# timeout_secs = 60       # for one scoring
# stop_score = -0.001     # end as soon as a score is this or better
# repeats = 3             # for a noisy f

# [budget]                # the run ends at the first cap that is reached
# usd = 1.0
# seconds = 3600

# [limits]                # what one scoring may use and see
# memory_mb = 2048
# env = ["MYVAR"]         # f sees no other variables of your environment
# readable = ["data"]
# network = true
"""
_FUNC = '''\
"""f(x): how good x is. Replace it by your own."""


def f(x):
    """Return the score, and what the model may read about it. Higher is better."""
    numbers = [float(word) for word in x.strip("[] \\n").split(",")]
    wanted = [1, -2, 0.5]
    if len(numbers) != len(wanted):
        raise ValueError(f"x has {len(numbers)} numbers, not {len(wanted)}")
    errors = [number - one for number, one in zip(numbers, wanted)]
    score = -sum(error * error for error in errors)
    return score, f"the errors are {errors}"
'''
_README = """\
# A task for llm_optimize

| file | what |
|---|---|
| `task.toml` | the task in words, and all options of a run |
| `task.py` | `f(x)`, which scores a candidate |
| `x0.txt` | the first candidate |

Try it without a model and without a key, by small random changes of x0:

    llm-optimize run task.toml --model mutation

Then with a model (`export OPENAI_API_KEY=...`, or `--base-url` for a server of your own):

    llm-optimize run task.toml --model gpt-5-mini

See what was found: `llm-optimize list`, `llm-optimize show NAME`, `llm-optimize best NAME`.
"""
_FILES = {
    "task.toml": _TASK,
    "task.py": _FUNC,
    "x0.txt": "[5, 3, -2]\n",
    "README.md": _README,
}


def init(
    folder: Annotated[
        Path, typer.Argument(help="Where to write it.", metavar="FOLDER")
    ] = Path(),
) -> None:
    """Write a task to start from: task.toml, f in task.py, x0 and a README; it runs at once."""
    for name in _FILES:
        if (folder / name).exists():
            raise UsageError(
                f"the file {folder / name} exists, and nothing was written: "
                "name another folder, as llm-optimize init FOLDER"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in _FILES.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{error.filename} cannot be written: {error.strerror}; name another folder"
        ) from error
    command = command_line("run", str(folder / "task.toml"))
    typer.echo(f"{', '.join(_FILES)} are in {folder.resolve()}")
    typer.echo(f"try it: {command} --model mutation")
