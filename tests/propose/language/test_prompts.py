"""Prompts: bounded, honest about scores, stable first; braces of users are left alone."""

import json
import re
from itertools import takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_optimize.propose.language.blocks import find_blocks
from llm_optimize.propose.language.lines import what_changed
from llm_optimize.propose.language.prompt import ask_again, lay_out, size_of
from llm_optimize.propose.language.templates import HUMAN_PROMPT, SYSTEM_PROMPT, fill
from llm_optimize.propose.language.trial_text import Known
from llm_optimize.records import Plan, Status, Task, Trial, describe_failure
from llm_optimize.testing import read_reply

TASK = Task("Raise f. {braces} stay.", "A better x?", SYSTEM_PROMPT, HUMAN_PROMPT)


def scored(number, score, x="x", feedback="fine"):
    return Trial.of(number, x, Status.COMPLETE, "m", score=score, feedback=feedback)


def failed(number, feedback="Traceback\nValueError: boom"):
    return Trial.of(number, f"x{number}", Status.FAILED, "m", feedback=feedback)


def text(messages):
    return "\n".join(message["content"] for message in messages)


def test_values_are_not_filled_again_and_other_braces_stay():
    assert fill('{x} {"score": n} {{}} {fx}', x="{fx} {task_question}", fx="{x}") == (
        '{fx} {task_question} {"score": n} {{}} {x}'
    )


def test_system_first_then_one_question_with_the_parent_last():
    system, user = lay_out(
        TASK, Plan(scored(3, 0.5, "PARENT"), (scored(1, 0.4, "OTHER"),), (failed(2),))
    )
    assert system["role"] == "system"
    assert "Raise f. {braces} stay." in system["content"]
    said = user["content"]
    places = [
        said.index(word)
        for word in ("OTHER", "ValueError: boom", "PARENT", "A better x?")
    ]
    assert places == sorted(places)
    assert "Traceback" not in said


def test_scores_that_differ_are_told_apart():
    said = text(lay_out(TASK, Plan(scored(3, 0.961111), (scored(1, 0.961112),))))
    assert "score 0.961111\nfine\nTrial 1 is better by 1e-06." in said
    assert "score 0.961112\n" in said


def test_failures_are_one_line_each_and_alike_ones_merged():
    said = text(
        lay_out(
            TASK, Plan(scored(3, 1), (), (failed(0), failed(1), failed(2, "other")))
        )
    )
    assert "- failed: ValueError: boom (2 times)" in said
    assert "- failed: other" in said
    assert "\n" not in describe_failure(failed(0, "a\nb\x1b\n" + "c" * 1000))


def test_a_prompt_stays_in_its_bounds_and_no_x_is_cut():
    xs = {n: f"<{n}>" + "y" * 4000 + f"</{n}>" for n in range(20)}
    plan = Plan(
        scored(19, 1, xs[19]),
        tuple(scored(n, n, xs[n]) for n in range(19)),
        (failed(30),),
    )
    said = text(lay_out(TASK, plan, max_prompt_tokens=8000))
    assert len(said) <= 8000 * 4
    shown = [n for n in xs if f"<{n}>" in said]
    assert all(xs[n] in said for n in shown)
    assert set(shown) >= {18, 17, 19}  # the parent, and of the others the best
    assert len(shown) < 10


def test_a_parent_that_does_not_fit_is_still_whole():
    x = "y" * 100_000
    assert x in text(
        lay_out(TASK, Plan(scored(0, 1, x), (scored(1, 2),)), max_prompt_tokens=1000)
    )


def test_an_x_with_fences_is_shown_so_that_it_can_be_read_back():
    x = "a\n```\nb\n```\n"
    (_, user) = lay_out(TASK, Plan(scored(0, 1, x)))
    assert find_blocks(user["content"])[-1].text == x


def test_a_prompt_of_2023_that_fences_x_itself_gets_it_bare():
    task = Task("d", "q", "sys", "x is\n```\n{x}\n```\nand f(x) = {fx}")
    assert "x is\n```\nxyz\n```\nand f(x) = score 1\n" in text(
        lay_out(task, Plan(scored(0, 1, "xyz")))
    )


