"""Edits: what a model writes is read to the letter, and what it leaves alone stays as it is, byte
for byte."""

import re
import time

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from llm_optimize.errors import EditFailed, UsageError
from llm_optimize.propose.language.blocks import Edit, find_edits
from llm_optimize.propose.language.edits import apply_edits

MARKERS = [
    "<<<<<<< SEARCH",
    "=======",
    ">>>>>>> REPLACE",
    "<<<<< SEARCH",
    "======",
    ">>>>>>>>> REPLACE",
]
ugly_line = st.sampled_from(
    [
        *MARKERS,
        "```",
        "````python",
        "~~~",
        "  ```",
        "<think>",
        "</think>",
        "### a.py",
        "",
    ]
)
ugly_line |= st.text(st.sampled_from("ab <=>#`~\t\ufeffé\u2028\x0c\r"), max_size=8)
line_ends = st.sampled_from(["\n", "\r\n"])
ugly_lines = st.lists(st.tuples(ugly_line, line_ends).map("".join), max_size=5).map(
    "".join
)


def written(edit, signs):
    divider = "=" * signs
    head, tail = f"{'<' * signs} SEARCH\n", f"{'>' * signs} REPLACE\n"
    return f"{head}{edit.search}{divider}\n{edit.replace}{tail}"


def free_signs(edit):
    """Return how many signs the markers need so that no line of the edit looks like one."""
    runs = re.findall(r"<+|=+|>+", edit.search + edit.replace)
    return next(signs for signs in range(5, 99) if signs not in map(len, runs))


edits_of_any_text = st.lists(
    st.builds(Edit, ugly_lines, ugly_lines), min_size=1, max_size=3
)


@settings(max_examples=400, deadline=None)
@given(
    edits_of_any_text,
    st.sampled_from(["", "```", "~~~", "````diff", "```python\na/b.py"]),
    st.booleans(),
)
@example([Edit("", "```\n")], "```", False)
@example([Edit("<<<<<<< SEARCH\n", ">>>>>>> REPLACE\n")], "", True)
def test_edits_are_read_as_they_were_written_whatever_they_hold(edits, fence, thinks):
    bar = fence.rstrip("abcdefghijklmnopqrstuvwxyz\n/.")
    shown = "\nso:\n".join(
        f"{fence}\n{written(edit, free_signs(edit))}{bar}" for edit in edits
    )
    reply = (
        f"\ufeff<think>```\n<<<<<<< SEARCH</think>Now:\n{shown}\nDone."
        if thinks
        else shown
    )
    assert find_edits(reply) == tuple(edits)


@settings(max_examples=100, deadline=None)
@given(edits_of_any_text)
def test_many_edits_may_share_a_fence(edits):
    shown = "\n".join(written(edit, free_signs(edit)) for edit in edits)
    assert find_edits(f"```\n{shown}```\n") == tuple(edits)


@pytest.mark.parametrize(
    "reply",
    [
        "<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE",
        "<<<<<<< SEARCH  \na\n======= \t\nb\n>>>>>>> REPLACE \n",
        "<<<<< SEARCH\na\n=====\nb\n>>>>> REPLACE",
        "<<<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE",  # markers of unequal length, but clear
        "<<<<<<<SEARCH>\na\n=======\nb\n>>>>>>>replace\n",
        " <<<<<<< search\na\n =======\nb\n >>>>>>> REPLACE\n",
        "```python\n\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n```",
        "```\nsrc/a.py\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n\n```\n",
        "Before it was\n```\nx\n<<<<<<< SEARCH\n```\n"
        "<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE",
        "Title\n=======\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE",
    ],
)
def test_edits_are_found_as_models_write_them(reply):
    assert find_edits(reply) == (Edit("a\n", "b\n"),)
    assert find_edits(reply.replace("\n", "\r\n")) == (Edit("a\r\n", "b\r\n"),)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "x",
        "```\na\n```",
        "<<<<<<< HEAD\na\n=======\nb\n>>>>>>> main",
        "a << SEARCH",
        "    <<<<<<< SEARCH",
    ],
)
def test_a_reply_without_edits_has_none(reply):
    assert find_edits(reply) == ()


