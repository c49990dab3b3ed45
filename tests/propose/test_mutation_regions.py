"""Mutation changes what may change, and says so where there is nothing."""

from random import Random

import pytest
from test_mutation import propose

from llm_optimize.errors import NothingToPropose
from llm_optimize.propose._number_changes import change_a_number
from llm_optimize.propose.language.protected import check_change, regions
from llm_optimize.propose.mutation import Mutation

FRAME = """import math
LIMIT = 10
# EVOLVE-BLOCK-START
rate = 0.5
# EVOLVE-BLOCK-END
print(LIMIT * 3, True)
"""
C_FRAME = (
    "int n = 10;\n// EVOLVE-BLOCK-START\nint k = 4;  // not 7\n// EVOLVE-BLOCK-END\n"
    "int m = 20;\n"
)


@pytest.mark.parametrize(
    "x", [FRAME, C_FRAME, {"a.py": FRAME, "note": "no numbers here"}]
)
def test_only_regions_change(x):
    mutation = Mutation()
    found = [propose(mutation, x, seed).x for seed in range(25)]
    assert all(check_change(x, one) is None for one in found if one is not None)
    assert sum(one is not None for one in found) > 5


def test_a_keyword_of_an_estimator_may_need_no_import_outside():
    x = (
        "from sklearn.svm import SVC\n# EVOLVE-BLOCK-START\nclf = SVC()\n# EVOLVE-BLOCK-END\n"
        f"print({5})\n"
    )
    found = [propose(Mutation(), x, seed).x for seed in range(25)]
    assert all(check_change(x, one) is None for one in found)
    assert len(set(found)) > 10


def test_numbers_in_code_come_before_those_in_comments_and_quotes():
    text = 'int a = 3; // at most 10\nchar *s = "7"; /* 8\n9 */\n'
    for seed in range(30):
        changed = change_a_number(text, Random(seed))
        assert "// at most 10" in changed
        assert '"7"; /* 8\n9 */' in changed
        assert changed != text
    assert change_a_number("it's 5 o'clock", Random(1)) != "it's 5 o'clock"
    assert change_a_number("# 5", Random(1)) != "# 5"


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ("no number at all", "nothing to change in x"),
        (FRAME.replace("rate = 0.5", "pass"), "between the EVOLVE-BLOCK markers of x"),
        ({"a": "text", "b": "more"}, "nothing to change in x"),
    ],
)
def test_nothing_to_change_is_said_at_once(x, words):
    with pytest.raises(NothingToPropose, match=words):
        propose(Mutation(), x, 0)


def test_a_text_whose_changes_are_all_tried_ends():
    mutation = Mutation()

    def go_on():
        for seed in range(300):
            propose(mutation, "a = True\n", seed)

    with pytest.raises(NothingToPropose, match="nothing left to try"):
        go_on()


def test_regions_without_markers_are_the_whole_text():
    assert regions("abc") == [(0, 3)]
