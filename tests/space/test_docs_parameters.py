"""The examples of the pages on parameters and proposers run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ["parameters.md", "proposers.md"]
BLOCKS = [
    pytest.param(block, id=f"{page}-{place}")
    for page in PAGES
    for place, block in enumerate(
        re.findall(
            r"^```python\n(.*?)^```$",
            (ROOT / "docs" / page).read_text(encoding="utf-8"),
            re.S | re.M,
        )
    )
]


def test_there_are_examples():
    assert len(BLOCKS) >= 6


@pytest.mark.parametrize("block", BLOCKS)
def test_an_example_runs(block, tmp_path):
    (tmp_path / "example.py").write_text(block, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "example.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
