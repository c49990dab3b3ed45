"""The ridge experiment of the advisor: python -m llm_optimize.automl.ridge --help.

The same as `llm-optimize ridge-exp`. `solve` gives the test errors of tasks of your own:

>>> task = RidgeTask(50, 50, mu1=(1.0, 1.0), mu2=(-1.0, -1.0), alpha1=0.0, alpha2=0.0)
>>> (solved,) = solve([task])
>>> solved.best, round(min(solved.errors), 7)
(10.0, 0.0795899)
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..errors import LlmOptimizeError, MissingKey, UsageError
from .advisor.flags import parsed
from .advisor.options import RidgeOptions
from .advisor.synthetic.closed_form import solve
from .advisor.synthetic.command import Findings, run
from .advisor.synthetic.tasks import RidgeTask, Solved

__all__ = ["Findings", "RidgeOptions", "RidgeTask", "Solved", "main", "run", "solve"]

_INTERRUPTED = 130  # the exit code of a program that Ctrl-C ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment of the command line, and return the exit code."""
    options = parsed(
        RidgeOptions, "Does a model choose a good ridge penalty?", arguments
    )
    try:
        findings = run(options)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except LlmOptimizeError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2 if isinstance(error, UsageError | MissingKey) else 1
    sys.stdout.write(f"{findings.table}\n")
    if findings.problem:
        sys.stderr.write(f"{findings.problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
