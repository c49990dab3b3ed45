"""A changed f is noticed, whatever f is, and nothing else is taken for a change."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from llm_optimize.evaluate import Examples
from llm_optimize.loading import load
from llm_optimize.optimize.func_hash import changed_parts, hashes_of

ROOT = Path(__file__).parents[2]
JUDGE = '''
"""What is judged."""
import json
from helper import weigh
import scale

LIMIT = 3
TABLE = {"a": 1}
CALLS = []

def bounded(x):
    return min(x, LIMIT)

def f(x):
    """Score x."""
    CALLS.append(x)  # a comment
    return bounded(weigh(float(x))) + TABLE["a"]

def unused(x):
    return 1

best = f("1")
if __name__ == "__main__":
    LIMIT = 99
    print(optimize.run("t", "q", f, max_steps=3))
'''
HELPER = "from inner import deep\n\ndef weigh(x):\n    return deep.twice(x)\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with f, in judge.py, and with the modules that it imports."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "__init__.py").write_text("")
    (tmp_path / "inner" / "deep.py").write_text("def twice(x):\n    return 2 * x\n")
    (tmp_path / "helper.py").write_text(HELPER)
    (tmp_path / "scale.py").write_text("UNIT = 1\n")
    (tmp_path / "judge.py").write_text(JUDGE)
    return tmp_path


def in_folder(folder, name="f"):
    """Return the hashes of a function of judge.py, freshly imported."""
    for module in ("judge", "helper", "scale", "inner", "inner.deep"):
        sys.modules.pop(module, None)
    return hashes_of(load(f"{folder / 'judge.py'}:{name}"))


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("judge.py", "bounded(weigh(float(x)))", "weigh(float(x))", ["f"]),
        ("judge.py", "LIMIT = 3", "LIMIT = 4", ["f"]),
        ("judge.py", '{"a": 1}', '{"a": 2}', ["f"]),
        ("judge.py", "return min(x, LIMIT)", "return max(x, LIMIT)", ["f"]),
        ("helper.py", "deep.twice(x)", "deep.twice(x) + 1", ["helper.py"]),
        ("inner/deep.py", "2 * x", "3 * x", ["inner/deep.py"]),
        # What does not concern f.
        ("judge.py", "max_steps=3", "max_steps=30", []),
        ("judge.py", "LIMIT = 99", "LIMIT = 98", []),
        ("judge.py", "return 1\n", "return 2\n", []),
        ("judge.py", 'best = f("1")', "", []),
        ("judge.py", '"""Score x."""', '"""Score an x."""\n', []),
        ("judge.py", "# a comment", "# another", []),
        ("judge.py", "LIMIT = 3", "\n\nLIMIT  =  3", []),
        ("scale.py", "UNIT = 1", "UNIT = 2", []),
        ("helper.py", "def weigh", "# here\ndef weigh", []),
    ],
)
def test_a_change_is_one_of_what_f_depends_on(folder, file, old, new, changed):
    before = in_folder(folder)
    assert changed_parts(before, in_folder(folder)) == []
    edit(folder / file, old, new)
    assert changed_parts(before, in_folder(folder)) == changed


def test_another_function_of_the_same_file_is_another_f(folder):
    assert changed_parts(in_folder(folder), in_folder(folder, "unused")) == ["f"]


def test_a_copy_of_the_file_elsewhere_is_the_same_f(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("elsewhere")
    before = in_folder(folder)
    subprocess.run(["cp", "-r", f"{folder}/.", str(other)], check=True)
    sys.path.insert(0, str(other))
    assert changed_parts(before, in_folder(other)) == []


def test_lists_that_f_fills_while_it_runs_are_no_change(folder):
    f = load(f"{folder / 'judge.py'}:f")
    before = hashes_of(f)
    f("5")
    assert hashes_of(f) == before


class Weighted:
    def __init__(self, weight):
        self.weight = weight

    def __call__(self, x):
        return self.weight * float(x)

    def method(self, x):
        return float(x)


def scaled(factor):
    def f(x):
        return factor * float(x)

    return f


def test_every_kind_of_callable_has_a_hash_of_its_own():
    kinds = [
        float,
        len,
        lambda x: float(x),
        lambda x: float(x) + 1,
        scaled(1),
        scaled(2),
        Weighted(1),
        partial(pow, 2),
        partial(pow, 3),
        [scaled(1), (scaled(2), 0.5)],
    ]
    hashes = [json.dumps(hashes_of(kind)) for kind in kinds]
    assert len(set(hashes)) == len(kinds)
    assert hashes_of(scaled(1)) == hashes_of(scaled(1))
    assert hashes_of(Weighted(1).method) == hashes_of(Weighted(2).method)
    assert changed_parts(hashes_of([scaled(1), float]), hashes_of(float)) == ["f"]


def printed(code, *arguments):
    """Return what a fresh process prints, with a hash seed of its own for texts."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "random"}
    done = subprocess.run(
        [sys.executable, *arguments, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return json.loads(done.stdout)


def test_python_c_has_the_same_hash_in_every_process_and_sees_a_change():
    code = """
import json
from llm_optimize.optimize.func_hash import hashes_of
WORDS = frozenset(["a", "b", "c", "d"])
SEEN = []
count = 0
def helper(x):
    "A docstring."
    return x in {"p", "q", "r", "s"} and x in WORDS
def f(x):
    global count
    count += 1
    SEEN.append(x)
    return helper(x)
f("a")
print(json.dumps([hashes_of(f), hashes_of(lambda x: helper(x))]))
"""
    first = printed(code)
    assert printed(code.replace("A docstring", "Another")) == first
    assert printed(code.replace('f("a")\n', 'f("a"); f("b")\n')) == first
    for old, new in [
        ('"q"', '"z"'),
        ('"d"]', '"e"]'),
        ("x in WORDS", "x not in WORDS"),
    ]:
        both = printed(code.replace(old, new))
        for before, now in zip(first, both, strict=True):
            assert changed_parts(before, now) == ["f"], old


def test_a_function_of_a_cell_has_its_source():
    """As IPython runs a cell: compiled under a name without a file, with its source beside it."""
    import linecache

    def cell(source, number):
        name = f"<cell {number}>"
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        space = {"__name__": "__main__"}
        exec(compile(source, name, "exec"), space)
        return hashes_of(space["f"])

    source = (
        "K = 2\n\ndef g(x):\n    return K * x\n\ndef f(x):\n    return g(float(x))\n"
    )
    before = cell(source, 1)
    assert before["f"].startswith("source:")
    assert cell("\n# moved\n" + source, 2) == before
    assert changed_parts(before, cell(source.replace("K = 2", "K = 3"), 3)) == ["f"]
    assert changed_parts(before, cell(source.replace("K * x", "K + x"), 4)) == ["f"]


def test_files_that_f_may_read_and_examples_count(tmp_path):
    data = tmp_path / "cases.csv"
    data.write_text("1,2")
    examples = Examples([("1", 2)], test=[("3", 4)])
    before = hashes_of(float, [str(data), str(tmp_path)], examples)
    assert set(before) == {"f", "cases.csv", "examples"}
    data.write_text("1,3")
    now = hashes_of(float, [str(data)], Examples([("1", 2)], test=[("3", 5)]))
    assert changed_parts(before, now) == ["cases.csv", "examples"]
    # Data that cannot be written down says nothing.
    assert "examples" not in hashes_of(float, (), Examples([object()]))


def test_code_of_two_versions_of_python_is_not_compared():
    assert changed_parts({"f": "code3.11:a"}, {"f": "code3.12:b"}) == []
    assert changed_parts({"f": "code3.11:a"}, {"f": "code3.11:b"}) == ["f"]
    assert changed_parts({"f": "code3.11:a"}, {"f": "source:b"}) == ["f"]
    assert changed_parts({}, {"f": "source:b"}) == []
