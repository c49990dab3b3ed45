"""Replies as real models write them: each shape that was misread before, and what guards it.

The letters are those of a study of 1,421 replies: W was read as a wrong x, L was lost.
"""

import pytest

from llm_optimize.space import Bool, Float, Int, Space
from llm_optimize.testing import read_reply

PROGRAM = "import math\n\n\ndef f(x):\n    return x\n\n\ndef g(n):\n    return n + 1\n"
BETTER = (
    "import math\n\n\ndef f(x):\n    return 2 * x\n\n\ndef g(n):\n    return n + 2\n"
)
WHOLE = f"```python\n{BETTER}```"
PARTS = {"src/a.py": "x = 1\ny = 2\nz = 3\n", "b.md": "b\n"}
EDIT = "<<<<<<< SEARCH\n{}\n=======\n{}\n>>>>>>> REPLACE"
FIRST, SECOND = (
    EDIT.format("    return x", "    return 2 * x"),
    EDIT.format("n + 1", "n + 2"),
)
EDITED = PROGRAM.replace("return x", "return 2 * x")
REGION = "import os\n# EVOLVE-BLOCK-START\nx = 1\n# EVOLVE-BLOCK-END\nprint(x)\n"
SPACE = Space({"lr": Float(0, 1), "n": Int(1, 99), "on": Bool()})
VALUES = {"lr": 0.01, "n": 20, "on": True}
JSON = '{"lr": 0.01, "n": 20, "on": true}'


def indented(text, blanks):
    return "".join(f"{blanks}{line}" for line in text.splitlines(keepends=True))


W1 = [
    f"```python\nmain.py\n{WHOLE}",
    f"```\nmain.py\n{WHOLE}",
    f"```python\n# main.py\n# the whole of it\n{WHOLE}",
]
W2 = [
    f"{WHOLE}\nRun it:\n```bash\npython main.py\n```",
    f"{WHOLE}\n```sh\npip install numpy\n```\n```console\n$ ls\n```",
    f"{WHOLE}\nIt prints\n```\n8\n```",
    f"{WHOLE}\nUsage:\n```python\nprint(g(3))\n```",
    f"{WHOLE}\nWhat changed:\n```diff\n-    return x\n+    return 2 * x\n```",
    f"{WHOLE}\nThe key is\n```python\ndef f(x):\n    return 2 * x\n```",
    f"The x so far:\n```python\n{PROGRAM}```\nBetter:\n{WHOLE}",
    f"{WHOLE}\nThe x so far was:\n```python\n{PROGRAM}```\n",
    f'{WHOLE}\nIts file:\n```json\n{{"f": 2}}\n```',
]
W3 = [
    f"1. So:\n\n{indented(WHOLE, '   ')}\n\n2. Run it.",
    f"10. So:\n\n{indented(WHOLE, '    ')}\n\n11. Run it.",
    f"- So:\n\n{indented(WHOLE, chr(9))}\n",
    f"   ```python\n{BETTER}   ```",  # only the bars are indented
]
W4 = [
    f"```\ndraft\n{WHOLE}",
    f"Run ```bash`\nls\n```\nthen\n{WHOLE}",
    f"<thinking>\n```python\nf = 1\nno.\n</thinking>\n{WHOLE}",
    f"<thought>\n```\nf\nno\n</thought>\n{WHOLE}",
    f"Hm\n```python\ndef f(x): pass\n\nno.\n</think>\n\n{WHOLE}",
    f"◁think▷\n```python\nf\n◁/think▷\n{WHOLE}",
    f"[THINK]\n```python\nf\nhm[/THINK]\n{WHOLE}",
    f"<|channel|>analysis<|message|>Try ```\nf<|channel|>final<|message|>So:\n{WHOLE}",
    f"Sure.\n<think>\n```python\nf\n</think>\n{WHOLE}",
    f"Sure.\n<think>Hm.</think>\n{WHOLE}\nI closed </think> above.",
]
W6 = [f"{WHOLE}\n# Code:\n```python\n```\n", f"{WHOLE}\n```\n\n```\n"]
L3 = [
    BETTER,
    f"<answer>\n{BETTER}</answer>",
    f'<pre><code class="language-python">{BETTER}</code></pre>',
    "".join(f"> {line}\n" for line in WHOLE.splitlines()),
    f"So:\n\u200b{WHOLE[:-3]}\u200b```\n",
    f"# Code:\n# {WHOLE[:-3]}# ```\n",
    f"```python\n{BETTER.rstrip()}```\n",
    f"{WHOLE}.\n",
    f"```\npython\n{BETTER}```",
    f"```python\n{BETTER.replace('    ', chr(160) * 4)}```",
]
L4 = [f"{WHOLE}\n```", f"{WHOLE}\n```\n\n \n"]


@pytest.mark.parametrize("reply", [WHOLE, *W1, *W2, *W3, *W4, *W6, *L3, *L4])
def test_the_whole_program_is_found(reply):
    assert read_reply(reply, PROGRAM).x == BETTER
    crlf = read_reply(reply.replace("\n", "\r\n"), PROGRAM.replace("\n", "\r\n"))
    assert crlf.x == BETTER.replace("\n", "\r\n")


