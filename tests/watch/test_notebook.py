"""A run in a real Jupyter kernel: one output, changed in place."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from llm_optimize.watch import Notebook, in_notebook, screen
from llm_optimize.watch.console import Console

nbclient = pytest.importorskip("nbclient", reason="needs nbclient and ipykernel")
pytest.importorskip("ipykernel", reason="needs ipykernel")

CELLS = """
from llm_optimize import optimize
from llm_optimize.testing import ScriptedChat
f = lambda x: (float(len(x)), "<b>long</b> enough")
model = ScriptedChat(*(f"```\\n{'b' * n}\\n```" for n in (3, 2, 5)))
result = optimize.run("Longer.", "?", f, "a", 3, model,
                      sandbox="inline", name="amber", seed=1)
--
result
--
result.best
--
ax = result.plot()
--
await optimize.arun("Longer.", "?", f, "a", 0, ScriptedChat(), sandbox="inline", name="birch")
--
optimize.compare("Longer.", "?", f, "a", contenders={"best": "best", "<b>": "best_of_n"},
                 model="mutation", budget=3, seeds=2, sandbox="inline", name="elm")
--
optimize.run("Shorter.", "?", f, "aaaa", 2, ScriptedChat("```\\nbb\\n```", "```\\nccc\\n```"),
             sandbox="inline", name="fir", direction="minimize")
"""


def test_a_run_in_a_notebook_is_one_output_that_changes(tmp_path, monkeypatch):
    import nbformat

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))

    cells = [nbformat.v4.new_code_cell(code.strip()) for code in CELLS.split("--")]
    book = nbformat.v4.new_notebook(cells=cells)
    client = nbclient.NotebookClient(
        book,
        timeout=60,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    (live,) = cells[0].outputs  # shown once, then changed
    page = live.data["text/html"]
    assert "ended: max_steps" in page  # the same output, as it was last
    assert "best <b>5</b> in trial 3" in page
    assert "&lt;b&gt;long&lt;/b&gt; enough" in page
    assert "best <b" in cells[1].outputs[0].data["text/html"]
    assert "x of trial 3" in cells[2].outputs[0].data["text/html"]
    assert cells[3].outputs[-1].data["image/png"]
    # A cell that ends in a run shows it once, and then only its best.
    live, last = cells[4].outputs
    assert "ended: max_steps" in live.data["text/html"]
    assert "<table" not in last.data["text/html"]
    assert "best <b" in last.data["text/html"]
    shown = cells[5].outputs[-1].data["text/html"]
    assert "in 2 runs each" in shown
    assert "&lt;b&gt;" in shown
    assert shown.count("<tr>") == 3
    minimized = cells[6].outputs[0].data["text/html"]
    assert "best <b>2</b> in trial 1" in minimized


def test_elsewhere_there_is_no_notebook(monkeypatch):
    assert not in_notebook()
    assert isinstance(screen(), Console)
    monkeypatch.setitem(sys.modules, "IPython", None)
    with pytest.raises(ImportError, match="pip install ipython"):
        Notebook()