def test_the_conversation_of_2023_shows_each_x_and_what_it_scored():
    plan = Plan(
        scored(2, 3, "THIRD"), (scored(0, 1, "FIRST"), failed(1)), transcript=True
    )
    messages = lay_out(TASK, plan)
    assert [message["role"] for message in messages] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
    ]
    assert "FIRST" in messages[1]["content"]
    assert find_blocks(messages[2]["content"])[-1].text == "x1"
    assert "no score (failed)" in messages[3]["content"]
    assert find_blocks(messages[4]["content"])[-1].text == "THIRD"


def test_a_long_conversation_is_folded_and_keeps_its_champion():
    trials = [
        scored(n, 100 if n == 3 else n / 100, f"<{n}>" + "y" * 3000) for n in range(60)
    ]
    plan = Plan(trials[-1], tuple(trials[:-1]), transcript=True)
    messages = lay_out(TASK, plan, max_prompt_tokens=8000)
    said = text(messages)
    assert len(said) <= 8000 * 4
    assert trials[3].x in said
    assert trials[-1].x in said
    assert trials[10].x not in said
    assert "- <50>" in said  # in a line, the newest of those folded


def test_without_a_parent_the_first_x_is_asked_for():
    for transcript in (True, False):
        (_, user) = lay_out(TASK, Plan(None, transcript=transcript))
        assert "write the first x" in user["content"]


def test_successive_prompts_share_their_beginning():
    trials = [scored(n, n, f"x{n}" * 50) for n in range(12)]
    for transcript in (True, False):
        one, other = (
            text(
                lay_out(TASK, Plan(trials[n], tuple(trials[:n]), transcript=transcript))
            )
            for n in (10, 11)
        )
        shared = sum(
            1
            for _ in takewhile(
                lambda pair: pair[0] == pair[1], zip(one, other, strict=False)
            )
        )
        assert shared > 0.7 * len(one)


def test_a_reply_that_cannot_be_used_is_answered_with_what_was_wrong():
    messages = lay_out(TASK, Plan(None))
    again = ask_again(messages, "no {idea}", "the reply holds no fenced block")
    assert again[: len(messages)] == messages
    assert again[-2] == {"role": "assistant", "content": "no {idea}"}
    assert "holds no fenced block" in again[-1]["content"]


def test_a_reply_that_is_not_quoted_is_answered_in_the_last_message():
    again = ask_again(
        lay_out(TASK, Plan(None)), "", "the reply was cut off at the token limit."
    )
    assert [message["role"] for message in again] == ["system", "user"]
    assert again[-1]["content"].startswith(lay_out(TASK, Plan(None))[-1]["content"])
    assert "cut off at the token limit. Answer again" in again[-1]["content"]


# What is remembered.


def test_failures_that_differ_in_numbers_alone_are_one_kind():
    said = [
        "IndexError: index 7 at 0x7f3a",
        "IndexError: index 12 at 0xBEEF",
        "KeyError: 3",
    ]
    trials = [failed(n, f"Traceback\n{words}") for n, words in enumerate(said)]
    known = Known(changes={0: "a = b[7]", 1: "a = b[12]", 2: "a = b[7]"})
    prompt = text(lay_out(TASK, Plan(scored(9, 1), (), tuple(trials)), known=known))
    assert (
        "- failed: IndexError: index 7 at 0x7f3a (2 times); tried: a = b[7] | a = b[12]\n"
        in prompt
    )
    assert "- failed: KeyError: 3; tried: a = b[7]\n" in prompt


def test_a_failure_more_leaves_the_lines_before_it_as_they_are():
    trials = [failed(n, f"Error{chr(65 + n)}") for n in range(5)]
    four, five = (
        text(lay_out(TASK, Plan(scored(9, 1), (), tuple(trials[:n])))) for n in (4, 5)
    )
    place = four.index("ErrorD; tried: x3") + len("ErrorD; tried: x3")
    assert five[:place] == four[:place]


def test_a_failure_at_a_stage_says_which():
    assert describe_failure(
        Trial.of(1, "x", Status.FAILED, "m", feedback="bad", stage="syntax")
    ) == ("failed at syntax: bad")


