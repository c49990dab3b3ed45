"""The model proposer: whole answers only, edits, parts, parameters, bounds, and what it goes on
with after a resume."""

import asyncio
import json
from random import Random

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from llm_optimize.errors import BudgetSpent, ModelUnavailable
from llm_optimize.propose.language import HUMAN_PROMPT, SYSTEM_PROMPT, size_of
from llm_optimize.propose.language.blocks import find_blocks
from llm_optimize.propose.language.fences import fence
from llm_optimize.propose.language.parts import show_parts
from llm_optimize.propose.model import ModelProposer
from llm_optimize.records import Plan, Reply, Status, Task, Trial, Usage
from llm_optimize.space import Choice, Float, Int, Space
from llm_optimize.testing import ScriptedChat, read_reply

TASK = Task("Raise f.", "A better x?", SYSTEM_PROMPT, HUMAN_PROMPT)
SPACE = Space(
    {
        "lr": Float(0.01, 1, log=True),
        "layers": Int(1, 4),
        "kind": Choice("relu", "tanh"),
    }
)
X = {"lr": 0.1, "layers": 2, "kind": "relu"}
EDIT = "<<<<<<< SEARCH\n{}\n=======\n{}\n>>>>>>> REPLACE"


def scored(number, x, score=1.0, **words):
    return Trial.of(
        number, x, Status.COMPLETE, "model:m", score=score, feedback="fine", **words
    )


def propose(model, parent=None, space=None, proposer=None, **plan):
    """Return what comes of one proposal on a parent of this x."""
    proposer = proposer or ModelProposer(TASK, space)
    ask = shaped(model) if space else model.reply
    return asyncio.run(
        proposer.propose(
            Plan(None if parent is None else scored(0, parent), **plan), ask, Random(0)
        )
    )


def shaped(model):
    async def ask(messages, schema=None):
        model.schemas = [*getattr(model, "schemas", []), schema]
        return await model.reply(messages)

    return ask


def last_block(text):
    return find_blocks(text)[-1].text


def last(model, place=-1):
    return model.asked[place][-1]["content"]


# To the byte.

ugly = st.text(
    st.sampled_from("ab `~\n\r\t#<>=*{}\ufeff\u2028é"), max_size=40
) | st.sampled_from(
    [
        "```\n",
        "~~~\na\n~~~",
        "````\n```\n````",
        "a\r\nb\r\n",
        "\ufeffa",
        "no end",
        "### a\n```\nb\n```\n",
        "\n\n",
        "",
    ]
)


@settings(max_examples=300, deadline=None)
@given(ugly, st.booleans())
@example("a\r\n```\r\nb", False)
def test_an_x_that_is_read_from_the_prompt_and_sent_back_comes_out_byte_for_byte(
    x, transcript
):
    assume(not x.lstrip().startswith("<<<<<"))
    model = ScriptedChat(
        lambda messages: f"I keep it.\n\n{fence(last_block(messages[-1]['content']))}"
    )
    assert propose(model, x, transcript=transcript).x == x


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["a", "src/b.py", "c d", "python"]), ugly, min_size=1
    )
)
def test_so_do_named_texts(parts):
    assume(not any(text.lstrip().startswith("<<<<<") for text in parts.values()))
    blank = dict.fromkeys(parts, "")

    def send_back(messages):
        shown = (
            messages[-1]["content"]
            .partition("The x to improve:\n")[2]
            .partition("\n\nWhat the judge said")[0]
        )
        return show_parts(read_reply(shown, blank).x or {})

    assume("\n\nWhat the judge said" not in show_parts(parts))
    assert propose(ScriptedChat(send_back), parts).x == parts


@settings(max_examples=200, deadline=None)
@given(ugly, ugly)
def test_an_edit_leaves_the_rest_byte_for_byte(head, tail):
    x = f"{head}\nUNIQUE LINE\r\n{tail}"
    assume("<<<<<" not in x)
    proposal = propose(ScriptedChat(EDIT.format("UNIQUE LINE", "ANOTHER LINE")), x)
    assert proposal.x == x.replace("UNIQUE", "ANOTHER")


# Whole answers only.