@pytest.mark.parametrize(
    "reply",
    [
        EDIT.format("    return x", "    return 2 * x"),
        f"```python\nmain.py\n```python\n{FIRST}\n```",  # W1
        f"1. So:\n\n{indented(FIRST, '    ')}\n",  # W3
        f"Hm\n```\n{EDIT.format('    return x', 'no')}\n```\nno.\n</think>\n{FIRST}",  # W4
        FIRST.replace("SEARCH", "ORIGINAL").replace("REPLACE", "UPDATED"),  # W8
        FIRST.replace("<<<<<<<", "-------").replace(">>>>>>>", "+++++++"),
        f"{EDIT.format('    return x', '    return 3 * x')}\n"  # L2
        f"{EDIT.format('    return 3 * x', '    return 2 * x')}",
        FIRST.replace("\n>>>>", "\n=======\n>>>>"),  # L7
        FIRST.replace(">>>>>>> REPLACE", ">>>>>>>"),
        f"```python\n{FIRST}\n",
        f"{FIRST}\n```\n",  # L4
        FIRST.replace("<", "&lt;").replace(">", "&gt;"),
    ],
)
def test_edits_are_found(reply):
    assert read_reply(reply, PROGRAM).x == EDITED


def test_a_text_with_fences_may_stand_in_equal_ones():  # W5
    inner = "# A\n\n```python\nx = 1\n```\n\nthen\n\n```bash\nls\n```\n\nB\n"
    assert read_reply(f"So:\n```markdown\n{inner}```\n", "# A\n").x == inner
    bare = "# A\n\n```\nx = 1\n```\n\nB\n"
    assert read_reply(f"```md\n{bare}```\n", "# A\n").x == bare
    assert (
        read_reply(f"```\n{inner}```\n", "```c\n```\n").x == inner
    )  # as the parent does
    two = "```md\nA\n```\nand\n```python\nx = 1\n```"
    assert read_reply(two, "x = 2\n").x == "x = 1\n"


REFUSED = {
    "```python\n\n```": "is empty",  # W6
    "```python\ndef f(x):\n    return 2 * x\n\n# ... rest of the code remains the same ...\n```": (
        "x leaves out lines"  # W7
    ),
    "```python\n# ... existing code ...\ndef g(n):\n    return 3\n```": "x leaves out lines",
    "```python\n        self.F = 0.7\n```": "x is Python, and the block is not (line 1",  # W7b
    "```python\nself.F = 0.7\n```": "x defines classes or functions, and the block has none",
    "I cannot.\n```\nman python\n```": "x is Python, and the block is not",
    "```diff\n@@ -3,2 +3,2 @@\n-    return x\n+    return 2 * x\n```": "markers of a diff",  # W8
    "```\n*** Begin Patch\n*** Update File: a.py\n*** End Patch\n```": "markers of a diff",
    "```python\n<<<<<<< HEAD\nx\n=======\ny\n>>>>>>> updated\n```": "markers of a diff",
    f"```python\na\nb\nc\n{WHOLE}": "stands inside of a fenced block",  # W4
    f"```python\n{BETTER}": "not closed",
    f"{FIRST}\n{EDIT.format('return 9', '')}": "edit 2 of 2 is found nowhere",  # L2
}


@pytest.mark.parametrize("reply", REFUSED)
def test_what_cannot_be_the_whole_program_is_refused(reply):
    answer = read_reply(reply, PROGRAM)
    assert answer.x is None
    assert REFUSED[reply] in answer.problem


@pytest.mark.parametrize(
    ("x", "parent"),
    [
        ("# Remaining budget goes to code\nx = 2\n", "x = 1\n"),
        ("# the rest of the code\nx = 2\n", "# the rest of the code\nx = 1\n"),
        ("plain damped\ngain = 2\n", "plain\ngain = 1\n"),  # Python by accident
        ("f = abs\n", "def f(x):\n    return x\n"),
        ("not Python (\n", "a prompt\n"),
        ("@@ -1 +1 @@\n", "@@ -2 +2 @@\n"),
        ("a </think> b\n", "a\n"),
        ("a </think> b\n\n~~~\nc\n~~~\n", "</think>\n~~~\n"),
        ("ls -l\n", "cd /\n"),
        ("", "\n"),
    ],
)
def test_what_only_looks_odd_is_x(x, parent):
    assert read_reply(f"So:\n````\n{x}````", parent).x.strip() == x.strip()


def test_a_command_is_x_where_x_is_one():
    assert read_reply("```bash\nls\n```", "cd /\n").x == "ls\n"
    assert (
        read_reply("First\n```bash\nls\n```\nthen\n```bash\npwd\n```", "cd /\n").x
        == "pwd\n"
    )


# Named texts.


def full(name):
    return f"{name}\n```python\nx = 3\n```"