def test_a_whole_text_that_holds_markers_is_no_edit():
    assert (
        find_edits("```\nWrite\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n```")
        == ()
    )
    assert (
        find_edits(
            "```\na.py\nas in\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n```"
        )
        == ()
    )


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (
            "<<<<<<< SEARCH\na\n=======\nb\n",
            "that begins with 'a' has no line >>>>>>> REPLACE at its end",
        ),
        ("<<<<<<< SEARCH\na\n", "no line >>>>>>> REPLACE at its end"),
        ("<<<<<<< SEARCH\na\n>>>>>>> REPLACE", "has no line ======="),
        (
            "<<<<<<< SEARCH\nT\n=======\n=======\nU\n>>>>>>> REPLACE",
            "several lines =======; .* write longer ones",
        ),
        ("<<<<<<< SEARCH\nT\n=====\n======\nU\n>>>>>>> REPLACE", "several lines"),
        (
            "<<<<<<< SEARCH\na\n<<<<<<< SEARCH\nb\n=======\nc\n>>>>>>> REPLACE",
            "'a' has no line >>>>>>> REPLACE",
        ),
        (
            "<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n>>>>>>> REPLACE",
            "ends no edit",
        ),
        (
            "```\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\nb\n>>>>>>> REPLACE\n```",
            "ends no edit",
        ),
        ("```\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\nx", "not closed"),
        ("<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n```py\n", "not closed"),
    ],
)
def test_edits_that_are_not_whole_or_not_clear_are_refused(reply, words):
    with pytest.raises(EditFailed, match=words):
        find_edits(reply)


# Making.


def spliced(lines, windows, line_end, ended):
    """Return the text with other lines in the windows (begin, end, text), the plain way."""
    made, at = [], 0
    for begin, end, text in windows:
        made += lines[at:begin] + [
            line.removesuffix("\r") for line in text.split("\n")[:-1]
        ]
        at = end
    made += lines[at:]
    last_deleted = windows and windows[-1][1] == len(lines) and not windows[-1][2]
    text = "".join(line + line_end for line in made)
    return text if ended or last_deleted else text.removesuffix(line_end)


short_lines = st.lists(
    st.sampled_from(["a", "b", "\ta", "  a", "a ", "", "```", "=======", "é"]),
    min_size=1,
    max_size=9,
)


@settings(max_examples=500, deadline=None)
@given(
    short_lines, line_ends, st.booleans(), st.sampled_from(["", "\ufeff"]), st.data()
)
def test_lines_of_x_are_replaced_where_they_are_found_once_and_all_others_stay(
    lines, line_end, ended, bom, data
):
    places = sorted(
        data.draw(st.lists(st.integers(0, len(lines)), max_size=6, unique=True))
    )
    windows = [
        (a, b, data.draw(ugly_lines))
        for a, b in zip(places[::2], places[1::2], strict=False)
    ]
    full = [line + line_end for line in lines]
    if not ended:
        full[-1] = full[-1].removesuffix(line_end)
    assume(full[-1])
    searched = [full[a:b] for a, b, _ in windows]
    assume(all("".join(search).strip() for search in searched))
    edits = [
        Edit("".join(search), text)
        for search, (_, _, text) in zip(searched, windows, strict=True)
    ]
    x = bom + "".join(full)
    line_end = line_end if "\n" in x else "\n"
    clear = all(
        [full[i : i + len(s)] for i in range(len(full))].count(s) == 1 for s in searched
    )
    if clear:
        assert apply_edits(x, edits) == bom + spliced(lines, windows, line_end, ended)
        assert apply_edits(x, edits[::-1]) == apply_edits(x, edits)
    else:
        with pytest.raises(EditFailed, match=r"fits in \d places of x"):
            apply_edits(x, edits)


blank_ends = st.sampled_from(["", " ", "\t", "  \t"])
text_line = st.text(st.sampled_from("ab<=>#`~é"), min_size=1, max_size=6)