CUT_OFF = Reply("```\nx = 1\n```\nand", Usage(1), "m", finish_reason="length")
INCOMPLETE = [
    (CUT_OFF, "cut off at the token limit"),
    (Reply("", Usage(1), "m"), "the reply is empty"),
    (
        Reply(
            "```\n1\n```", Usage(1), "m", incomplete="the reply was withheld (refusal)"
        ),
        "withheld",
    ),
    (Reply("<think>```\n1\n```", Usage(1), "m"), "inside <think>"),
    (Reply('So:\n```\n{"lr": 0.1, "layers": 1, "kind"', Usage(1), "m"), ""),
    (Reply("I cannot.", Usage(1), "m"), ""),
]


@pytest.mark.parametrize(("reply", "words"), INCOMPLETE)
@pytest.mark.parametrize("space", [None, SPACE])
def test_an_answer_that_is_not_whole_is_asked_again_twice_and_given_up(
    reply, words, space
):
    parent = X if space else "x = 0"
    model = ScriptedChat(reply, reply, reply, "never asked for")
    proposal = propose(model, parent, space)
    assert proposal.x is None
    assert words in proposal.problem
    assert proposal.usage.calls == 3
    assert len(model.asked) == 3
    assert words in last(model)
    assert size_of(model.asked[2]) < size_of(model.asked[0]) + 600
    good = json.dumps(X | {"layers": 3}) if space else "```\nx = 2\n```"
    assert propose(ScriptedChat(reply, good), parent, space).x == (
        X | {"layers": 3} if space else "x = 2"
    )


def test_an_empty_or_cut_off_reply_is_not_quoted():
    model = ScriptedChat(CUT_OFF, "```\nx = 2\n```")
    propose(model, "x = 0")
    assert [message["role"] for message in model.asked[1]] == ["system", "user"]
    model = ScriptedChat("I cannot.", "```\nx = 2\n```")
    propose(model, "x = 0")
    assert [message["role"] for message in model.asked[1]] == [
        "system",
        "user",
        "assistant",
        "user",
    ]


def test_thinking_is_no_part_of_x():
    model = ScriptedChat(
        "<think>```\nno\n```</think>```\nyes\n```",
        Reply("```\nyes\n```", Usage(1), "m", reasoning="no"),
    )
    assert propose(model).x == "yes"
    assert propose(model).x == "yes"


def test_a_budget_that_ends_between_two_tries_leaves_an_invalid_trial_and_none_before_the_first():
    proposal = propose(ScriptedChat("I cannot.", BudgetSpent("spent")), "x")
    assert (proposal.x, proposal.usage.calls) == (None, 1)
    assert "no fenced block" in proposal.problem
    with pytest.raises(BudgetSpent):
        propose(ScriptedChat(BudgetSpent("spent")), "x")
    with pytest.raises(ModelUnavailable):
        propose(ScriptedChat("I cannot.", ModelUnavailable("gone")), "x")


# A long x.

PROGRAM = "".join(f"line_{n} = {n}\r\n" for n in range(300))


def test_a_long_x_is_edited_and_the_rest_stays():
    model = ScriptedChat(
        f"Better.\n```\n{EDIT.format('line_7 = 7', 'line_7 = 8')}\n```"
    )
    assert propose(model, PROGRAM).x == PROGRAM.replace("line_7 = 7\r", "line_7 = 8\r")
    assert "Instead of the complete x you may answer with edits" in last(model)


def test_edits_that_fail_are_corrected_once_and_then_a_whole_x_is_asked_for():
    wrong = EDIT.format("line_7 == 7", "line_7 = 8")
    model = ScriptedChat(wrong, wrong, fence("every = 1"))
    assert propose(model, PROGRAM).x == "every = 1\r\n"
    assert "    8 | line_7 = 7" in last(model, 1)
    assert "corrected SEARCH/REPLACE edits" in last(model, 1)
    assert model.asked[1][-2]["content"] == wrong
    assert last(model, 2).endswith(
        "the complete next x in one fenced code block at the very end."
    )
    assert "corrected" not in last(model, 2)


def test_edits_that_fail_are_corrected():
    model = ScriptedChat(
        EDIT.format("line_7 == 7", ""), EDIT.format("line_7 = 7", "line_7 = 9")
    )
    assert propose(model, PROGRAM).x == PROGRAM.replace("line_7 = 7\r", "line_7 = 9\r")


