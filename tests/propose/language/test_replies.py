"""Replies: a text that is edited or written anew, and named texts of which a reply carries those
that it changes."""

import time

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from llm_optimize.errors import UsageError
from llm_optimize.propose.language.fences import fence
from llm_optimize.propose.language.parts import show_parts
from llm_optimize.propose.language.whole import as_written
from llm_optimize.testing import read_reply

EDIT = "<<<<<<< SEARCH\n{}\n=======\n{}\n>>>>>>> REPLACE"
TWO = {"src/a.py": "x = 1\ny = 2\n", "prompt": "Be kind.\n", "b.py": "x = 1\n"}
ugly = st.text(
    st.sampled_from("ab `~\n\r\t#<>=*{}\ufeff\u2028é"), max_size=30
) | st.sampled_from(
    [
        "```\n",
        "~~~\na\n~~~",
        "````\n```\n````",
        "a\n\n<<<<<<< SEARCH\n=======\n>>>>>>> REPLACE\n",
        "### a\n```\nb\n```\n",
    ]
)
names = (
    st.sampled_from(
        [
            "a",
            "a.py",
            "src/a.py",
            "### a",
            "**a**",
            "`a`",
            "File: a",
            "a b",
            "python",
            "```",
            "<think>",
        ]
    )
    | st.text(st.sampled_from("ab #`*/.:-=é<"), min_size=1, max_size=6)
    | st.text(min_size=1, max_size=6)
).filter(lambda name: name == name.strip() and "\n" not in name)


def begins_with_an_edit(text):
    """Return whether a text cannot be told from edits of one."""
    return text.lstrip().startswith("<<<<<")


# One text.


@settings(max_examples=300, deadline=None)
@given(ugly, st.sampled_from(["", "a", "a\nb", "no\rne"]))
@example("x\n<<<<<<< SEARCH\n=======\n>>>>>>> REPLACE\n", "a")
def test_a_whole_text_comes_out_as_it_went_in(x, parent):
    assume(not begins_with_an_edit(x) and x.strip())
    assert read_reply(f"So:\n{fence(x, 'c++')}\n", parent).x == x


@settings(max_examples=300, deadline=None)
@given(ugly)
def test_a_parent_that_is_written_again_is_the_parent(x):
    assume(not begins_with_an_edit(x))
    assert read_reply(fence(x), x).x == x
    assert as_written(x, x) == x


@pytest.mark.parametrize(
    ("x", "parent", "y"),
    [
        ("a\nb", "x\r\ny\r\n", "a\r\nb\r\n"),
        ("a\nb", "x\r\ny\n", "a\nb\n"),  # its line ends are mixed
        ("a\r\nb\n", "x\r\n", "a\r\nb\n"),  # so are these, and meant
        ("a", "x\n\n", "a\n\n"),
        ("a\n\n\n", "x\n", "a\n\n\n"),
        ("a", "\ufeffx", "\ufeffa"),
        ("\ufeffa", "\ufeffx", "\ufeffa"),
        ("a\n", "x", "a\n"),
    ],
)
def test_a_whole_text_gets_from_the_parent_what_no_model_sees(x, parent, y):
    assert as_written(x, parent) == y
    assert read_reply(fence(x), parent).x == y


LONG = "import os\r\n# EVOLVE-BLOCK-START\r\nx = 1\r\n# EVOLVE-BLOCK-END\r\n"


@pytest.mark.parametrize(
    "reply",
    [
        EDIT.format("x = 1", "x = 2"),
        f"<think>```</think>Two is more.\n```python\n{EDIT.format('  x = 1', '  x = 2')}\n```\n",
        EDIT.format("# EVOLVE-BLOCK-START\nx = 1", "# EVOLVE-BLOCK-START\nx = 2"),
        fence("import os\n# EVOLVE-BLOCK-START\nx = 2\n# EVOLVE-BLOCK-END"),
    ],
)
def test_a_protected_text_is_edited_or_written_anew(reply):
    assert read_reply(reply, LONG).x == LONG.replace("1", "2")
    assert read_reply(reply.replace("\n", "\r\n"), LONG).x == LONG.replace("1", "2")


