"""The display hook: records name a renderer, and import it only when they are displayed."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from llm_optimize.records.display import Renderer, renderer

ROOT = Path(__file__).parents[2]
LAZY = """
import sys
from llm_optimize.records import Result, Status, Trial, Usage
result = Result("amber", [Trial.of(0, "x = 1", Status.COMPLETE, "x0", 0.5)], Usage(), "s")
before = "llm_optimize.watch" in sys.modules
assert "x = 1" in result._repr_html_()
print(before, "llm_optimize.watch.rendering" in sys.modules, "pandas" in sys.modules)
"""


def test_a_renderer_is_imported_when_a_record_is_displayed():
    done = subprocess.run(
        [sys.executable, "-c", LAZY],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert (done.stdout, done.stderr) == ("False True False\n", "")


@pytest.mark.parametrize("name", ["trial_html", "result_html", "data_frame", "draw"])
def test_the_renderer_has_what_records_call(name):
    declared = inspect.signature(getattr(Renderer, name))
    made = inspect.signature(getattr(renderer(), name))
    assert list(made.parameters) == list(declared.parameters)[1:]
    assert made.return_annotation == declared.return_annotation
