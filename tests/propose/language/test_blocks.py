"""Blocks: what goes into a fence comes out of it, to the letter, and what is cut off is no
answer."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llm_optimize.propose.language.blocks import NOT_CLOSED, find_blocks
from llm_optimize.propose.language.fences import fence
from llm_optimize.propose.language.thinking import after_thinking
from llm_optimize.testing import read_reply

ugly = st.text(st.sampled_from("ab `~\n\r\t#{}\ufeff\x1bé"), max_size=60) | st.text(
    max_size=60
)
bars = st.sampled_from(
    [
        ("`", 3, ""),
        ("`", 5, "python a.py"),
        ("~", 3, "`md`"),
        ("~", 4, ""),
        ("`", 3, "  c++ "),
    ]
)


def last_block(text):
    return find_blocks(text)[-1].text


def read_x(reply, reason="stop"):
    """Return what a reply makes of nothing: the first x of a run."""
    return read_reply(reply, None, finish_reason=reason)


def is_cut_off(reply):
    problem = read_x(reply).problem
    return problem == NOT_CLOSED or "inside <think>" in problem


@settings(max_examples=300, deadline=None)
@given(ugly, ugly)
@example("", "")
@example("```\n~~~\n````", "why:")
@example("a\r\n", "")
@example("trailing\n\n", "")
def test_what_is_fenced_is_read_back_to_the_letter(x, prose):
    before = prose.replace("`", "").replace("~", "")
    assert last_block(f"{before}\n{fence(x)}") == x
    assert last_block(f"{before}\n{fence(x, 'python')}\nthat is all") == x


@settings(max_examples=300, deadline=None)
@given(
    ugly,
    bars,
    st.sampled_from(["", " ", "   "]),
    st.sampled_from(["", " ", "\t"]),
    st.booleans(),
)
@example("~~~\n```\n~~~~~\r\n", ("~", 3, ""), "", "", True)
@example("\t```\n    ```", ("`", 3, ""), "", "", False)
@example("```python", ("`", 3, ""), "", "", False)
@example("\ufeff", ("`", 3, ""), "", "", False)
def test_any_fence_longer_than_those_in_x_gives_x_back(x, bar, indent, blank, crlf):
    sign, signs, info = bar
    bars = [len(run) for run in re.findall(rf"^[ \t]*({sign}+)", x, re.M)]
    bar = sign * max([signs, *(run + 1 for run in bars)])
    indented = "\n".join(indent + line for line in x.split("\n"))
    reply = f"\ufeffHere:\n{indent}{bar}{info}\n{indented}\n{indent}{bar}{blank}\nDone."
    if crlf:
        reply = reply.replace("\r", "").replace("\n", "\r\n")
        x = x.replace("\r", "").replace("\n", "\r\n")
    assert read_x(reply).x == x
    assert not is_cut_off(reply)


@settings(max_examples=200, deadline=None)
@given(ugly, st.sampled_from(["`", "~"]), st.data())
def test_a_reply_that_ends_inside_its_last_fence_is_known_for_it(x, sign, data):
    block = fence(x.replace("~", "-"), "py").replace("`", sign)
    before = data.draw(
        st.sampled_from(["", "<think>\n```\n</think>\n", "```\na\n```\n"])
    )
    opened = block.index("\n")
    cut = before + block[: data.draw(st.integers(opened, len(block) - 1))]
    assert not is_cut_off(before + block)
    assert is_cut_off(cut)
    assert read_x(cut).problem == NOT_CLOSED


@pytest.mark.parametrize(
    ("reply", "cut_off"),
    [
        ("", False),
        ("No fence.", False),
        ("<think>Hmm", True),
        ("\ufeff\n<think>\n```\na\n```", True),
        ("<think>Hmm</think>", False),
        ("<think>```\n</think>```\na\n```", False),
        ("I write <think> here", False),
        ("```\n<think>\n```", False),
        ("~~~\n```\n~~~", False),
        ("~~~\n```", True),
        ("````\n```", True),
        ("```\na\n\t```", True),
        ("```md\n```py\na\n```\n```", False),  # Markdown may hold fences
        ("```md\n```py\na\n```", True),
        ("```c\na\n```py\nb\n", True),
    ],
)
def test_a_reply_that_is_cut_off_is_known_for_it(reply, cut_off):
    assert is_cut_off(reply) is cut_off


def test_what_the_model_thinks_is_no_answer():
    assert (
        read_x("<think>```\ndraft\n```</think>No.").problem
        == "the reply holds no fenced block"
    )
    assert (
        read_x("<think>```\ndraft\n```").problem
        == "the reply ends inside <think>, before its answer"
    )
    assert read_x("<think>Hm.</think>").problem == "the reply is empty"
    assert read_x("```\n<think>a</think>\n```").x == "<think>a</think>"
    assert after_thinking("<think>a</think><think>b</think>") == "<think>b</think>"


@pytest.mark.parametrize(
    ("reply", "x"),
    [
        (
            "first\n```\none\n```\nthen\n```\ntwo\n```\n",
            "two",
        ),  # two blocks are not glued together
        ("```c++\nint x;\n```", "int x;"),  # the tag is not part of x
        ("````\n```\ninner\n```\n````", "```\ninner\n```"),
        ("~~~python\nx = 1\n~~~", "x = 1"),
        ("~~~\n```\n~~~", "```"),
        ("```\r\na\r\nb\r\n```\r\n", "a\r\nb"),
        ("\ufeff```\na\n```", "a"),
        ("  ```\na\n  ```", "a"),
        ("```\na\n``` \t", "a"),
        ("```\na\n`````", "a"),
        ("```\n```", ""),
        ("text ``` not a fence ``` text\n```\na\n```", "a"),
        ("```inline``` code\n```\na\n```", "a"),
        ("```\n    ```\n```", "    ```"),  # four spaces make it text
        ("```\n\t```\n```", "\t```"),  # so does a tab
    ],
)
def test_ugly_replies_are_read_as_meant(reply, x):
    assert read_x(reply).x == x


@pytest.mark.parametrize(
    ("reply", "reason", "words"),
    [
        ("", "stop", "empty"),
        ("I give up", "stop", "no fenced block"),
        ("```\na\n```\n```\nb", "stop", "not closed"),
        ("```\na\n```", "length", "cut off"),
        ("", "refusal", "withheld"),
        ("```\na\n```", "content_filter", "withheld"),
    ],
)
def test_a_reply_without_a_whole_x_says_what_is_wrong(reply, reason, words):
    reading = read_x(reply, reason)
    assert reading.x is None
    assert words in reading.problem
