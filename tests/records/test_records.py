"""Records are complete at birth: each fact is in one place, and x has one key."""

import copy
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from llm_optimize import text
from llm_optimize.identity import key_of
from llm_optimize.records import Evaluation, Proposal, Status, Trial, Usage
from llm_optimize.testing import changed

ROOT = Path(__file__).parents[2]
SAID = Evaluation(
    Status.COMPLETE,
    0.5,
    "fine",
    {"size": 1.0},
    scorings=3,
    scores=(0.4, 0.6),
    standard_error=0.1,
)
SUMMARY = "mean of 2 scorings, besides 1 without a score: 0.5 (standard error 0.1)"


def test_a_trial_shows_all_facts_of_its_proposal_and_its_evaluation():
    proposal = Proposal(
        "x = 1", "model:m", Usage(2), decision={"who": "model"}, note="mended"
    )
    trial = Trial(4, proposal, SAID, 3, 7, "Sort first.", 12.5)
    assert (trial.x, trial.source, trial.usage, trial.decision) == (
        "x = 1",
        "model:m",
        Usage(2),
        {"who": "model"},
    )
    assert (trial.status, trial.score, trial.metrics, trial.scored) == (
        Status.COMPLETE,
        0.5,
        {"size": 1.0},
        True,
    )
    assert (trial.scorings, trial.standard_error, trial.key) == (
        3,
        0.1,
        key_of("x = 1"),
    )
    assert (
        trial.number,
        trial.parent,
        trial.seed,
        trial.lesson,
        trial.finished_at,
    ) == (4, 3, 7, "Sort first.", 12.5)
    assert trial.feedback == f"mended\nfine\n{SUMMARY}"


@pytest.mark.parametrize(
    ("trial", "feedback"),
    [
        (
            Trial(
                0,
                Proposal(None, "m", problem="no block", note="n"),
                Evaluation(Status.INVALID, scorings=0),
            ),
            "no block",
        ),
        (
            Trial(
                0, Proposal("x", "m", note="mended"), Evaluation(Status.COMPLETE, 1.0)
            ),
            "mended",
        ),
        (
            Trial(
                0,
                Proposal("x", "m"),
                Evaluation(Status.FAILED, None, "boom", scorings=3, scores=(1.0,)),
            ),
            "boom",
        ),
        (Trial(0, Proposal("x", "m"), Evaluation.open()), ""),
        (
            Trial(
                0,
                Proposal("x", "m"),
                replace(SAID, scorings=2, scores=(0.5,), standard_error=None),
            ),
            "fine\nmean of 1 scorings, besides 1 without a score: 0.5",
        ),
        (
            Trial(
                0,
                Proposal("x", "m"),
                Evaluation(Status.COMPLETE, 1.0, "ten examples", scorings=10),
            ),
            "ten examples",
        ),
        (
            Trial(0, Proposal("x", "m"), SAID.reused()),
            "fine\nmean of 2 scorings: 0.5 (standard error 0.1)",
        ),
    ],
)
def test_the_feedback_is_put_together_of_what_is_there(trial, feedback):
    assert trial.feedback == feedback


def test_plain_values_go_into_the_record_that_has_a_field_of_their_name():
    usage = Usage(1)
    facts = {
        "usage": usage,
        "note": "n",
        "seed": 3,
        "stage": "check",
        "lesson": "l",
        "finished_at": 2.0,
    }
    trial = Trial.of(1, "x", Status.FAILED, "m", feedback="boom", parent=0, **facts)
    assert trial == Trial(
        1,
        Proposal("x", "m", usage, note="n"),
        Evaluation(Status.FAILED, None, "boom", stage="check"),
        0,
        3,
        "l",
    )
    assert trial.finished_at == 2.0
    nothing = Trial.of(1, None, Status.INVALID, "m", feedback="no block")
    assert (
        nothing.proposal.problem,
        nothing.evaluation.feedback,
        nothing.feedback,
    ) == ("no block", "", "no block")
    with pytest.raises(TypeError, match="colour"):
        Trial.of(1, "x", Status.FAILED, "m", colour="red")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, "a", Status.COMPLETE, "x0"), {}),
        ((0, "a", Status.COMPLETE, "x0"), {"score": 1.0}),
        ((), {"number": 0, "x": "a", "status": Status.COMPLETE, "source": "x0"}),
    ],
)
def test_the_flat_way_of_before_says_what_to_write_instead(arguments, words):
    with pytest.raises(
        TypeError, match=r"write Trial\.of\(number, x, status, source, "
    ):
        Trial(*arguments, **words)


