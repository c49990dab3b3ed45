"""Knobs: what declares one, that all else stays byte for byte, and the tuning of champions."""

import asyncio
import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_optimize.errors import UnknownName, UsageError
from llm_optimize.propose.knobs import Tuned, find_knobs, knob_problems, with_values
from llm_optimize.records import Plan, Proposal, Status, Trial
from llm_optimize.space import Bool, Choice, Float, Int

CODE = """\
import math  # tune: nothing here is set
def f(x, width=100):  # tune this some day
    lr = 0.1  # tune: 1e-4..1 log
    self.n_trees: int = 100   # tune: int 10..1000 step 10
    model = SVC(C=1,  # tune: 0.1..10
        kernel="rbf",  # tune: "rbf", "poly"
        shrinking=True)  # tune: bool
    return lr
"""


@pytest.mark.parametrize(
    ("line", "name", "parameter", "value"),
    [
        ("lr = 0.1  # tune: 1e-4..1 log", "lr", Float(1e-4, 1, log=True), 0.1),
        ("n = 100  # tune: int 10..1000", "n", Int(10, 1000), 100),
        ('k = "rbf"  # tune: "rbf", "poly"', "k", Choice("rbf", "poly"), "rbf"),
        ("k = 'a'  # tune: 'a', \"b\"", "k", Choice("a", "b"), "a"),
        ("k = 3 # tune: 3, 5, 7", "k", Choice(3, 5, 7), 3),
        ("bag = False  # tune: bool", "bag", Bool(), False),
        ("bag = true  # tune: true, false", "bag", Choice(True, False), True),
        ("lr = 1  # tune: float 0..2", "lr", Float(0, 2), 1.0),
        ("x = -0.5 # tune: -1 .. 1 step 0.25", "x", Float(-1, 1, step=0.25), -0.5),
        ("x = 1e-3# tune:1e-4..1e-2 log", "x", Float(1e-4, 1e-2, log=True), 1e-3),
        ("double lr = 0.1;  // tune: 0..1", "lr", Float(0, 1), 0.1),
        ("let lr: f64 = 0.1; /// tune: 0..1", "lr", Float(0, 1), 0.1),
        ("SET lr = 0.1, -- tune: 0..1", "lr", Float(0, 1), 0.1),
        ("lr = 0.1; % tune: 0..1", "lr", Float(0, 1), 0.1),
        ("lr = 0.1 ; tune: 0..1", "lr", Float(0, 1), 0.1),
        ("lr <- 0.1 # tune: 0..1", "lr", Float(0, 1), 0.1),
        ("lr := 0.1 // tune: 0..1", "lr", Float(0, 1), 0.1),
        ('  "lr": 0.1,  # tune: 0..1', "lr", Float(0, 1), 0.1),
        ("options['lr'] = 0.1  # tune: 0..1", "lr", Float(0, 1), 0.1),
        ("self.opt.lr = 0.1  # tune: 0..1", "lr", Float(0, 1), 0.1),
        ("learning-rate: 0.1  # tune: 0..1", "learning-rate", Float(0, 1), 0.1),
        ("größe = 1_000  # tune: int 1..5000", "größe", Int(1, 5000), 1000),
        ("\ufefflr = 0.1\t# tune: 0..1", "lr", Float(0, 1), 0.1),
    ],
)
def test_a_line_declares_a_knob(line, name, parameter, value):
    (found,) = find_knobs(line).items()
    assert found[0] == name
    assert (found[1].parameter, found[1].value) == (parameter, value)
    assert knob_problems(line) == []
    assert type(found[1].value) is type(value)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("lr = 5  # tune: 0..1", "its value 5 is not in its range"),
        ("lr = 0.1  # tune: 1..0", "the range from 1.0 to 0.0 is empty"),
        ("lr = 0.1  # tune: 0..1 log", "cannot be logarithmic"),
        ("lr = 0.1  # tune: from 0 to 1", "is not a range: write LOW..HIGH"),
        ("lr = 0.1  # tune:", "leaves no choice"),
        ("n = 2.5  # tune: int 1..9", "its value 2.5 is not"),
        ("n = 2  # tune: int 1.5..9", "the low of an Int is 1.5"),
        ("k = 'c'  # tune: 'a', 'b'", "'c' is none of 'a', 'b'"),
        ("k = '3'  # tune: 3, 4", "its value '3' is not"),
        ("k = 1  # tune: bool", "1 is none of False, True"),
        ("k = True  # tune: 0..1", "True is not a number"),
        ("k = 'x'  # tune: 0..1", "its value 'x' is not"),
        ("k = 3  # tune: 3", "leaves no choice"),
        ("lr = f(0.1)  # tune: 0..1", "write name = value"),
        ("lr = 0.1 + x  # tune: 0..1", "write name = value"),
        ("if lr == 0.1:  # tune: 0..1", "write name = value"),
        ("lr += 0.1  # tune: 0..1", "write name = value"),
        ("s = \"lr = 0.1  # tune: 0..1\"", "write name = value"),
    ],
)  # fmt: skip
def test_what_declares_none_is_left_alone_with_the_reason(line, problem):
    assert find_knobs(line) == {}
    (said,) = knob_problems(line)
    assert problem in said
    assert json.dumps(" ".join(line.split()), ensure_ascii=False) in said


