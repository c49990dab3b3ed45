"""The way of one candidate stays short: rooms entered, files of the hall, one coroutine."""

import ast
import inspect
import textwrap

from benchmarks.walk import bars, walk
from llm_optimize.optimize.engine import Engine


def test_a_trial_enters_few_rooms_and_few_files_of_the_hall():
    rooms, files = bars(walk(trials=5))
    assert rooms.value <= rooms.limit == 12
    # Besides the three: the rule that ends a run early, and who notifies watchers in order.
    assert files.note.split() == [
        "optimize/calls.py",
        "optimize/engine.py",
        "optimize/fail_fast.py",
        "optimize/state.py",
        "optimize/watchers.py",
    ]


def test_the_life_of_a_candidate_is_one_coroutine_of_forty_lines():
    source = textwrap.dedent(inspect.getsource(Engine.live))
    function = ast.parse(source).body[0]
    docstring, *statements = function.body
    lines = {
        node.lineno
        for one in statements
        for node in ast.walk(one)
        if hasattr(node, "lineno")
    }
    assert isinstance(docstring.value, ast.Constant)
    assert len(lines) <= 40
