"""Text for display and in fences: read back to the letter; hostile text is harmless."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llm_optimize.propose.language.fences import (
    NOT_CLOSED,
    after_thinking,
    fence,
    is_cut_off,
    last_fenced,
    last_json_object,
    read_x,
)
from llm_optimize.text import (
    clip,
    key_of,
    lines_of,
    one_line,
    show_number,
    show_x,
    unified_diff,
    visible,
)

ugly = st.text(st.sampled_from("ab `~\n\r\t#{}\ufeff\x1bé"), max_size=60) | st.text(
    max_size=60
)


@settings(max_examples=300, deadline=None)
@given(ugly, ugly)
@example("", "")
@example("```\n~~~\n````", "why:")
@example("a\r\n", "")
@example("trailing\n\n", "")
def test_what_is_fenced_is_read_back_to_the_letter(x, prose):
    before = prose.replace("`", "").replace("~", "")
    assert last_fenced(f"{before}\n{fence(x)}") == x
    assert last_fenced(f"{before}\n{fence(x, 'python')}\nthat is all") == x


bars = st.sampled_from(
    [
        ("`", 3, ""),
        ("`", 5, "python a.py"),
        ("~", 3, "`md`"),
        ("~", 4, ""),
        ("`", 3, "  c++ "),
    ]
)


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
    closing = [
        len(run) for run in re.findall(rf"^ {{0,3}}({sign}+)[ \t]*\r?$", x, re.M)
    ]
    bar = sign * max([signs, *(run + 1 for run in closing)])
    reply = f"\ufeffHere:\n{indent}{bar}{info}\n{x}\n{indent}{bar}{blank}\nDone."
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
        ("```md\n```py\na\n```\n```", True),  # a fence inside of another as long
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


@settings(max_examples=200, deadline=None)
@given(ugly)
def test_lines_put_together_are_the_text(text):
    lines = lines_of(text)
    assert "".join(lines) == text
    assert all(line.find("\n") in (-1, len(line) - 1) for line in lines)
    assert len(lines) == text.count("\n") + (text[-1:] not in ("", "\n"))


@pytest.mark.parametrize(
    ("reply", "x"),
    [
        (
            "first\n```\none\n```\nthen\n```\ntwo\n```\n",
            "two",
        ),  # two blocks are not glued together
        ("```c++\nint x;\n```", "int x;"),  # the tag is no part of x
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


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ('no {"a": 1} then ```json\n{"b": {"c": "}"}}\n``` done', {"b": {"c": "}"}}),
        ('cut {"a": 1} {"b": ', {"a": 1}),
        ("{none} {", None),
        ("{" * 5000, None),
        ('{"a":' * 100_000, None),
    ],
)
def test_the_last_whole_object_counts(reply, value):
    assert last_json_object(reply) == value


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=400), st.integers(0, 300))
def test_clipped_text_is_never_longer_and_keeps_both_ends(text, max_chars):
    clipped = clip(text, max_chars)
    assert len(clipped) <= max_chars or clipped == text
    if len(text) > max_chars >= 60:
        assert clipped[0] == text[0]
        assert clipped[-1] == text[-1]
        assert "characters ...]" in clipped


def test_the_note_of_a_clipped_text_counts_right():
    clipped = clip("a" * 1000, 100)
    assert (
        len(re.findall(r"\ba+\b", clipped)[0])
        + len(re.findall(r"\ba+\b", clipped)[1])
        + int(clipped.split()[2])
        == 1000
    )


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=100))
def test_visible_text_can_do_nothing(text):
    shown = visible(text + "\x1b]0;title\x07\u202e\x9b")
    assert all(char in "\n\t" or char.isprintable() for char in shown)
    assert not set(shown) & set("\x1b\x07\u202e\x9b\r")


def test_numbers_have_digits_enough():
    assert show_number(0.5) == "0.5"
    assert show_number(123456.0) == "1.235e+05"
    assert show_number(0.1 + 0.2, [0.3]) == "0.30000000000000004"
    assert show_number(1e-9, [0.0]) == "1e-09"
    assert show_number(-0.0) == "0"
    assert show_number(2.0, [2.0, float("nan")]) == "2"


def test_equal_candidates_have_one_key():
    assert key_of("a = 1  \n\n") == key_of("\na = 1\r\n")
    assert key_of("a\nb") != key_of("ab")
    assert key_of(" a") != key_of("a")  # indentation counts
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    assert key_of({"a": 1}) != key_of({"a": 2})


def test_small_things():
    assert one_line("a\x1b\n\n b" * 100, 10) == "a\\x1b ba\\…"
    assert show_x({"a": 1}) == '{\n "a": 1\n}'
    assert show_x({"a.py": "x\n", "b.py": "y\n"}) == "=== a.py\nx\n\n=== b.py\ny\n"
    assert unified_diff("a\nb", "a\nc").splitlines()[2:] == [
        "@@ -1,2 +1,2 @@",
        " a",
        "-b",
        "+c",
    ]
    assert unified_diff("a", "a") == ""
