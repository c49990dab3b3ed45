"""Words: retired ones stay out of the library, and the glossary stays short."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RETIRED = {  # and what to write instead
    "crown": "promote, champion",
    "crowned": "promoted",
    "dice": "rng",
    "heard": "last_reply_at",
    "keeper": "supervisor",
    "kin": "descendants",
    "learnt": "learned",
    "leave away": "remove, leave out",
    "left away": "removed, left out",
    "told": "observed, notified",
    "whoever": "the one who, anyone who",
    "wish": "control command",
    "zygote": "fork server",
}
MAY = {("llm_optimize/optimize/ask_tell.py", "told")}  # where the user tells a score
ANY = "|".join(RETIRED).replace(" ", "[^a-z]+")  # also over the end of a comment's line
WORD = re.compile(rf"(?<![a-z])({ANY})(?![a-z])", re.I)


def retired_words(source):
    """Yield the line and the word, in prose and within names of several words."""
    for match in WORD.finditer(source):
        line = source.count("\n", 0, match.start()) + 1
        yield line, " ".join(re.findall("[a-z]+", match[1].lower()))


def test_the_library_uses_no_retired_word():
    found = []
    for file in sorted((ROOT / "llm_optimize").rglob("*.py")):
        path = file.relative_to(ROOT).as_posix()
        for line, word in retired_words(file.read_text(encoding="utf-8")):
            if (path, word) not in MAY:
                found.append(f"{path}:{line} {word!r}: write {RETIRED[word]}")
    assert found == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def was_told(dice): ...", ["told", "dice"]),
        ("# Whoever leaves it\n# away: leave\n# away", ["whoever", "leave away"]),
        ("kind, wishes, retold, skin", []),
    ],
)
def test_a_retired_word_is_found_in_names_and_in_prose(source, words):
    assert [word for _, word in retired_words(source)] == words


def test_the_glossary_has_forty_terms_or_fewer():
    rows = (ROOT / "docs" / "words.md").read_text(encoding="utf-8").split("\n|")[3:]
    assert 30 <= len(rows) <= 40
