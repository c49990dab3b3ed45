"""Templates: every sentence of a prompt, as data, with placeholders in braces."""

from __future__ import annotations

import re

from ...records import Direction

SYSTEM_PROMPT = """\
You improve a candidate x step by step. An automatic judge scores each x that you write; \
a higher score is better. You see what was tried, how it scored and what the judge said about it.

The task:
{task_description}

How to answer: think first, in a few sentences: what do the scores teach, and what is worth \
trying next? Then write the complete next x, ready to be judged as it is, in one fenced code block \
at the very end. Nothing but x goes into that block, and never an x that was tried before."""

HUMAN_PROMPT = """\
The x to improve:
{x}

What the judge said of it:
{fx}

{task_question}"""

FIRST_PROMPT = """\
Nothing was tried yet: write the first x.

{task_question}"""

OTHERS = "Trials that are worth knowing, each with its x and what the judge said of it:"
CONFIGURATIONS = "Configurations that were tried, one per line:"
FAILURES = "These were tried and failed; do not repeat them:"
LESSONS = "Lessons from earlier trials:"
EARLIER = "Earlier attempts, one per line:"

# How to answer, where x is not one text to be written anew.

PARAMETERS = """\
x is a set of parameters. Answer with one JSON object in a fenced code block, with a value for \
each name:
{parameters}
A configuration that was tried already teaches nothing new: never repeat one."""
PARTS = """\
x is several named texts. Put only those that you change into the answer, each as a fenced code \
block under a line with its name, and leave out the others: they stay as they are. Rewrite a text \
completely:

### NAME
```
the complete text
```

or, if it is long, edit it:

### NAME
<<<<<<< SEARCH
exact lines copied from the text, enough of them to match only once
=======
the replacement lines
>>>>>>> REPLACE"""
DATA = (
    "x is a JSON object. "
    "Answer with the complete next x as one JSON object in a fenced code block."
)
PROTECTED = """\
Only the lines between a line with EVOLVE-BLOCK-START and the next line with EVOLVE-BLOCK-END may \
change. Everything else, including these two lines, must come back byte for byte, or the answer is \
rejected."""
EDITS = """\
x is long. Instead of the complete x you may answer with edits of it at the very end, as many as \
needed, in this form:

<<<<<<< SEARCH
exact lines copied from x, enough of them to match only once
=======
the replacement lines
>>>>>>> REPLACE"""

# After a reply that cannot be used.

AGAIN = "That reply cannot be used: {problem}. Answer again: {how}"
AGAIN_UNSEEN = (
    "(You have answered this once, but the answer cannot be used: {problem}. "
    "Answer again: {how})"
)
WHOLE_ANSWER = "the complete next x in one fenced code block at the very end."
EDITS_ANSWER = (
    "corrected SEARCH/REPLACE edits, or the complete next x in one fenced code block, "
    "at the very end."
)
PARTS_ANSWER = (
    "the texts that change, each in a fenced code block under a line ### NAME."
)
JSON_ANSWER = "one JSON object in a fenced code block at the very end."

# Looking back at one trial.

REFLECTION = """\
You look back at one step of an optimization and say what can be learned from it. An automatic \
judge scores each candidate x; a higher score is better.

The task:
{task_description}"""
REFLECT = """\
Write down the lesson in one to three short sentences: why did this not work, and what should be \
done instead? The reader will write the next x and has not seen this one. No code, no \
introduction."""

KNOBS = """\
A line of x that sets a plain value may declare it as a knob, in a comment at its end. Knobs are \
then tuned within the range that you give, without asking you again. Declare the few constants \
that matter and whose best values cannot be known in advance, and think about the structure \
instead. Use the comment sign of the language:
lr = 0.1  # tune: 1e-4..1 log
width = 100  # tune: int 10..1000 step 10
kernel = "rbf"  # tune: "rbf", "poly"
shuffle = True  # tune: bool"""

_HIGHER, _LOWER = "a higher score is better", "a lower score is better"
_PLACEHOLDER = re.compile(
    r"\{(task_description|task_question|x|fx|parameters|problem|how)\}"
)


def directed(template: str, direction: Direction) -> str:
    """Return one of our templates, saying which scores are better; a user's own as it is.

    >>> "a lower score is better" in directed(REFLECTION, Direction.MINIMIZE)
    True
    """
    if direction is Direction.MAXIMIZE or template not in (SYSTEM_PROMPT, REFLECTION):
        return template
    return template.replace(_HIGHER, _LOWER)


def fill(template: str, **values: str) -> str:
    """Fill the placeholders that are given, in one pass.

    All other braces stay as they are, also those inside the values.

    >>> fill("{x} {y} {fx}", x="{fx}", fx="1")
    '{fx} {y} 1'
    """
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)
