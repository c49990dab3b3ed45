"""Replies of real models: how many are read right, where the collection of them is at hand."""

import gzip
import json
import time
from collections import Counter
from pathlib import Path

import pytest

from llm_optimize import space
from llm_optimize.testing import read_reply

CORPUS = Path(__file__).parents[4] / "shared" / "replies" / "replies.jsonl.gz"
KINDS = {name: getattr(space, name) for name in ("Bool", "Choice", "Float", "Int")}


def plain(x):
    """Return x without regard to line ends."""
    if isinstance(x, str):
        return x.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
    return {name: plain(part) for name, part in x.items()} if isinstance(x, dict) else x


def judged(case):
    """Return what becomes of a reply: right, lost or wrong."""
    parameters = case.get("space")
    values = space.Space(eval(parameters, KINDS)) if parameters else None
    x = read_reply(case["reply"], case["parent"], values, case["finish_reason"]).x
    expected = case["expected"]
    if (x is None) == (expected is None) and plain(x) == plain(expected):
        return "right"
    return "lost" if x is None else "wrong"


@pytest.mark.skipif(not CORPUS.exists(), reason=f"the collection is not at {CORPUS}")
def test_real_and_written_replies_are_read_right():
    counts, lost, slow = Counter(), [], []
    with gzip.open(CORPUS, "rt") as file:
        for line in file:
            case = json.loads(line)
            begun = time.process_time()
            outcome = judged(case)
            if time.process_time() - begun > 1:
                slow.append(case["id"])
            counts["written" if case["synthetic"] else "real", outcome] += 1
            if outcome != "right" and case["now"] in ("correct", "refused rightly"):
                lost.append(case["id"])
    assert lost == []
    assert slow == []
    assert counts["real", "lost"] <= 12
    assert counts["real", "wrong"] <= 8
    assert counts["written", "right"] >= 100
