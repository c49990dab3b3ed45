"""Every Python block of the pages on gates, the learner and comparisons is run as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = [
    block
    for page in ("hybrid.md", "compare.md")
    for block in re.findall(
        r"^```python\n(.*?)^```$",
        (ROOT / "docs" / page).read_text(encoding="utf-8"),
        re.S | re.M,
    )
]
SAID = {
    "learner": r"(?s).*0\.9\d+ \{'training': 0\.\d+, 'network': 0\.\d+\}\n",
    "fixed_alpha": r"(?s).*0\.99\d+ \{'model': \d+, .*\}\n",
    "adaptive": r"(?s).*1000\.0 \{'model': [1-5], .*6 \S+ \w+ -?\d.*",
    "compare": r"(?s) +after 1 .*After 8 scorings, in 4 runs each.*",
}


@pytest.mark.parametrize(
    ("block", "said"), list(zip(BLOCKS, SAID.values(), strict=True)), ids=list(SAID)
)
def test_a_block_runs_as_it_stands(block, said, tmp_path):
    (tmp_path / "task.py").write_text(block)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "task.py"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(said, done.stdout), done.stdout
