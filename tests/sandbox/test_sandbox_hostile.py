"""Programs that somebody else wrote to break sandboxes, where they lie beside this repository.

All of them run at each level in f's own process, and some in the other ways and as the other user;
`make table` runs every program at every level in every way as every user, and writes what it finds
into the table of docs/sandbox.md.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from hostile.jail import users
from hostile.matrix import AT_A_TIME, Cell, run_cell
from hostile.programs import (
    HONEST,
    HOSTILE,
    LEVELS,
    NOT_PROMISED,
    USERS,
    WAYS,
    declared,
    load,
)
from hostile.table import DOCS, cells, lines, recorded, table_in
from levels import need_namespaces

ME = users()[-1]
OTHER = "user"  # whom root can play, too
PROGRAMS = load() if HOSTILE.is_dir() else {}
FEW = ["45", "55", "63", "71", "75", "77", "83", "91"]
EVERY = [Cell(level, "one", ME) for level in LEVELS]
SOME = [
    Cell("process", "split", ME),
    Cell("process", "nested", OTHER),
    Cell("namespace", "nested", OTHER),
    *([Cell("process", "one", OTHER)] if ME != OTHER else []),
]
ONCE = ("89", "97")  # seconds each, and the same code at both levels
CHOSEN = [
    *(
        (cell, name)
        for cell in EVERY
        for name in PROGRAMS
        if cell.level == "process" or name[:2] not in ONCE
    ),
    *((cell, name) for cell in SOME for name in PROGRAMS if name[:2] in FEW),
]

needs_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="the jail and its sandboxes need Linux"
)
needs_programs = pytest.mark.skipif(
    not PROGRAMS, reason="no hostile programs lie in ../shared/hostile"
)


@pytest.fixture(scope="module")
def results():
    """Run what is chosen, some jails at a time; yield the result of each program and cell."""
    need_namespaces()
    names = {
        cell: [name for other, name in CHOSEN if other == cell] for cell, _ in CHOSEN
    }
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        done = pool.map(
            lambda cell: run_cell(cell, [PROGRAMS[name] for name in names[cell]]), names
        )
        return {(one.cell, one.program): one for found in done for one in found}


def place(value):
    return (
        f"{value.level}-{value.way}-{value.who}" if isinstance(value, Cell) else value
    )


@needs_linux
@needs_programs
@pytest.mark.parametrize(("cell", "name"), CHOSEN, ids=place)
def test_a_hostile_program_comes_to_its_expected_end_and_harms_nobody(
    results, cell, name
):
    result = results[cell, name]
    assert result.word != "broken", result.reason
    if name in HONEST:
        assert result.word == "works"
    if not declared(name, cell.level, cell.way, cell.who)[0]:
        assert result.held


@needs_linux
@needs_programs
@pytest.mark.parametrize("cell", [*EVERY, *SOME], ids=place)
def test_nothing_is_left_when_all_are_done(results, cell):
    result = results[cell, "the end"]
    assert result.held, result.reason


@needs_programs
def test_the_record_is_of_every_program_in_every_cell():
    places = {(cell.level, f"{cell.way} {cell.who}") for cell in cells()}
    for name, levels in recorded().items():
        assert {
            (level, there) for level, words in levels.items() for there in words
        } == places, name
    assert recorded().keys() == PROGRAMS.keys()


def test_the_table_of_the_page_is_made_of_the_record():
    assert table_in(DOCS.read_text(encoding="utf-8")) == lines(recorded())


def test_what_is_not_held_is_declared():
    for name, levels in recorded().items():
        for level, words in levels.items():
            for there, word in words.items():
                fine = (
                    word == "works"
                    if name in HONEST
                    else word == "contained" or word.startswith("stopped: ")
                )
                assert fine or (
                    word == "not promised" and declared(name, level, *there.split())[0]
                ), (name, level)


@needs_programs
def test_what_is_declared_names_programs_levels_and_ways():
    for name, level, way, who, kinds, reason in NOT_PROMISED:
        assert name in PROGRAMS
        assert level in ("*", *LEVELS)
        assert way in ("*", *WAYS)
        assert who in ("*", *USERS)
        assert kinds
        assert reason