@pytest.mark.parametrize(
    "x",
    [
        "",
        "# tune: 0..1",
        "  // lr = 0.1  # tune: 0..1",
        "fortune: 1",
        "x = 1  # tunes: 0..1",
    ],
)
def test_lines_that_do_not_mean_to_declare_say_nothing(x):
    assert find_knobs(x) == {}
    assert knob_problems(x) == []


def test_code_keeps_all_but_the_values():
    knobs = find_knobs(CODE)
    assert list(knobs) == ["lr", "n_trees", "C", "kernel", "shrinking"]
    assert len(knob_problems(CODE)) == 1  # of the import
    changed = with_values(
        CODE, {"lr": 0.5, "n_trees": 30, "C": 2.5, "kernel": "poly", "shrinking": False}
    )
    expected = CODE
    for old, new in (
        ("0.1  #", "0.5  #"),
        ("100   ", "30   "),
        ("C=1,", "C=2.5,"),
        ('l="rbf"', 'l="poly"'),
    ):
        expected = expected.replace(old, new)
    assert changed == expected.replace("=True", "=False")
    assert with_values(CODE, {name: knob.value for name, knob in knobs.items()}) == CODE
    assert with_values(CODE, {}) == CODE


def test_the_same_name_twice_gets_a_number():
    x = {
        "a.py": "lr = 1  # tune: 0..9\nlr = 2  # tune: 0..9\n",
        "b.py": "lr = 3  # tune: 0..9\n",
        "n": 5,
    }
    knobs = find_knobs(x)
    assert {name: (knob.value, knob.part) for name, knob in knobs.items()} == {
        "lr": (1, "a.py"), "lr_2": (2, "a.py"), "lr_3": (3, "b.py")
    }  # fmt: skip
    assert with_values(x, {"lr_2": 7, "lr_3": 8.5}) == {
        "a.py": "lr = 1  # tune: 0..9\nlr = 7.0  # tune: 0..9\n",
        "b.py": "lr = 8.5  # tune: 0..9\n",
        "n": 5,
    }


def test_what_is_protected_holds_no_knob():
    x = (
        "a = 1  # tune: 0..9\n# EVOLVE-BLOCK-START\nb = 1  # tune: 0..9\n# EVOLVE-BLOCK-END\n"
        "c = 1  # tune: 0..9\n"
    )
    assert list(find_knobs(x)) == ["b"]


def test_wrong_values_are_refused():
    with pytest.raises(UnknownName, match="did you mean 'lr'"):
        with_values(CODE, {"lrr": 1})
    with pytest.raises(UsageError, match="none of"):
        with_values(CODE, {"kernel": "linear"})