@pytest.mark.parametrize(
    ("x", "before", "line"),
    [
        ("a\nb\n", "a\n", "b"),
        ("a\nb\nc\nd", "a", "b (and 2 more)"),
        ("a\na", "a", "a"),
        ("a\n", "a\nb\n", "without b"),
        (" a\r\n", "a\n", "other white space or order"),
        ("y" * 500, "x", "y" * 99 + "…"),
        ("a\nb", None, "a b"),
        ({"lr": 0.1, "n": 2}, {"lr": 0.1, "n": 1}, '{"n": 2}'),
        (
            {"a.py": "x = 1\ny = 2\n", "b": "1"},
            {"a.py": "x = 1\n", "b": "1"},
            "a.py: y = 2",
        ),
    ],
)
def test_what_changed_is_one_line(x, before, line):
    assert what_changed(x, before) == line


def test_lessons_stand_behind_failures_and_before_the_question():
    known = Known(lessons=(Trial.of(4, "x", Status.FAILED, "m", lesson="Sort first."),))
    said = lay_out(TASK, Plan(scored(3, 1, "PARENT"), (), (failed(2),)), known=known)[
        1
    ]["content"]
    places = [
        said.index(words) for words in ("boom", "- trial 4: Sort first.", "PARENT")
    ]
    assert places == sorted(places)


def test_in_a_conversation_the_lesson_stands_with_its_trial():
    trial = Trial.of(1, "x1", Status.FAILED, "m", feedback="boom", lesson="Sort first.")
    messages = lay_out(TASK, Plan(scored(2, 1), (trial,), transcript=True))
    assert "boom\nLesson: Sort first." in messages[1]["content"]


# Scores.


def test_the_shown_are_ranked_with_the_difference_to_the_best():
    plan = Plan(scored(3, 0.5), (scored(1, 0.75), scored(2, 0.625), failed(4)))
    said = text(lay_out(TASK, plan))
    assert (
        "By score: 1. trial 1; 2. trial 2, 0.125 less; 3. trial 3 (the x to improve), 0.25 less."
        in said
    )


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=6, unique=True))
def test_shown_scores_are_in_the_order_of_the_true_ones(scores):
    trials = [scored(n, score, feedback="") for n, score in enumerate(scores)]
    said = text(lay_out(TASK, Plan(trials[-1], tuple(trials[:-1]))))
    shown = [float(number) for number in re.findall(r"^score (\S+)$", said, re.M)]
    assert sorted(range(len(scores)), key=shown.__getitem__) == sorted(
        range(len(scores)), key=scores.__getitem__
    )
    assert len(set(shown)) == len(scores)


# A parent that is shown already.

LONG = "\n".join(f"line {n} of a program" for n in range(60))


def test_a_parent_that_is_shown_above_is_referred_to():
    parent = scored(7, 2, LONG, feedback="SAID")
    said = text(lay_out(TASK, Plan(parent, (scored(3, 1, "y" * 500), parent))))
    assert said.count(LONG) == 1
    assert said.count("SAID") == 1
    assert "The x to improve:\n(trial 7, shown above)\n" in said
    assert "It is the best so far." in said


def test_a_short_or_unseen_parent_stands_with_the_question():
    short, unseen = scored(7, 2, "short x"), scored(8, 1, LONG)
    assert text(lay_out(TASK, Plan(short, (short, unseen)))).count("short x") == 2
    assert (
        text(lay_out(TASK, Plan(short, (short,)))).count("short x") == 1
    )  # there is nothing else to show
    assert text(lay_out(TASK, Plan(unseen, (short,)))).rstrip().endswith("A better x?")
    assert (
        LONG
        in text(lay_out(TASK, Plan(unseen, (short,)))).rpartition("The x to improve:")[
            2
        ]
    )


def test_a_human_prompt_that_has_x_in_a_line_gets_it_there():
    task = Task("d", "q", "sys", "x={x} f={fx}")
    parent = scored(7, 2, LONG)
    assert text(lay_out(task, Plan(parent, (parent, scored(1, 1))))).count(LONG) == 2


def test_long_feedback_is_told_whole_even_where_x_is_referred_to():
    parent = scored(7, 2, LONG, feedback="head" + "-" * 2000 + "tail")
    said = text(lay_out(TASK, Plan(parent, (parent, scored(1, 1)))))
    assert said.count(parent.feedback) == 1
    assert "characters ...]" in said


# What x is.


def test_named_texts_are_shown_under_their_names_and_read_back():
    x = {"src/a.py": "x = 1\n```\n", "prompt": "Be kind."}
    system, user = lay_out(TASK, Plan(scored(1, 1, x)))
    assert "Put only those that you change into the answer" in system["content"]
    shown = (
        user["content"]
        .partition("The x to improve:\n")[2]
        .partition("\n\nWhat the judge said")[0]
    )
    assert read_reply(shown, dict.fromkeys(x, "")).x == x