def test_only_marked_regions_may_change():
    x = "import os\n# EVOLVE-BLOCK-START\na = 1\n# EVOLVE-BLOCK-END\n"
    model = ScriptedChat(
        fence("import sys\n# EVOLVE-BLOCK-START\na = 2\n# EVOLVE-BLOCK-END\n"),
        EDIT.format("a = 1", "a = 3"),
    )
    assert propose(model, x).x == x.replace("1", "3")
    assert "line 1 is 'import os\\n', it came back as 'import sys\\n'" in last(model)


def test_an_x_whose_markers_no_child_could_keep_is_refused():
    model = ScriptedChat(fence("# EVOLVE-BLOCK-START\nb"), fence("b"))
    assert propose(model, "a").x == "b"
    assert "is never ended" in last(model)


# Named texts.

TWO = {"a.py": "x = 1\r\n", "b.py": "y = 1\n"}


def test_a_reply_carries_only_the_parts_that_it_changes():
    model = ScriptedChat("### b.py\n```\ny = 2\n```")
    assert propose(model, TWO).x == TWO | {"b.py": "y = 2\n"}
    assert "### a.py" in last(model)


def test_parts_that_cannot_be_read_are_asked_again():
    model = ScriptedChat(
        "```\ny = 2\n```",
        "### c.py\n```\n1\n```",
        "### b.py\n" + EDIT.format("y = 1", "y = 3"),
    )
    assert propose(model, TWO).x == TWO | {"b.py": "y = 3\n"}
    assert "under a line ### NAME." in last(model, 1)
    assert "a part that x does not have, 'c.py'" in last(model, 2)


def test_a_dict_of_other_things_is_answered_as_json():
    assert propose(ScriptedChat('```json\n{"a": [2]}\n```'), {"a": [1]}).x == {"a": [2]}


# Parameters.


@pytest.mark.parametrize(
    ("reply", "x", "note"),
    [
        (
            'first {"lr": 1} then\n```json\n{"lr": 0.5, "layers": 3, "kind": "tanh"}\n```',
            (0.5, 3, "tanh"),
            "",
        ),
        ('{"lr": "0.5", "layers": 3, "kind": "tanh"}', (0.5, 3, "tanh"), None),
        ('{"lr": 7, "layers": 3, "kind": "tanh"}', (1.0, 3, "tanh"), "lr"),
        ('{"layers": 3}', (0.1, 3, "relu"), "kind"),
        (
            '{"trial": 9, "x": {"lr": 0.5, "layers": 3, "kind": "tanh"}}',
            (0.5, 3, "tanh"),
            "",
        ),
        (
            '<think>{"lr": 1}</think>{"lr": 0.5, "layers": 3, "kind": "tanh"}',
            (0.5, 3, "tanh"),
            "",
        ),
    ],
)
def test_parameters_are_read_mended_and_what_was_mended_is_noted(reply, x, note):
    model = ScriptedChat(reply)
    proposal = propose(model, X, SPACE)
    assert proposal.x == dict(zip(X, x, strict=True))
    assert note is None or (note in proposal.note and bool(note) == bool(proposal.note))
    assert model.schemas == [SPACE.schema()]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ('{"lrr": 0.5}', "did you mean 'lr'"),
        ('{"lr": "fast"}', "'fast' is not a number"),
        ('{"kind": "elu"}', "'elu' is none of"),
        ("lr = 0.5", "no whole JSON object"),
    ],
)
def test_parameters_that_cannot_be_mended_are_asked_again_with_the_reason(reply, words):
    model = ScriptedChat(reply, json.dumps(X | {"lr": 0.5}))
    assert propose(model, X, SPACE).x == X | {"lr": 0.5}
    assert words in last(model)
    assert last(model).endswith(
        "one JSON object in a fenced code block at the very end."
    )


def test_a_configuration_that_was_tried_is_asked_again_once():
    for second, calls in ((X, 2), (X | {"lr": 0.2}, 2)):
        proposer = ModelProposer(TASK, SPACE)
        proposer.observe(scored(4, X))
        model = ScriptedChat(
            json.dumps(X), json.dumps(second), json.dumps(X | {"lr": 0.9})
        )
        assert propose(model, X, SPACE, proposer).x == second
        assert len(model.asked) == calls
        assert "tried already, as trial 4" in last(model)


