"""Prompts: bounded, honest about scores, stable first; braces of users are left alone."""

from itertools import takewhile

from llm_optimize.prompts import HUMAN_PROMPT, SYSTEM_PROMPT, ask_again, describe_failure, fill, lay_out
from llm_optimize.records import Plan, Status, Task, Trial
from llm_optimize.text import last_fenced

TASK = Task("Raise f. {braces} stay.", "A better x?", SYSTEM_PROMPT, HUMAN_PROMPT)


def scored(number, score, x="x", feedback="fine"):
    return Trial(number, x, Status.COMPLETE, "m", score=score, feedback=feedback)


def failed(number, feedback="Traceback\nValueError: boom"):
    return Trial(number, f"x{number}", Status.FAILED, "m", feedback=feedback)


def text(messages):
    return "\n".join(message["content"] for message in messages)


def test_values_are_not_filled_again_and_other_braces_stay():
    assert fill('{x} {"score": n} {{}} {fx}', x="{fx} {task_question}", fx="{x}") == (
        '{fx} {task_question} {"score": n} {{}} {x}'
    )


def test_system_first_then_one_question_with_the_parent_last():
    system, user = lay_out(TASK, Plan(scored(3, 0.5, "PARENT"), (scored(1, 0.4, "OTHER"),), (failed(2),)))
    assert system["role"] == "system"
    assert "Raise f. {braces} stay." in system["content"]
    said = user["content"]
    places = [said.index(word) for word in ("OTHER", "ValueError: boom", "PARENT", "A better x?")]
    assert places == sorted(places)
    assert "Traceback" not in said


def test_scores_that_differ_are_told_apart():
    said = text(lay_out(TASK, Plan(scored(3, 0.961111), (scored(1, 0.961112),))))
    assert "score 0.961111\nfine\nTrial 1 is better by 1e-06." in said
    assert "score 0.961112\n" in said


def test_failures_are_one_line_each_and_alike_ones_merged():
    said = text(lay_out(TASK, Plan(scored(3, 1), (), (failed(0), failed(1), failed(2, "other")))))
    assert "- failed: ValueError: boom (2 times)" in said
    assert "- failed: other" in said
    assert "\n" not in describe_failure(failed(0, "a\nb\x1b\n" + "c" * 1000))


def test_a_prompt_stays_in_its_bounds_and_no_x_is_cut():
    xs = {n: f"<{n}>" + "y" * 4000 + f"</{n}>" for n in range(20)}
    plan = Plan(scored(19, 1, xs[19]), tuple(scored(n, n, xs[n]) for n in range(19)), (failed(30),))
    said = text(lay_out(TASK, plan, max_prompt_tokens=8000))
    assert len(said) <= 8000 * 4
    shown = [n for n in xs if f"<{n}>" in said]
    assert all(xs[n] in said for n in shown)
    assert set(shown) >= {18, 17, 19}  # the parent, and of the others the best
    assert len(shown) < 10


def test_a_parent_that_does_not_fit_is_still_whole():
    x = "y" * 100_000
    assert x in text(lay_out(TASK, Plan(scored(0, 1, x), (scored(1, 2),)), max_prompt_tokens=1000))


def test_an_x_with_fences_is_shown_so_that_it_can_be_read_back():
    x = "a\n```\nb\n```\n"
    (_, user) = lay_out(TASK, Plan(scored(0, 1, x)))
    assert last_fenced(user["content"]) == x


def test_a_prompt_of_2023_that_fences_x_itself_gets_it_bare():
    task = Task("d", "q", "sys", "x is\n```\n{x}\n```\nand f(x) = {fx}")
    assert "x is\n```\nxyz\n```\nand f(x) = score 1\n" in text(lay_out(task, Plan(scored(0, 1, "xyz"))))


def test_the_conversation_of_2023_shows_each_x_and_what_it_scored():
    plan = Plan(scored(2, 3, "THIRD"), (scored(0, 1, "FIRST"), failed(1)), transcript=True)
    messages = lay_out(TASK, plan)
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert "FIRST" in messages[1]["content"]
    assert last_fenced(messages[2]["content"]) == "x1"
    assert "no score (failed)" in messages[3]["content"]
    assert last_fenced(messages[4]["content"]) == "THIRD"


def test_a_long_conversation_is_folded_and_keeps_its_champion():
    trials = [scored(n, 100 if n == 3 else n / 100, f"<{n}>" + "y" * 3000) for n in range(60)]
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
        one, other = (text(lay_out(TASK, Plan(trials[n], tuple(trials[:n]), transcript=transcript))) for n in (10, 11))
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
        assert shared > 0.7 * len(one)


def test_a_reply_that_cannot_be_used_is_answered_with_what_was_wrong():
    messages = lay_out(TASK, Plan(None))
    again = ask_again(messages, "no {idea}", "the reply holds no fenced block")
    assert again[: len(messages)] == messages
    assert again[-2] == {"role": "assistant", "content": "no {idea}"}
    assert "holds no fenced block" in again[-1]["content"]
