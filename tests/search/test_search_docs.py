"""The page on searches names every option, and its own search passes the suite as shown."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from llm_optimize import search

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "search.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.S | re.M)
CLASSES = [getattr(search, name) for name in search.__all__ if name != "as_search"]


def test_a_search_of_ones_own_keeps_the_contract_as_shown(tmp_path):
    (block,) = [block for block in BLOCKS if "SearchContract" in block]
    (tmp_path / "test_lately.py").write_text(block)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(tmp_path),
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"1\d passed", done.stdout)


def name_of(strategy):
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", strategy.__name__).lower()


@pytest.mark.parametrize("strategy", CLASSES, ids=lambda strategy: strategy.__name__)
def test_the_page_names_every_option_and_its_default(strategy):
    section = PAGE.split(f"\n## `{name_of(strategy)}`\n")[1].split("\n## ")[0]
    for option in inspect.signature(strategy).parameters.values():
        (row,) = re.findall(rf"^\|[^|]*`{option.name}`.*$", section, re.M)
        value = option.default
        if value not in (None, ()):
            assert re.search(rf"\b{re.escape(str(value))}\b", row.split("|")[2]), row
    assert "*Where it comes from:*" in section
    assert "optimize.run(" in section


def test_every_search_has_a_section():
    assert set(re.findall(r"^## `(\w+)`$", PAGE, re.M)) == set(map(name_of, CLASSES))
