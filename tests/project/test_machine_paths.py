"""No file speaks of the machine that it was written on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|root|home|Users)/\w|[A-Z]:\\Users\\")


def test_no_file_speaks_of_the_machine_that_it_was_written_on() -> None:
    folders = [
        "llm_optimize",
        "tests",
        "examples",
        "benchmarks",
        "docs",
        ".ci",
        ".github",
    ]
    files = [
        file
        for folder in folders
        for file in (ROOT / folder).rglob("*")
        if "__pycache__" not in file.parts
    ]
    files += [
        file
        for file in ROOT.iterdir()
        if file.suffix in (".md", ".cfg", ".toml") or file.name == "Makefile"
    ]
    texts = {
        file: file.read_text(encoding="utf-8", errors="replace")
        for file in files
        if file.is_file()
    }
    assert texts
    assert [
        (str(file), found[0])
        for file, text in texts.items()
        if (found := MACHINE_PATH.search(text))
    ] == []


@pytest.mark.parametrize(
    ("folder", "named"), [("home", True), ("Users", True), ("tmp", False)]
)
def test_a_machine_path_is_known_when_seen(folder: str, named: bool) -> None:
    assert bool(MACHINE_PATH.search(f'open("/{folder}/ada/x.py")')) is named