@settings(max_examples=300, deadline=None)
@given(
    ugly_lines,
    ugly_lines,
    st.lists(text_line, max_size=3),
    st.lists(text_line, max_size=3),
    st.data(),
)
def test_lines_around_the_change_keep_their_own_white_space(
    before, behind, above, below, data
):
    """The search may differ in blanks at the ends of lines, in line ends, and in an indentation of
    all lines."""
    indent = data.draw(st.sampled_from(["", "\t", "    ", "\t\t"]))
    had = (
        ["@" + above_line for above_line in above]
        + ["@old"]
        + ["@" + line for line in below]
    )
    old = [indent + line + data.draw(blank_ends) + data.draw(line_ends) for line in had]
    at, more = len(above), data.draw(st.sampled_from(["", "  ", "\t"]))
    given_indent = data.draw(st.sampled_from(["", indent, more + indent]))
    search = [given_indent + line + data.draw(blank_ends) for line in had]
    new = [f"@new {number}" for number in range(data.draw(st.integers(0, 3)))]
    replace = search[:at] + [given_indent + line for line in new] + search[at + 1 :]
    line_end = "\r\n" if old[0].endswith("\r\n") else "\n"
    expected = old[:at] + [indent + line + line_end for line in new] + old[at + 1 :]
    edit = Edit("\n".join(search) + "\n", "".join(line + "\n" for line in replace))
    x = f"{before}{''.join(old)}{behind}"
    assert apply_edits(x, [edit]) == f"{before}{''.join(expected)}{behind}"


@pytest.mark.parametrize(
    ("x", "edit", "y"),
    [
        ("", Edit("", "a\nb"), "a\nb"),
        ("", Edit("\n", "a\n"), "a\n"),
        ("\ufeff", Edit("", "a\n"), "\ufeffa\n"),
        ("a\n", Edit("", "b\n"), "a\nb\n"),
        ("a\n", Edit("", "b"), "a\nb\n"),
        ("a\r\n", Edit("", "b\n"), "a\r\nb\r\n"),
        ("a", Edit("", "b\nc\n"), "a\nb\nc"),
        ("a\r\nb", Edit("", "c\n"), "a\r\nb\r\nc"),
        ("a\nb\nc", Edit("b\n", ""), "a\nc"),
        ("a\nb", Edit("b\n", ""), "a\n"),
        ("a", Edit("a\n", "a\nb\n"), "a\nb"),
        ("a\nb", Edit("b", "c\n"), "a\nc"),
        ("a\r\n", Edit("a\n", "b\n"), "b\r\n"),
        ("a\r\na\n", Edit("a\n", "b\n"), "a\r\nb\n"),  # one of them as it is
        ("a\na \n", Edit("a \n", "b\n"), "a\nb\n"),
        ("a\rb\nc\n", Edit("c\n", "d\n"), "a\rb\nd\n"),
        ("\ufeffa\n", Edit("a\n", "b\n"), "\ufeffb\n"),
        ("\ufeffa\n", Edit("\ufeffa\n", "\ufeffb\n"), "\ufeffb\n"),
        (
            "\tif a:\n\t\tb\n",
            Edit("if a:\n\tb\n", "if c:\n\n\tb\n"),
            "\tif c:\n\n\t\tb\n",
        ),
        ("if a:\n\tb\n", Edit("  if a:\n  \tb\n", "  if c:\n  \td\n"), "if c:\n\td\n"),
    ],
)
def test_an_edit_changes_x_like_this(x, edit, y):
    assert apply_edits(x, [edit]) == y


def test_several_appendices_come_in_order_and_no_edit_is_none():
    assert (
        apply_edits("a", [Edit("", "b\n"), Edit("a\n", "A\n"), Edit("", "c\n")])
        == "A\nb\nc"
    )
    assert apply_edits("a\r", []) == "a\r"


def test_a_search_looks_into_x_as_it_was_given_and_else_into_what_other_edits_wrote():
    assert apply_edits("a\nb\n", [Edit("a\n", "b\n"), Edit("b\n", "a\n")]) == "b\na\n"
    assert apply_edits("a\n", [Edit("a\n", "b\n"), Edit("b\n", "c\n")]) == "c\n"
    with pytest.raises(EditFailed, match="edit 1 of 2 is found nowhere"):
        apply_edits("a\n", [Edit("b\n", "c\n"), Edit("a\n", "b\n")])


