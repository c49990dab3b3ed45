"""The lesson of a trial: when it is worth a call, what is asked, and what is made of the answer."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_optimize.errors import BudgetSpent, ContextTooLong, ModelUnavailable
from llm_optimize.propose.language import HUMAN_PROMPT, SYSTEM_PROMPT, size_of
from llm_optimize.propose.language.reflect import Reflection
from llm_optimize.records import Reply, Status, Task, Trial, Usage
from llm_optimize.testing import ScriptedChat

TASK = Task("Sort {fast}.", "A better x?", SYSTEM_PROMPT, HUMAN_PROMPT)
PARENT = Trial.of(1, "a\nb\nc", Status.COMPLETE, "model:m", score=2.0, feedback="fine")


def trial(status=Status.COMPLETE, score=1.0, x="a\nB\nc", feedback="slower", **words):
    score = score if status in (Status.COMPLETE, Status.DUPLICATE) else None
    return Trial.of(
        2, x, status, "model:m", score=score, feedback=feedback, parent=1, **words
    )


def lesson(model, of=None, parent=PARENT):
    return asyncio.run(Reflection(TASK).lesson(of or trial(), parent, model.reply))


@pytest.mark.parametrize(
    ("status", "score", "parent", "wanted"),
    [
        (Status.COMPLETE, 1.0, PARENT, True),
        (Status.COMPLETE, 2.0, PARENT, True),
        (Status.COMPLETE, 2.1, PARENT, False),
        (Status.COMPLETE, 1.0, None, False),
        (Status.COMPLETE, 1.0, trial(Status.FAILED), False),
        (Status.FAILED, None, PARENT, True),
        (Status.FAILED, None, None, True),
        (Status.TIMEOUT, None, PARENT, True),
        (Status.INVALID, None, PARENT, True),
        (Status.DUPLICATE, 1.0, PARENT, False),
        (Status.PENDING, None, PARENT, False),
    ],
)
def test_a_trial_that_did_not_work_is_worth_a_lesson(status, score, parent, wanted):
    assert Reflection(TASK).wants(trial(status, score), parent) is wanted


def test_without_an_x_there_is_nothing_to_learn():
    assert not Reflection.wants(trial(Status.INVALID, x=None), PARENT)


def test_it_is_told_the_task_the_change_and_what_came_of_it():
    model = ScriptedChat("Fine.")
    assert lesson(model, trial(Status.TIMEOUT, feedback="killed at 5 s"))[0] == "Fine."
    system, user = (message["content"] for message in model.asked[0])
    assert "Sort {fast}." in system
    for words in (
        "-b\n+B\n",
        "no score: timeout",
        "killed at 5 s",
        "one to three short sentences",
        "No code",
    ):
        assert words in user


def test_what_is_shown_is_bounded_whatever_x_is():
    for x in ("y" * 100_000, "y\n" * 50_000, {"a.py": "y\n" * 50_000}, {"lr": 0.1}):
        model = ScriptedChat("Fine.")
        assert lesson(model, trial(x=x, feedback="z" * 99_999))[0] == "Fine."
        assert size_of(model.asked[0]) < 20_000


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("The loop is slow. Sort first.", "The loop is slow. Sort first."),
        (
            "**Lesson:** It is\n\nslow, at 0.5 s. Sort\tfirst!",
            "It is slow, at 0.5 s. Sort first!",
        ),
        ("One. Two. Three. Four. Five.", "One. Two. Three."),
        (
            "Sort first:\n```python\nx.sort()\n```\nThen search.",
            "Sort first: Then search.",
        ),
        ("Sort first.\n```python\nx.sort()", "Sort first."),
        ("<think>Hm. Hm.</think>Sort first", "Sort first"),
        ("```\nx\n```", ""),
        ("", ""),
    ],
)
def test_the_answer_becomes_a_line_without_code(reply, said):
    assert lesson(ScriptedChat(reply))[0] == said


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.sampled_from("ab. !?`~\n\t<>"))
    | st.text(max_size=2000).map(lambda text: text * 3)
)
def test_whatever_is_answered_the_lesson_is_one_short_line(reply):
    said, usage = lesson(ScriptedChat(reply))
    assert len(said) <= 400
    assert "\n" not in said
    assert usage.calls == 1


def test_of_an_answer_that_was_cut_off_the_whole_sentences_stay():
    assert (
        lesson(
            ScriptedChat(
                Reply("It is slow. Sort fi", Usage(1), "m", finish_reason="length")
            )
        )[0]
        == "It is slow."
    )
    withheld = Reply(
        "I will not.", Usage(1), "m", incomplete="the reply was withheld (refusal)"
    )
    assert lesson(ScriptedChat(withheld)) == ("", Usage(1))


@pytest.mark.parametrize(
    "error",
    [BudgetSpent("spent"), ModelUnavailable("gone"), ContextTooLong("too long")],
)
def test_a_model_that_fails_leaves_no_lesson(error, caplog):
    with caplog.at_level("INFO", "llm_optimize"):
        assert lesson(ScriptedChat(error)) == ("", Usage())
    assert f"no lesson from trial 2: {error}" in caplog.text