def test_a_dict_that_is_no_set_of_texts_is_json():
    system, user = lay_out(TASK, Plan(scored(1, 1, {"a": 1, "b": [2]})))
    assert "one JSON object" in system["content"]
    assert json.loads(find_blocks(user["content"])[-1].text) == {"a": 1, "b": [2]}


def test_a_long_x_may_be_edited_and_a_short_one_is_not_said_to_be():
    for lines, may in ((200, False), (201, True)):
        for transcript in (True, False):
            said = text(
                lay_out(
                    TASK, Plan(scored(1, 1, "line\n" * lines), transcript=transcript)
                )
            )
            assert ("<<<<<<< SEARCH" in said) is may


def test_marked_regions_are_explained_once_for_the_whole_run():
    x = "a\n# EVOLVE-BLOCK-START\nb\n# EVOLVE-BLOCK-END\n"
    assert (
        "must come back byte for byte"
        in lay_out(TASK, Plan(scored(1, 1, x)))[0]["content"]
    )
    assert "byte for byte" in lay_out(TASK, Plan(scored(1, 1, {"a": x})))[0]["content"]
    assert "byte for byte" not in text(lay_out(TASK, Plan(scored(1, 1, "a"))))


def test_parameters_are_listed_with_their_scores_one_a_line():
    tried = (
        Trial.of(1, {"lr": 0.1}, Status.COMPLETE, "m", score=0.123456789012),
        failed_at(2, {"lr": 9.0}),
    )
    plan = Plan(scored(3, 1, {"lr": 0.2}), (scored(5, 2, {"lr": 0.3}),), (tried[1],))
    said = text(
        lay_out(TASK, plan, parameters="- lr: a number", known=Known(tried=tried))
    )
    lines = [
        json.loads(line) for line in said.splitlines() if line.startswith('{"trial"')
    ]
    assert lines == [
        {"trial": 1, "x": {"lr": 0.1}, "score": 0.123456789012},
        {"trial": 2, "x": {"lr": 9.0}, "failed": "failed: ValueError: too much"},
        {"trial": 5, "x": {"lr": 0.3}, "score": 2},
    ]
    assert said.count("too much") == 1
    assert "- lr: a number" in said


def failed_at(number, x):
    return Trial.of(number, x, Status.FAILED, "m", feedback="ValueError: too much")


# The bound.


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 3000), min_size=1, max_size=25),
    st.integers(800, 6000),
    st.booleans(),
    st.sampled_from([1.5, 4.0]),
)
def test_a_prompt_is_never_longer_than_it_may_be_unless_the_parent_alone_is(
    sizes, tokens, transcript, ratio
):
    trials = [
        scored(n, n % 7, f"<{n}>" + "y" * size + f"</{n}>", "z" * (size // 3))
        for n, size in enumerate(sizes)
    ]
    known = Known(
        lessons=tuple(
            Trial.of(n, "x", Status.FAILED, "m", lesson="l" * 99) for n in range(8)
        )
    )
    plan = Plan(
        trials[-1],
        tuple(trials[:-1]),
        tuple(failed(n, f"E{n}") for n in range(30)),
        transcript,
    )
    messages = lay_out(
        TASK, plan, max_prompt_tokens=tokens, chars_per_token=ratio, known=known
    )
    alone = lay_out(TASK, Plan(trials[-1], transcript=transcript))
    assert size_of(messages) <= max(tokens * ratio, size_of(alone) + 120)
    said = text(messages)
    assert trials[-1].x in said
    assert all(
        trial.x in said
        for trial in trials
        if f"<{trial.number}>" in said and f"- <{trial.number}>" not in said
    )


def test_a_long_conversation_begins_like_the_one_before_most_of_the_time():
    trials = [scored(n, n / 100, f"<{n}>" + "y" * 3000) for n in range(100)]
    begin_alike = 0
    for n in range(50, 99):
        one, other = (
            text(
                lay_out(
                    TASK,
                    Plan(trials[m], tuple(trials[:m]), transcript=True),
                    max_prompt_tokens=8000,
                )
            )
            for m in (n, n + 1)
        )
        begin_alike += other.startswith(one[: len(one) * 3 // 4])
    assert begin_alike > 49 * 0.7