@pytest.mark.parametrize(
    ("x", "edits", "words"),
    [
        (
            "a\nb\na\n",
            [Edit("a\n", "c\n")],
            "the edit fits in 2 places of x, at the lines 1, 3",
        ),
        (
            " a\n   a\n",
            [Edit("  a\n", "  c\n")],
            "fits in 2 places",
        ),  # by its indentation only
        (
            "a b\n",
            [Edit("a\n", "c\n")],
            "found nowhere",
        ),  # a part of a line is not a line
        ("max = 10\n", [Edit("x = 1", "x = 2")], "found nowhere"),
        ("a\n", [Edit("a\nb\n", "c\n")], "found nowhere"),
        ("a\na\n", [Edit("a\n", ""), Edit("b\n", "")], "edit 1 of 2 fits in 2 places"),
        (
            "\ta\n  b\n",
            [Edit("a\nb\n", "c\n")],
            "found nowhere",
        ),  # the lines differ by different indentations
        ("\ta\n", [Edit("  a\n", "b\n")], "found nowhere"),
        (
            "a\n",
            [Edit("  a\n", "b\n")],
            "found nowhere",
        ),  # cannot lose an indentation that it lacks
        ("", [Edit("a\n", "c\n")], "x is empty: leave SEARCH empty"),
        ("a\n", [Edit("", "")], "holds no text at all"),
        (
            "a\nb\nc\n",
            [Edit("a\nb\n", ""), Edit("b\nc\n", "")],
            "two edits change line 2 of x",
        ),
        ("a\n", [Edit("a\n", "b\n")] * 2, "two edits change line 1 of x"),
        (
            "a\n",
            [Edit(str(n), "") for n in range(9)],
            r"edit 3 of 9 (.|\n)*and 6 more$",
        ),
    ],
)
def test_an_edit_that_cannot_be_made_is_refused(x, edits, words):
    with pytest.raises(EditFailed, match=words) as caught:
        apply_edits(x, edits)
    assert not isinstance(
        caught.value, UsageError
    )  # it is the model's fault, not the user's


def test_the_message_quotes_the_search_and_the_nearest_lines_with_their_numbers():
    x = (
        "".join(f"line {number}\n" for number in range(1, 100))
        + "def area(width, height):\n    return width * height\n"
    )
    with pytest.raises(EditFailed) as caught:
        apply_edits(x, [Edit("def area(w, h):\n    return w * h\n", "")])
    said = str(caught.value)
    assert "```\ndef area(w, h):\n    return w * h\n```" in said
    assert (
        "  100 | def area(width, height):\n  101 |     return width * height\n" in said
    )
    assert "Copy whole lines of x into SEARCH" in said
    assert "line 50" not in said


def test_the_message_of_a_long_search_shows_where_it_begins_to_differ():
    lines = [f"line {number}\n" for number in range(300)]
    with pytest.raises(EditFailed) as caught:
        apply_edits(
            "".join(lines),
            [Edit("".join([*lines[10:150], "no such line\n", *lines[151:160]]), "")],
        )
    assert "  151 | line 150\n" in str(caught.value)
    assert len(str(caught.value)) < 4_500


def test_fences_in_a_message_are_longer_than_those_that_they_quote():
    with pytest.raises(EditFailed) as caught:
        apply_edits("````\nx\n````\n", [Edit("```\ny\n```\n", "")])
    assert "\n````\n```\ny\n```\n````\n" in str(caught.value)
    assert "`````\n    1 | ````\n" in str(caught.value)


@pytest.mark.parametrize(
    "x",
    [
        "}\n" * 30_000,
        "\n" * 30_000,
        "a" * 300_000,
        "".join(f"{n}\n" for n in range(30_000)),
    ],
)
def test_large_and_monotonous_texts_take_no_long_time(x):
    search = "}\n" * 3_000 + "b\n" + "\n" * 3_000
    begun = time.perf_counter()
    with pytest.raises(EditFailed, match="found nowhere") as caught:
        apply_edits(x, [Edit(search, "c\n")])
    assert len(str(caught.value)) < 5_000
    assert find_edits(f"```\n{x}\n```") == ()
    assert time.perf_counter() - begun < 20