declared = st.sampled_from(
    [
        ("{} = 0.25", "0..1", st.floats(0, 1)),
        ("{} = 1e-3;", "1e-6..1 log", st.floats(1e-6, 1)),
        ("\t{} = 7,", "int -9..99", st.integers(-9, 99)),
        ("'{}': \"é\"", "'é', \"b\"", st.sampled_from(["é", "b"])),
        ("{} = TRUE", "bool", st.booleans()),
    ]
)
other = st.text(st.characters(exclude_characters="\r\n:"), max_size=30)
end = st.sampled_from(["\n", "\r\n", "\r", "\n\n"])


@given(st.data())
def test_whatever_stands_around_knobs_stays_as_it_is(data):
    pieces, new, names = (
        [data.draw(st.sampled_from(["", "\ufeff"]))],
        {},
        iter("abcdefgh"),
    )
    for _ in range(data.draw(st.integers(1, 5))):
        pieces.append(data.draw(other) + data.draw(end))
        name = next(names)
        setting, says, values = data.draw(declared)
        sign = data.draw(st.sampled_from(["#", "//", "--", "%", ";"]))
        pieces.append(f"{setting.format(name)} {sign} tune: {says}{data.draw(end)}")
        new[name] = data.draw(values)
    x = "".join([*pieces, data.draw(other)])
    before = find_knobs(x)
    assert list(before) == list(new)
    changed = with_values(x, new)
    after = find_knobs(changed)
    assert {name: knob.value for name, knob in after.items()} == new
    assert blanked(x, before) == blanked(changed, after)


def blanked(x, knobs):
    """Return what stands between the values."""
    ends = [0, *(place for knob in knobs.values() for place in knob.span), len(x)]
    return [x[start:stop] for start, stop in zip(ends[::2], ends[1::2], strict=True)]


def test_a_hostile_line_takes_no_time():
    for piece in ("a", "a:", "a =", "a = 1 ", '"', "a: a ", "# tune: ", "a.-"):
        find_knobs(
            (piece * 50_000) + "# tune: 0..1\n" + (piece * 250)[:280] + "# tune: 0..1"
        )


# Tuning.

START = "a = 0.0  # tune: -5..5\nb = 1  # tune: int 0..9\n"


def value_of(x):
    """Return how near the two knobs are to 2 and 7; nothing for some of them."""
    values = {name: knob.value for name, knob in find_knobs(x).items()}
    if values.get("b") == 3:
        return None
    return -abs(values["a"] - 2) - abs(values["b"] - 7) if values else -100.0


class Scripted:
    """A proposer that writes given x in turn, and notes what it is told."""

    def __init__(self, *xs):
        self.xs = list(xs)
        self.told = []

    async def propose(self, plan, ask, rng):
        return Proposal(self.xs.pop(0) if self.xs else "dull", "model:m")

    def observe(self, trial):
        self.told.append(trial.number)


def drive(proposer, numbers, f=value_of):
    """Let it propose and be told; return the trials."""
    done = []
    for number in numbers:
        proposal = asyncio.run(
            proposer.propose(Plan(None), None, Random(f"0/{number}"))
        )
        done.append(finished(number, proposal, f))
        proposer.observe(done[-1])
    return done


def finished(number, proposal, f=value_of):
    score = f(proposal.x)
    status = Status.FAILED if score is None else Status.COMPLETE
    return Trial.of(
        number,
        proposal.x,
        status,
        proposal.source,
        score=score,
        parent=proposal.parent,
        feedback=proposal.note,
    )


def test_a_new_champion_with_knobs_is_tuned_and_no_other():
    inner = Scripted(
        "c = 1", START, "dull", "worse a = 5.0  # tune: -5..5\nb = 0  # tune: int 0..9"
    )
    done = drive(Tuned(inner, 6), range(18))
    who = [trial.source for trial in done]
    assert who == ["model:m"] * 2 + ["tune:tpe"] * 6 + ["model:m"] * 10
    assert {trial.parent for trial in done[2:8]} == {1}
    assert len({trial.x for trial in done[1:8]}) == 7
    assert all(trial.x.replace("\n", "").startswith("a = ") for trial in done[2:8])
    assert inner.told == list(range(18))


def test_it_finds_better_values_than_chance():
    best = max(
        drive(Tuned(Scripted(START), 40), range(41)),
        key=lambda trial: (trial.scored, trial.score),
    )
    assert best.score > -0.4
    assert best.source == "tune:tpe"


