"""How densely the lines of the library are packed, counted over the whole package.

A gate on the length of functions alone makes lines dense. These gates keep a line to one step. The
figures of well-kept libraries, by the same count: 8 nodes at the 90th percentile and 9 conditional
expressions in 1,000 lines for httpx, 8 and 2 for tenacity, 9 and 4 for Optuna.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_NODES = 9  # of a line, at the 90th percentile
MAX_CONDITIONALS = 12  # `a if c else b` in 1,000 lines
MAX_COMPREHENSION_LINES = 2
MAX_LINE = 100  # characters
MAX_SMALL = 20  # private functions of up to three lines that are called once
COMPREHENSION = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def library():
    """Return the source of each file of the library by its path."""
    folder = ROOT / "llm_optimize"
    return {
        str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.py")
    }


def nodes_of_lines(source):
    """Return how many syntax nodes begin in each line that has any; texts do not count."""
    lines = Counter()
    for node in ast.walk(ast.parse(source)):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if hasattr(node, "lineno") and not is_text:
            lines[node.lineno] += 1
    return list(lines.values())


def conditionals(source):
    """Return the conditional expressions of a source."""
    nodes = ast.walk(ast.parse(source))
    return [node for node in nodes if isinstance(node, ast.IfExp)]


def nested(source):
    """Return the lines of conditional expressions that have another one inside."""
    found = []
    for outer in conditionals(source):
        inner = [node for node in ast.walk(outer) if isinstance(node, ast.IfExp)]
        if len(inner) > 1:
            found.append(outer.lineno)
    return found


def long_comprehensions(source):
    """Return the lines at which a comprehension begins that takes more than two."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, COMPREHENSION):
            lines = node.end_lineno - node.lineno + 1
            if lines > MAX_COMPREHENSION_LINES:
                found.append(node.lineno)
    return found


def small_functions(source):
    """Return the names of private functions whose body has up to three lines.

    `_repr_html_` is none of ours: notebooks call it.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, FUNCTION):
            continue
        if not node.name.startswith("_") or node.name.endswith("_"):
            continue
        body = node.body
        if ast.get_docstring(node) is not None:
            body = body[1:]
        if not body or body[-1].end_lineno - body[0].lineno < 3:
            found.append(node.name)
    return found


def called_once(sources):
    """Return the small private functions whose name occurs twice: defined and called."""
    words, small = Counter(), []
    for source in sources:
        words.update(re.findall(r"\b_[a-z]\w*", source))
        small += small_functions(source)
    return [name for name in small if words[name] == 2]


def percentile_90(values):
    return sorted(values)[int(0.9 * (len(values) - 1))]


def test_a_line_takes_one_step():
    counts = []
    for source in library().values():
        counts += nodes_of_lines(source)
    assert percentile_90(counts) <= MAX_NODES


def test_conditional_expressions_are_few():
    sources = library().values()
    lines = sum(source.count("\n") for source in sources)
    found = sum(len(conditionals(source)) for source in sources)
    assert 1000 * found / lines <= MAX_CONDITIONALS


@pytest.mark.parametrize("rule", [nested, long_comprehensions])
def test_no_expression_is_folded_up(rule):
    complaints = []
    for path, source in library().items():
        complaints += [f"{path}:{line}" for line in rule(source)]
    assert complaints == []


@pytest.mark.parametrize("folder", ["llm_optimize", "tests", "benchmarks", "examples"])
def test_lines_have_at_most_a_hundred_characters(folder):
    complaints = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            if len(line) > MAX_LINE and "noqa" not in line:
                complaints.append(f"{path.relative_to(ROOT)}:{number}")
    assert complaints == []


def test_a_helper_exists_because_two_places_need_it():
    found = called_once(library().values())
    assert len(found) <= MAX_SMALL, found


# The counts themselves.


def test_nodes_are_counted_where_they_begin():
    assert nodes_of_lines("x = 1\ny = 'text'\nz = f(\n    a.b,\n    c[1],\n)\n") == [
        3,
        2,
        4,
        2,
        3,
    ]
    assert percentile_90([1] * 90 + [9] * 11) == 9


def test_conditional_expressions_are_found():
    source = "a = b if c else d\ne = f if g else (h if i else j)\nif a:\n    b = c\n"
    assert (len(conditionals(source)), nested(source)) == (3, [2])


def test_long_comprehensions_are_found():
    source = "a = [\n    b for b in c\n]\nd = [\n    e\n    for e in f\n    if g\n]\n"
    assert long_comprehensions(source) == [1, 4]


def test_small_helpers_are_found():
    first = "def _a():\n    '''.'''\n    return 1\n\n\ndef _b():\n    return _a()\n\n\n_b(), _b()\n"
    second = "def _c():\n    x = 1\n    y = 2\n    z = 3\n    return x\n\n\n_c()\n"
    assert called_once([first, second]) == ["_a"]