def test_tried_configurations_are_shown_and_the_best_of_many_stay():
    proposer = ModelProposer(TASK, SPACE)
    for number in range(230):
        proposer.observe(
            scored(number, X | {"lr": 0.01 + number / 1000}, score=-abs(number - 30))
        )
    model = ScriptedChat(json.dumps(X | {"lr": 0.5}))
    propose(model, X, SPACE, proposer)
    numbers = [
        json.loads(line)["trial"]
        for line in last(model).splitlines()
        if line.startswith('{"trial"')
    ]
    assert numbers == sorted(numbers)
    assert len(numbers) <= 100
    assert {30, 31, 29, 229, 228} <= set(numbers)


# What it remembers.


def told(trials, **options):
    proposer = ModelProposer(TASK, **options)
    for trial in trials:
        proposer.observe(trial)
    return proposer


def prompt_of(proposer, plan):
    model = ScriptedChat("```\n1\n```")
    asyncio.run(proposer.propose(plan, model.reply, Random(0)))
    return last(model)


def failing(number, x, parent, **words):
    return Trial.of(
        number,
        x,
        Status.FAILED,
        "model:m",
        feedback=f"E{number}",
        parent=parent,
        **words,
    )


def test_the_last_lessons_are_shown_and_one_more_leaves_the_others_where_they_are():
    trials = [failing(n, f"x{n}", None, lesson=f"Lesson {n}.") for n in range(20)]
    plan = Plan(scored(99, "x"))
    said = prompt_of(told(trials, lessons_shown=3), plan)
    assert [n for n in range(20) if f"- trial {n}: Lesson {n}." in said] == [17, 18, 19]
    before = prompt_of(told(trials[:19], lessons_shown=3), plan).splitlines()
    assert (
        sum(one != other for one, other in zip(before, said.splitlines(), strict=True))
        == 1
    )
    assert "Lesson" not in prompt_of(told(trials, lessons_shown=0), plan)


def test_a_failure_is_remembered_by_what_it_changed():
    x = "\n".join(f"line {n}" for n in range(50))
    trials = [scored(0, x), failing(1, x.replace("line 7\n", "line seven\n"), 0)]
    said = prompt_of(told(trials), Plan(trials[0], failures=(trials[1],)))
    assert "- failed: E#; tried: line seven" in said.replace("E1", "E#")


def test_a_trial_that_is_told_again_replaces_what_was_known():
    first, again = (
        failing(1, "a", None, lesson="Old."),
        failing(1, "a", None, lesson="New."),
    )
    said = prompt_of(told([first, again]), Plan(scored(9, "x")))
    assert "New." in said
    assert "Old." not in said


@pytest.mark.parametrize("space", [None, SPACE])
def test_after_a_resume_it_says_the_same(space):
    dice = Random(3)
    trials = []
    for number in range(150):
        x = (
            SPACE.sample(dice)
            if space
            else "\n".join(str(dice.randrange(99)) for _ in range(30))
        )
        parent = dice.randrange(number) if number else None
        words = {"parent": parent, "lesson": f"L{number}" if number % 3 else ""}
        trials.append(
            failing(number, x, **words)
            if number % 5 == 4
            else scored(number, x, dice.random(), **words)
        )
    lived = ModelProposer(TASK, space)
    for trial in trials:
        lived.observe(trial)
        if trial.number % 10 == 0 and trial.scored:
            reply = Reply("I cannot.", Usage(1, 300, 3, estimated=True), "m")
            propose(ScriptedChat(reply, reply, reply), trial.x, space, lived)
    plan = Plan(
        trials[148],
        tuple(trials[140:144]),
        tuple(trial for trial in trials[100:] if not trial.scored),
    )
    for transcript in (True, False):
        plan = Plan(plan.parent, plan.context, plan.failures, transcript)
        prompts = []
        for proposer in (lived, told(trials, space=space)):
            model = ScriptedChat(*[json.dumps(X)] * 3)
            asyncio.run(
                proposer.propose(
                    plan, shaped(model) if space else model.reply, Random(0)
                )
            )
            prompts.append(model.asked[0])
        assert prompts[0] == prompts[1]