@pytest.mark.parametrize(
    ("reply", "reason", "words"),
    [
        (
            EDIT.format("import os", "import sys"),
            "stop",
            "outside the EVOLVE-BLOCK regions must come back",
        ),
        (
            EDIT.format("", "import sys"),
            "stop",
            r"'import sys\r\n' was added at the end, as line 5",
        ),
        (
            fence("import os\nx = 2"),
            "stop",
            r"line 2 is '# EVOLVE-BLOCK-START\r\n', it came back as 'x = 2\r\n'",
        ),
        (EDIT.format("x = 3", "x = 2"), "stop", "found nowhere"),
        (EDIT.format("x = 1", "x = 2")[:-9], "stop", "no line >>>>>>> REPLACE"),
        (EDIT.format("x = 1", "x = 2"), "length", "cut off"),
        (f"<think>{EDIT.format('x = 1', 'x = 2')}", "stop", "inside <think>"),
        ("```\nx = 1", "stop", "not closed"),
        ("", "stop", "empty"),
        ("No.", "stop", "no fenced block"),
    ],
)
def test_what_cannot_be_read_is_said(reply, reason, words):
    reading = read_reply(reply, LONG, finish_reason=reason)
    assert reading.x is None
    assert words in reading.problem


# Named texts.


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(names, ugly, min_size=1, max_size=4))
@example({"a": "x", "### a": "y"})
@example({"a": "### b\n```\nc\n```\n", "b": "````"})
def test_parts_are_read_as_they_were_shown(parts):
    assume(not any(map(begins_with_an_edit, parts.values())))
    blank = dict.fromkeys(parts, "")
    shown = show_parts(parts)
    assert read_reply(shown, blank).x == parts
    assert read_reply(shown, parts).x == parts
    assert (
        read_reply(
            f"I think:\n\n```\nan example\n```\n\n{shown}\n\nThat is all.", blank
        ).x
        == parts
    )


def full(name):
    return f"{name}\n```python\nx = 3\n```"


@pytest.mark.parametrize(
    "reply",
    [
        full("### src/a.py"),
        full("### `src/a.py`"),
        full("## File: src/a.py"),
        full("### src/a.py:\n"),
        full("**src/a.py**"),
        full("**`src/a.py`**:"),
        full("**File:** `src/a.py`"),
        full("File: src/a.py"),
        full("filename: src/a.py"),
        full("`src/a.py`"),
        full("`src/a.py`:\n\n"),
        full("src/a.py"),
        full("1. **src/a.py**"),
        full("- `src/a.py`:"),
        full("=== src/a.py"),
        "```python src/a.py\nx = 3\n```",
        '```python title="src/a.py"\nx = 3\n```',
        "```python:src/a.py\nx = 3\n```",
        "```src/a.py\nx = 3\n```",
        "~~~python {file=src/a.py}\nx = 3\n~~~",
        "The error was\n```\nboom\n```\nso:\n" + full("src/a.py"),
        full("### Change of prompt and b.py\n\n`src/a.py`"),
        "**src/a.py**\r\n```\r\nx = 3\r\n```\r\n",
    ],
)
def test_a_whole_part_is_read_under_its_name(reply):
    assert read_reply(reply, TWO).x == TWO | {"src/a.py": "x = 3\n"}


@pytest.mark.parametrize(
    "reply",
    [
        "### src/a.py\n" + EDIT.format("x = 1", "x = 3"),
        "### src/a.py\n```python\n" + EDIT.format("x = 1", "x = 3") + "\n```",
        "### src/a.py\n\nThree is better,\nas we know:\n\n```python\n"
        + EDIT.format("x = 1", "x = 3")
        + "\n```",
        "```python src/a.py\n" + EDIT.format("x = 1", "x = 3") + "\n```",
        "```python\nsrc/a.py\n" + EDIT.format("x = 1", "x = 3") + "\n```",
        "```python\n# src/a.py\n" + EDIT.format("x = 1", "x = 3") + "\n```",
        "```html\n<!-- src/a.py -->\n" + EDIT.format("x = 1", "x = 3") + "\n```",
    ],
)
def test_a_part_is_edited_under_its_name(reply):
    second = "\nand then\n" + EDIT.format("y = 2", "y = 4")
    assert read_reply(reply, TWO).x == TWO | {"src/a.py": "x = 3\ny = 2\n"}
    assert read_reply(reply + second, TWO).x == TWO | {"src/a.py": "x = 3\ny = 4\n"}


