"""Text: what goes into a fence comes out of it, to the letter; long and hostile text is made harmless."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llm_optimize.text import (
    clip,
    fence,
    key_of,
    last_fenced,
    last_json_object,
    one_line,
    read_x,
    show_number,
    show_x,
    unified_diff,
    visible,
)

ugly = st.text(st.sampled_from("ab `~\n\r\t#{}\ufeff\x1bé"), max_size=60) | st.text(max_size=60)


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


@pytest.mark.parametrize(
    ("reply", "x"),
    [
        ("first\n```\none\n```\nthen\n```\ntwo\n```\n", "two"),  # two blocks are not glued together
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
        len(re.findall(r"\ba+\b", clipped)[0]) + len(re.findall(r"\ba+\b", clipped)[1]) + int(clipped.split()[2])
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
    assert unified_diff("a\nb", "a\nc").splitlines()[2:] == ["@@ -1,2 +1,2 @@", " a", "-b", "+c"]
    assert unified_diff("a", "a") == ""
