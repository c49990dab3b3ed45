"""Protected regions: what stands outside of the blocks comes back byte for byte, or the reason is
said."""

import re
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llm_optimize.errors import UsageError
from llm_optimize.propose.language.protected import (
    check_markers,
    check_protected,
    check_regions,
    has_protected,
)

START, END = "EVOLVE-BLOCK-START", "EVOLVE-BLOCK-END"
TWO = f"import os\n# {START}\na = 1\n# {END}\n\n\t# {START}\n\tb = 2\n\t# {END}\nlast"

lines = st.lists(
    st.tuples(
        st.text(st.sampled_from("ab #`~\t\r\ufeffé\u2028\x0c<=>"), max_size=6)
        | st.sampled_from(["```", "~~~", ""]),
        st.sampled_from(["\n", "\r\n"]),
    ).map("".join),
    max_size=4,
).map("".join)
leaders = st.sampled_from(
    [
        "# ",
        "\t// ",
        "<!-- ",
        "-- ",
        "/* ",
        "%",
        "",
        "REM ",
        "' ",
        '" ',
        "{#- ",
        "\ufeff# ",
    ]
)
line_ends = st.sampled_from(["\n", "\r\n", " \n", " -->\n", ": keep the name\n"])


def block(leader, end, inside):
    return f"{leader}{START}{end}", inside, f"{leader}{END}{end}"


blocks = st.builds(block, leaders, line_ends, lines)


@settings(max_examples=300, deadline=None)
@given(lines, st.lists(st.tuples(blocks, lines, lines), min_size=1, max_size=3))
def test_whatever_changes_inside_of_the_blocks_may_and_nothing_else(first, rest):
    before = first + "".join("".join(inside) + behind for inside, behind, _ in rest)
    after = first + "".join(
        start + new + end + behind for (start, _, end), behind, new in rest
    )
    assert has_protected(before)
    check_markers(before)
    assert check_protected(before, after) is None
    assert check_protected(before, after + "x")


@settings(max_examples=300, deadline=None)
@given(lines, blocks, lines, st.data())
def test_one_changed_character_outside_is_noticed_and_its_line_named(
    first, inside, last, data
):
    before = first + "".join(inside) + last
    outside = first + inside[0] + inside[2] + last
    at = data.draw(st.integers(0, len(outside) - 1))
    place = at if at < len(first + inside[0]) else at + len(inside[1])
    after = (
        before[:place]
        + data.draw(st.sampled_from(["", "Z", " ", "\n", before[place] * 2]))
        + before[place + 1 :]
    )
    assume(after != before)
    assume(before[place] != "\n")  # next to a block it may be the block's own
    said = check_protected(before, after)
    assert said
    if re.search(r"line \d+ is ", said):
        number = int(re.search(r"line (\d+) is ", said)[1])
        assert number == before[:place].count("\n") + 1


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (
            TWO.replace("import os", "import sys"),
            r"line 1 is 'import os\n', it came back as 'import sys\n'",
        ),
        (
            TWO.replace("\n\n", "\n"),
            r"line 5 is '\n', it came back as '\t# EVOLVE-BLOCK-START\n'",
        ),
        (TWO.replace("\t#", "    #"), r"line 6 is '\t# EVOLVE-BLOCK-START\n'"),
        (
            TWO.replace("\nlast", "\nlast\n"),
            r"line 9 is 'last', it came back as 'last\n'",
        ),
        (
            TWO.replace("\n", "\r\n"),
            r"line 1 is 'import os\n', it came back as 'import os\r\n'",
        ),
        (TWO.removesuffix("last"), "line 9, 'last', is missing"),
        (
            TWO.replace("last", "last\nmore"),
            r"line 9 is 'last', it came back as 'last\n'",
        ),
        (
            TWO.replace(f"# {START}\n", "", 1),
            "line 3 ends a block that no line started",
        ),
        (
            TWO.replace(f"# {END}\n", "", 1),
            "line 5 starts a block inside the one that line 2 started",
        ),
        (
            TWO.replace(f"\t# {END}\n", ""),
            "the block that line 6 starts is never ended",
        ),
        (
            TWO.replace("a = 1", f"# {END}\nb = 3\n# {START}"),
            r"it came back as 'b = 3\n'",
        ),
        (
            TWO.replace(f"# {START}\na = 1\n# {END}\n", "a = 1\n"),
            r"line 2 is '# EVOLVE-BLOCK-START\n'",
        ),
        (
            TWO.replace(f"import os\n# {START}", f"# {START}\nimport os"),
            r"line 1 is 'import os\n'",
        ),
        ("a = 1\nb = 2\n", "line 1 is"),
        ("", r"line 1, 'import os\n', is missing"),
    ],
)
def test_the_reason_is_said(after, words):
    assert words in check_protected(TWO, after)


def test_what_was_added_at_the_end_is_named():
    x = f"# {START}\na\n# {END}\n"
    assert check_protected(x, x + "b") == (
        "what stands outside the EVOLVE-BLOCK regions must come back byte for byte: "
        "'b' was added at the end, as line 4"
    )


def test_a_long_line_is_quoted_in_part():
    x = f"{'a' * 9999}\n# {START}\n# {END}"
    assert len(check_protected(x, "b" + x)) < 600


def test_an_x_without_markers_may_change_everywhere():
    assert not has_protected("a")
    assert check_protected("a", f"# {END}\n") is None


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (f"# {START}\n", "line 1 starts is never ended"),
        (f"\n# {END}\n", "line 2 ends a block that no line started"),
        (
            f"# {START}\n# {START}\n# {END}\n# {END}",
            "line 2 starts a block inside the one that line 1 started",
        ),
        (f"a = 1  # {START}\nb\nc = 2  # {END}\n", "line 1 holds a marker behind code"),
        (
            f"# {START}\r\na = 1  # {END}\r\n# {END}\r\n",
            "line 2 holds a marker behind code",
        ),
    ],
)
def test_wrong_markers_of_the_users_own_x_are_refused_at_the_start(x, words):
    with pytest.raises(UsageError, match=words):
        check_markers(x)


@pytest.mark.parametrize(
    "x",
    [
        f'print("{START}")\n',
        f'"{START}",\n',
        f"'# {START}'",
        f"Write between {START} and {END}.",
        "# EVOLVE-BLOCK-STARTED",
        f"# {START}-2",
        "# evolve-block-start",
    ],
)
def test_what_only_speaks_of_markers_is_none(x):
    check_markers(x)
    assert not has_protected(x)


def test_a_very_long_line_is_looked_at_quickly():
    begun = time.perf_counter()
    check_markers(
        " " * 200_000 + "# " * 100_000 + f"{START}x\nx" + f"# {START} " * 20_000 + "x"
    )
    assert time.perf_counter() - begun < 10


def test_the_markers_of_each_text_of_x_are_checked():
    check_regions({"a": TWO, "b": "x", "lr": 0.1})
    check_regions(TWO)
    with pytest.raises(
        UsageError,
        match=r"in the part 'b', the EVOLVE-BLOCK markers of x are wrong: .* never ended",
    ):
        check_regions({"a": TWO, "b": f"# {START}\n"})
    with pytest.raises(UsageError, match=r"^the EVOLVE-BLOCK markers"):
        check_regions(f"# {END}\n")