def test_a_lesson_adds_what_its_call_used():
    trial = Trial.of(1, "x = 1", Status.FAILED, "m", usage=Usage(1, 10, 5))
    key = trial.key
    taught = trial.with_lesson("Sort first.", Usage(1, 3, 2))
    assert (taught.lesson, taught.usage, taught.evaluation) == (
        "Sort first.",
        Usage(2, 13, 7),
        trial.evaluation,
    )
    assert taught.key is key


def test_records_are_frozen_compared_by_their_facts_copied_and_pickled():
    one, other = Proposal("x = 1", "m"), Proposal("x = 1", "m")
    assert one.key  # which the other was not asked for
    assert one == other
    assert repr(one) == repr(other)
    trial = Trial(0, one, SAID)
    for again in (
        copy.deepcopy(trial),
        pickle.loads(pickle.dumps(trial)),
        copy.copy(trial),
    ):
        assert (again, again.key) == (trial, one.key)
    for record, name in ((trial, "seed"), (one, "x"), (SAID, "score")):
        with pytest.raises(FrozenInstanceError):
            setattr(record, name, None)
        with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
            record.colour = "red"
        assert not hasattr(record, "__dict__")  # thousands of them are kept


# The key.


def test_the_key_of_a_plain_text_is_the_text_itself():
    for x in ("[5, 3]", "two words", "a\n\nb"):
        assert Proposal(x, "m").key is x
    assert Proposal("two words \n", "m").key == "two words"
    assert Proposal(None, "m").key == ""


def test_a_long_key_is_not_kept_beside_its_x():
    x = "two words " * 1000  # ends in white space, its key does not
    proposal = Proposal(x, "m")
    assert proposal.key == key_of(x)
    assert proposal.key is not proposal.key


def test_what_is_no_plain_data_is_like_itself_only():
    one, other = (Proposal({"a": {1: {2}}, "self": object()}, "m") for _ in range(2))
    endless = {}
    endless["self"] = endless
    kin = Proposal(endless, "m")
    assert kin.key == kin.key != Proposal(endless, "m").key
    assert one.key == one.key != other.key


def test_a_changed_proposal_keeps_its_key_where_x_is_the_same():
    proposal = Proposal("x = 1", "m")
    key = proposal.key
    for again in (
        proposal.with_usage(Usage(1)),
        proposal.with_note("n"),
        proposal.with_decision({"who": "model"}),
    ):
        assert again.key is key
    assert changed(Trial(0, proposal, SAID), x="y").key == "y"


def test_old_places_of_the_names_still_hold_them():
    assert text.key_of is key_of
    assert text.is_python("x = 1")


COUNTED = """
import sys
parsed = {}

def count(event, arguments):
    if event != "compile" or arguments[1] != "<unknown>":  # ast.parse
        return
    frame = sys._getframe()
    while frame and frame.f_code.co_name != "_key_of_text":
        frame = frame.f_back
    if frame:  # not a reading of a reply, which parses, too
        text = arguments[0]
        parsed[text] = parsed.get(text, 0) + 1

sys.addaudithook(count)
from llm_optimize import optimize

def model(messages):
    number = len(parsed)
    return f"```\\nx = {number}\\nfor i in range(3):\\n    x += i\\n```"

def f(x):
    return float(len(x)), "fine"

search, version, store = sys.argv[1:]
optimize.run("d", "q", f, "x = 1", 6, model, False, search=search,
             func_version=version or None, store=store, sandbox="inline", name="amber")
print(max(count for text, count in parsed.items() if "for i" in str(text)), len(parsed))
"""


@pytest.mark.parametrize(
    ("search", "version"),
    [("best", ""), ("best", "v1"), ("pareto", "v1"), ("tree", "")],
)
def test_each_x_is_parsed_once_for_its_key(tmp_path, search, version):
    """An audit hook counts in another process, which runs the whole life of each x."""
    program = tmp_path / "program.py"
    program.write_text(COUNTED)
    arguments = [
        sys.executable,
        program,
        search,
        version,
        f"sqlite:///{tmp_path}/runs.db",
    ]
    done = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    most, texts = map(int, done.stdout.split())
    assert texts >= 7
    assert most == 1
