"""What a model is asked in the ridge experiment, and how its answer is read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from string import Template

from ....records import Message
from .grid import LAMBDAS, nearest
from .tasks import RidgeTask, Solved

_SEVERAL = Template("""\
You help with statistics. Choose the penalty lambda of a ridge classifier that separates two
Gaussian classes, so that its error on new samples is as small as possible.

Each task is described by these fields:
- n1, n2: training samples of class 1 and of class 2
- mu1, mu2: the mean vector of each class
- alpha_1, alpha_2: correlation of neighboring coordinates in each class; entry (i, j) of the
  covariance matrix of class c is alpha_c to the power |i - j|

lambda must be one of these values:
$grid

These tasks have been solved; lambda_star is the best value of each:
```json
$examples
```

Now choose lambda for this task:
```json
$target
```

Answer with that one number and nothing else.""")

_NONE = Template("""\
You help with statistics. Choose the penalty lambda of a ridge classifier that separates two
Gaussian classes, so that its error on new samples is as small as possible.

The task is described by these fields:
- n1, n2: training samples of class 1 and of class 2
- mu1, mu2: the mean vector of each class
- alpha_1, alpha_2: correlation of neighboring coordinates in each class; entry (i, j) of the
  covariance matrix of class c is alpha_c to the power |i - j|

lambda must be one of these values:
$grid

The task:
```json
$target
```

Answer with that one number and nothing else.""")

_FIRST_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
# Not within a word or another number; a comma may stand between groups of three digits.
_WHOLE_NUMBER = re.compile(
    r"(?<![\w.,])(?<!\d[-+])"
    r"[-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?!\w)"
)


def messages_of(
    context: Sequence[Solved],
    target: RidgeTask,
) -> list[Message]:
    """Return what a model is asked: one message.

    Args:
        context: solved tasks, in the order in which they are shown.
        target: the task whose penalty is chosen.
    """
    grid = json.dumps(LAMBDAS)
    if context:
        examples = []
        for number, one in enumerate(context, start=1):
            examples.append(one.task.record(f"T{number:02}", one.best))
        text = _SEVERAL.substitute(
            grid=grid,
            examples=json.dumps(examples, indent=2),
            target=json.dumps(target.record("NEW"), indent=2),
        )
    else:
        shown = json.dumps(target.record("0"), indent=2)
        text = _NONE.substitute(grid=grid, target=shown)
    return [Message(role="user", content=text)]


def read_number(text: str, *, compat: bool = False) -> float | None:
    """Return the number that an answer means, or None where it has none.

    The last number that is in the grid counts, else the last one that is above 0 and finite; a
    model that explains itself answers last. Numbers within words, such as T01, are passed over.

    Args:
        text: of the answer.
        compat: take the first digits that are found, as published.

    >>> read_number("T01 had 1, so 0.1"), read_number("T01: 0.1", compat=True)
    (0.1, 1.0)
    """
    if compat:
        found = _FIRST_NUMBER.search(text)
        return float(found[0]) if found else None
    number = None
    in_grid = None
    for match in _WHOLE_NUMBER.finditer(text):
        value = float(match[0].replace(",", ""))
        if value <= 0 or math.isinf(value):
            continue
        number = value
        if value in LAMBDAS:
            in_grid = value
    return number if in_grid is None else in_grid


def read_penalty(
    text: str,
    *,
    compat: bool = False,
) -> tuple[float | None, bool]:
    """Return the penalty that an answer means, and whether that had to be moved onto the grid."""
    number = read_number(text, compat=compat)
    if number is None:
        return None, False
    penalty = nearest(number, compat=compat)
    return penalty, penalty != number