@pytest.mark.parametrize(
    "reply",
    [
        full("### src/a.py") + "\nRun it:\n```bash\npython src/a.py\n```",  # L1
        full("### src/a.py") + "\nIt prints\n```\n8\n```",
        full("### 1. Update `src/a.py`"),  # L6
        full("1. **`src/a.py`** – words:"),
        full("Here's the updated `src/a.py`:"),
        full("### a.py"),
        full("### ./src/a.py"),
        f"```python\nsrc/a.py\n{full('```python').removeprefix('```python' + chr(10))}",  # W1
    ],
)
def test_a_part_is_found_under_its_name(reply):
    assert read_reply(reply, PARTS).x == PARTS | {"src/a.py": "x = 3\n"}


def test_a_comment_that_names_a_part_stays_in_it():
    reply = "```python\n# src/a.py\nx = 3\n```"
    assert read_reply(reply, PARTS).x == PARTS | {"src/a.py": "# src/a.py\nx = 3\n"}


def test_an_unnamed_block_that_looks_like_a_part_is_refused():
    reply = full("### b.md") + "\nand\n```\nx = 1\ny = 2\nz = 3\nq = 4\n```"
    assert "stands under no name of a part" in read_reply(reply, PARTS).problem
    assert (
        "stands under no name"
        in read_reply(EDIT.format("x = 1", "x = 3"), PARTS).problem
    )


def test_a_sentence_or_two_names_name_no_part():
    for line in (
        "I like src/a.py",
        "### Change of src/a.py and b.md",
        "b is better because:",
    ):
        assert "under its name" in read_reply(full(line), PARTS).problem


def test_the_only_part_needs_no_name():
    only = {"main.py": PROGRAM}
    assert read_reply(WHOLE, only).x == {"main.py": BETTER}
    assert read_reply(FIRST, only).x == {"main.py": EDITED}
    assert read_reply(f"{WHOLE}\n```bash\nls\n```", only).x == {"main.py": BETTER}


def test_a_part_that_holds_fences_may_stand_in_equal_ones():
    readme = "# A\n\n```bash\nls\n```\n\nB\n"
    reply = f"### b.md\n```markdown\n{readme}```\n"
    assert read_reply(reply, PARTS).x == PARTS | {"b.md": readme}


def test_a_part_may_become_empty():
    assert read_reply("### b.md\n```\n```", PARTS).x == PARTS | {"b.md": ""}


# Parameters.


@pytest.mark.parametrize(
    "reply",
    [
        "```json\n{\n  'lr': 0.01,\n  'n': 20,\n  'on': True,  # yes\n}\n```",  # L8
        '{"lr": 1/100, "n": 20, "on": true}',
        f'{{"reasoning": "lower", "parameters": {JSON}}}',
        f'<tool_call>\n{{"name": "evaluate", "arguments": {JSON}}}\n</tool_call>',
        f'{{"x": {JSON}}}',
        f"```json\n{JSON}\n",
        f'```json\n{JSON}\n```\nIt was {{"lr": 0.1, "n": 9, "on": false}} before.',  # W9
        f'Hm, {{"lr": 1, "n": 1, "on": false}}?</think>{JSON}',
    ],
)
def test_parameters_are_found(reply):
    assert read_reply(reply, None, SPACE).x == VALUES


def test_an_inner_object_is_never_taken_for_data():  # W9
    parent = {"model": {"depth": 2}, "opt": {"lr": 1}}
    for reply in (
        '{"model": {"depth": 3}, "opt": {"lr": 0.1},}',
        '{"model": {"depth": 3}, // deeper\n "opt": {"lr": 0.1}}',
        "{'model': {'depth': 3}, 'opt': {'lr': 0.1}}",
    ):
        assert read_reply(reply, parent).x == {
            "model": {"depth": 3},
            "opt": {"lr": 0.1},
        }
    broken = read_reply('{"model": {"depth": 3}, "opt": {"lr": 0.1} and}', parent)
    assert broken.problem == "the reply holds no whole JSON object"


# Regions.


@pytest.mark.parametrize(
    "reply",
    [
        "```python\nx = 2\n```",  # L9
        "```python\n# EVOLVE-BLOCK-START\nx = 2\n# EVOLVE-BLOCK-END\n```",
        f"```python\n{REGION.replace('1', '2')}```",
    ],
)
def test_the_only_region_may_come_alone(reply):
    assert read_reply(reply, REGION).x == REGION.replace("1", "2")


@pytest.mark.parametrize(
    "reply",
    [
        "```python\nimport os\nx = 2\nprint(x)\n```",
        "```python\nimport sys\n# EVOLVE-BLOCK-START\nx = 2\n# EVOLVE-BLOCK-END\n```",
    ],
)
def test_a_whole_text_without_its_markers_is_no_region(reply):
    assert "EVOLVE-BLOCK" in read_reply(reply, REGION).problem
    two = f"{REGION}{REGION}"
    assert "byte for byte" in read_reply("```python\nx = 2\n```", two).problem