def test_some_parts_are_edited_others_written_anew_and_the_rest_stays_byte_for_byte():
    parent = {
        "a": "1\r\n2\r\n",
        "b": "\ufeff1\n",
        "c": "\t`` \r\n\n \ufeff",
        "python": "1",
    }
    edit = EDIT.format("2", "3")
    reply = (
        f"### a\n{edit}\n\n### python\n```python\n4\n```\n\n### b\n```python\n5\n```"
    )
    assert read_reply(reply, parent).x == {
        "a": "1\r\n3\r\n",
        "b": "\ufeff5\n",
        "c": parent["c"],
        "python": "4",
    }
    assert parent["a"] == "1\r\n2\r\n"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (full("### src/b.py"), "'src/b.py': did you mean"),
        (full("**promt**"), "'promt': did you mean 'prompt'?"),
        (full("**rubric**"), "'rubric': known are src/a.py, prompt, b.py"),
        (full("c/new.rs"), "'c/new.rs'"),
        ("```src/c.py\nx = 3\n```", "'src/c.py': did you mean 'src/a.py'"),
        ("```python src/c.py\nx = 3\n```", "'src/c.py': did you mean 'src/a.py'"),
        ("### c.py\n" + EDIT.format("x = 1", "x = 3"), "'c.py': did you mean"),
        (
            full("### src/a.py") + "\n### c.py\n" + EDIT.format("x = 3", "x = 4"),
            "'c.py': did you mean",
        ),
        (
            full("Now it is:"),
            "holds no part of x under its name: write ### NAME on the line before",
        ),
        (full("### prompt\nNow it is:"), "holds no part of x under its name"),
        ("No.", "known are src/a.py, prompt, b.py"),
        (EDIT.format("x = 1", "x = 3"), "stands under no name of a part"),
        (
            full("### b.py") + "\n" + full("### b.py").replace("3", "4"),
            "in the part 'b.py', the reply holds several texts",
        ),
        (
            full("### b.py") + "\n" + EDIT.format("x = 1", "x = 3"),
            "in the part 'b.py', the reply holds several texts",
        ),
        (
            "### b.py\n```python src/a.py\nx = 3\n```",
            "under two names, 'b.py' and 'src/a.py'",
        ),
        (
            "### b.py\n" + EDIT.format("x = 7", "x = 3"),
            "in the part 'b.py', the edit is found nowhere in x",
        ),
        ("### b.py\n```\nx = 3\n", "not closed"),
        ("### b.py\n" + EDIT.format("x = 1", "x = 3")[:-9], "REPLACE at its end"),
        ("<think>" + full("### b.py"), "inside <think>"),
        ("", "empty"),
    ],
)
def test_parts_that_cannot_be_read_are_refused_with_the_reason(reply, words):
    parts = read_reply(reply, TWO)
    assert parts.x is None
    assert words in parts.problem


def test_a_reply_of_parts_that_was_cut_off_is_refused():
    assert (
        read_reply(full("### b.py"), TWO, finish_reason="length").problem
        == "the reply was cut off at the token limit"
    )


def test_what_a_part_protects_must_come_back():
    parent = {"a": LONG, "b": "1"}
    assert read_reply("### a\n" + EDIT.format("x = 1", "x = 2"), parent).x == parent | {
        "a": LONG.replace("1", "2")
    }
    problem = read_reply(
        "### a\n" + EDIT.format("import os", "import sys"), parent
    ).problem
    assert problem.startswith(
        "in the part 'a', what stands outside the EVOLVE-BLOCK regions must come back"
    )


def test_wrong_markers_of_the_parent_are_said():
    assert (
        "is never ended" in read_reply("```\na\n```", "# EVOLVE-BLOCK-START\n").problem
    )


@pytest.mark.parametrize("name", ["", " a", "a\n", "a\nb", "\u2028"])
def test_a_name_that_cannot_stand_on_a_line_is_refused(name):
    with pytest.raises(UsageError, match="cannot stand on a line"):
        show_parts({name: "x"})


@pytest.mark.parametrize("sign", ["#", "*", "`", "- ", "/", "a.", "=", "File:"])
def test_a_hostile_line_takes_no_long_time(sign):
    line = sign * (100_000 // len(sign))
    begun = time.perf_counter()
    for inside in (line, f"{line}\n{EDIT}", EDIT):
        assert (
            read_reply(f"{line}\n```{line.replace('`', '')}\n{inside}\n```", TWO).x
            is None
        )
    assert time.perf_counter() - begun < 10
