"""Blame: whether an exception shows that f itself is broken, whatever the candidate is.

f and the candidate run in one process, and where an exception was raised says whose it is:

- A TypeError of the call, raised before any line of f was reached: f does not take x.
- A ModuleNotFoundError of an import statement in the file of f: a candidate's code has another
  file, or none, also where f executes it by `exec`. A module whose name stands in x may be one
  that x should have brought along, so that nothing is said of f.

Everything else may be due to the candidate.
"""

from __future__ import annotations

import asyncio
import os
import re
import traceback
from types import FrameType
from typing import Any

__all__ = ["CALL", "IMPORT", "fault_of"]

CALL = "call"  # f does not take the arguments that it is called with
IMPORT = "import"  # a module that f imports is not installed
_OUR_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_WRONG_ARGUMENTS = re.compile(r"\b(takes|missing|expected)\b.*\barguments?\b")


def fault_of(error: BaseException, x: Any) -> str:
    """Return what is wrong with f itself: `CALL`, `IMPORT`, or "" where x may be to blame.

    Args:
        error: that f(x) raised, with its traceback.
        x: what f was called with.

    >>> try:
    ...     (lambda: 1.0)("x")
    ... except TypeError as error:
    ...     fault_of(error.with_traceback(None), "x")
    'call'
    """
    frames = _frames_of(error)
    # Exactly these types: a class of the candidate's may define its text and its name as anything.
    if not frames:
        if type(error) is TypeError and _WRONG_ARGUMENTS.search(str(error)):
            return CALL
        return ""
    if type(error) is not ModuleNotFoundError or type(error.name) is not str:
        return ""
    first, last = frames[0], frames[-1]
    file = first.f_code.co_filename
    is_in_file = last.f_code.co_filename == file and not file.startswith("<")
    if first is not last and not is_in_file:
        return ""
    if error.name.partition(".")[0] in repr(x):
        return ""
    return IMPORT


def _frames_of(error: BaseException) -> list[FrameType]:
    """Return the frames of f and of what it called, without ours and those of imports."""
    ours = (_OUR_PACKAGE, os.path.dirname(asyncio.__file__), "<frozen importlib")
    frames = []
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if not frame.f_code.co_filename.startswith(ours):
            frames.append(frame)
    return frames