def test_a_better_champion_is_tuned_in_its_turn_and_before_it_the_first_is_left():
    better = "a = 2.0  # tune: -5..5\nb = 7  # tune: int 0..9\nnew = 1  # tune: 0..1\n"
    tuned = Tuned(Scripted(START), 30)
    done = drive(tuned, range(8))
    tuned.observe(Trial.of(8, better, Status.COMPLETE, "user", score=0.0))
    more = drive(tuned, range(9, 14))
    assert {trial.parent for trial in done[1:]} == {0}
    assert {trial.parent for trial in more} == {8}
    assert all(list(find_knobs(trial.x)) == ["a", "b", "new"] for trial in more)


def test_after_a_resume_it_goes_on_the_same():
    xs = ["c = 1", START, "dull", "a = 2.1  # tune: -5..5\nb = 7  # tune: int 0..9"]
    done = drive(Tuned(Scripted(*xs), 8), range(24))
    assert [trial.source for trial in done].count("tune:tpe") == 16
    for cut in (0, 2, 5, 10, 12, 17, 24):
        asked = sum(trial.source == "model:m" for trial in done[:cut])
        again = Tuned(Scripted(*xs[asked:]), 8)
        for trial in done[:cut]:
            again.observe(trial)
        assert drive(again, range(cut, 24)) == done[cut:]


def test_a_champion_that_loses_its_score_is_tuned_no_longer():
    tuned = Tuned(Scripted(START), 30)
    done = drive(tuned, range(4))
    tuned.observe(Trial.of(9, "no knobs", Status.COMPLETE, "user", score=-90.0))
    done += drive(tuned, [10])
    assert done[-1].source == "tune:tpe"
    for trial in done:
        tuned.observe(
            Trial.of(
                trial.number, trial.x, Status.FAILED, trial.source, parent=trial.parent
            )
        )
    assert drive(tuned, [11])[0].source == "model:m"


def test_several_workers_never_spend_more_and_try_nothing_twice():
    tuned = Tuned(Scripted(START), 7)
    (root,) = drive(tuned, [0])
    del root
    flying, done = {}, []
    for number in range(1, 30):
        flying[number] = asyncio.run(
            tuned.propose(Plan(None), None, Random(f"0/{number}"))
        )
        if len(flying) == 4:
            first = max(flying)  # the newest ends first
            done.append(finished(first, flying.pop(first)))
            tuned.observe(done[-1])
    sources = [proposal.source for proposal in flying.values()] + [
        trial.source for trial in done
    ]
    xs = [x.x for x in (*flying.values(), *done) if x.source == "tune:tpe"]
    assert sources.count("tune:tpe") == 7
    assert len(set(xs)) == 7


def test_when_all_values_were_tried_the_inner_proposer_goes_on():
    done = drive(
        Tuned(Scripted("k = 'a'  # tune: 'a', 'b', 'c'"), 30),
        range(12),
        f=lambda x: 1.0 if "'a' " in x else 0,
    )
    assert [trial.source for trial in done].count("tune:tpe") == 2
    assert len({trial.x for trial in done if trial.source == "tune:tpe"}) == 2


def test_knobs_across_named_texts_are_tuned_together():
    start = {
        "a.py": "a = 0.0  # tune: -5..5\n",
        "b.py": "b = 1  # tune: int 0..9\n",
        "c.txt": "text",
    }
    done = drive(Tuned(Scripted(start), 25), range(26))
    assert all(trial.x["c.txt"] == "text" for trial in done)
    assert max(trial.score for trial in done if trial.scored) > -2


def test_ill_formed_knobs_are_told_to_the_model():
    (trial,) = drive(Tuned(Scripted("lr = 5  # tune: 0..1"), 5), [0], f=lambda x: 1.0)
    assert (
        trial.feedback
        == 'the knob of "lr = 5 # tune: 0..1" is not tuned: its value 5 is not in its range'
    )


def test_nothing_to_spend_is_refused():
    with pytest.raises(UsageError, match="tune is 0"):
        Tuned(Scripted(), 0)
