"""Keys of candidates: equal for what is the same to f, different for everything else."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llm_optimize.text import is_python, key_of

ROOT = Path(__file__).parents[2]

PYTHON = """
import math  # the library

class Solver:
    'Solve it.'
    def step(self, n: int = 3, *, k=None, **rest):
        for i in range(n):  # each
            if not (i % 2): yield i, f"{n!r:>{k}}", {**rest, 'a': b'\\x00',
                1: 1.5e300, 2: 3j, 4: ...}
        return None
"""
SAME_PYTHON = [
    PYTHON.replace("# the library", "").replace("# each", "# every one"),
    PYTHON.replace("\n", "\r\n") + "\n\n# the end",
    PYTHON.replace("'Solve it.'", '"Solve it."').replace("(i % 2)", "i%2"),
    PYTHON.replace("1.5e300", "15.0e299").replace("'a'", "'' 'a'"),
    PYTHON.replace("    ", "\t"),
]
OTHER_PYTHON = [
    PYTHON.replace("Solve it", "solve it"),
    PYTHON.replace("n: int = 3", "n: int = 3.0"),
    PYTHON.replace("k=None", "k"),
    PYTHON.replace("k=None", "k=False"),
    PYTHON.replace("*, k", "k"),
    PYTHON.replace("{**rest, 'a'", "{None: rest, 'a'"),
    PYTHON.replace("b'\\x00'", "'\\x00'"),
    PYTHON.replace("yield i,", "yield i;"),
    PYTHON.replace("!r", "!s"),
    PYTHON.replace("return None", "return"),
    PYTHON.replace("        return None", "            return None"),
    PYTHON.replace("1: 1.5", "True: 1.5"),
]


@pytest.mark.parametrize("other", SAME_PYTHON)
def test_comments_and_layout_make_no_other_program(other):
    assert other != PYTHON
    assert key_of(other) == key_of(PYTHON)


@pytest.mark.parametrize("other", OTHER_PYTHON)
def test_another_program_has_another_key(other):
    assert is_python(other)
    assert other != PYTHON
    assert key_of(other) != key_of(PYTHON)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Be kind. # not rude", "Be kind. # not cruel"),
        ("hello", "hello # twice"),
        ("[5, 3]", "[5, 3,]"),
        ("a: 1  # of YAML", "a: 1"),
        ("note: be brief", "note:  be brief"),
        ("x = 1\n\x00", "x=1\n\x00"),
        ("x = (", "x = ( # open"),
        ("a\x0cb", "a\nb"),
        ("a\u2028b", "a\nb"),
        ("x = '''a  \nb'''", "x = '''a\nb'''"),
        ({"a": True}, {"a": 1}),
        ({"a": "1"}, {"a": 1}),
        ({"a": None}, {}),
        ({"a": 2**53 + 1}, {"a": float(2**53)}),
        ({"a": 10**400}, {"a": float("inf")}),
        ({"separator": "\n"}, {"separator": ""}),
        ({"kind": "a = b"}, {"kind": "a=b"}),
        ({"a.py": "x = 1"}, {"b.py": "x = 1"}),
        ({"a.b": "\n"}, {"a.b": ""}),
    ],
)
def test_what_only_looks_alike_has_a_key_of_its_own(one, other):
    assert key_of(one) != key_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": 1.0}),
        ({"a": [0, {"b": 10**20}]}, {"a": [-0.0, {"b": 1e20}]}),
        (
            {"main.py": "x=1", "notes.md": "a \r\nb"},
            {"notes.md": "a\nb\n", "main.py": "x = 1 # one"},
        ),
        ("a\r\nb \rc", "a\nb\nc\n"),
        ("  \na", "a"),
        ("x = 0xff", "x = 255"),
    ],
)
def test_what_is_the_same_to_f_has_one_key(one, other):
    assert key_of(one) == key_of(other)


ODD = {
    "plus": "x = " + "1+" * 40_000 + "1",
    "attributes": "x = a" + ".b" * 40_000,
    "minus": "x = " + "-" * 90_000 + "1",
    "brackets": "x = " + "[" * 5_000 + "]" * 5_000,
    "elif": "if 1: pass\n" + "elif 1: pass\n" * 7_000,
    "wide": "x = [" + "1," * 40_000 + "]",
    "digits": "x = 0x" + "f" * 100_000,
    "decimals": "x = " + "9" * 100_000,
    "surrogate": "x = '\ud800'",
    "escapes": "x = '\\d'",
    "huge": "x = 1\n" * 2_000_000,
}


@pytest.mark.parametrize("name", ODD)
def test_no_text_is_too_deep_or_too_long_for_a_key(name):
    begun = time.monotonic()
    key = key_of(ODD[name])
    assert (
        time.monotonic() - begun < 10
    )  # 1.5 s for the longest here, where Python would parse for a minute
    assert key == key_of(ODD[name] + "\n\n")
    assert key != key_of(ODD[name] + "\ny = 2")


def test_a_dict_that_is_no_data_is_like_no_other():
    deep: dict = {}
    for _ in range(100_000):
        deep = {"a": deep}
    round_about: dict = {}
    round_about["a"] = round_about
    for x in (deep, round_about, {(1, 2): object}):
        assert isinstance(key_of(x), str)
    assert key_of(deep) != key_of(deep)
    while deep:  # by hand: its own end would be as deep
        deep = deep["a"]


def test_a_key_is_the_same_in_every_process_and_every_version():
    assert key_of("x = 'é' + 1  # one") == "python \n7526bae661b2f900f925fce39e38d7a9"
    code = "import sys; from llm_optimize.text import key_of; sys.stdout.write(key_of(sys.argv[1]))"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code, PYTHON]
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        assert done.stdout == key_of(PYTHON)
