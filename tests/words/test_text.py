"""Text for display: clipped, on one line, and harmless, whatever it holds."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

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


@settings(max_examples=200, deadline=None)
@given(ugly)
def test_lines_put_together_are_the_text(text):
    lines = lines_of(text)
    assert "".join(lines) == text
    assert all(line.find("\n") in (-1, len(line) - 1) for line in lines)
    assert len(lines) == text.count("\n") + (text[-1:] not in ("", "\n"))


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
