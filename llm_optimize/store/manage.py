"""Runs as things: how they are deleted, renamed and tagged.

Functions of an open transaction; `Store` has the methods, and the locks that keep them from a run
that a living process writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from ..errors import RunNotFound, UsageError
from . import rows

if TYPE_CHECKING:
    import sqlalchemy as sa

    from .database import Tables

_TAG = re.compile(r"[^\s,]{1,40}")
_MAX_NAME_CHARS = 200  # the length of its column


# Names.


def below(name: str, names: Iterable[str]) -> list[str]:
    """Return the names of the runs of a comparison: those that begin with NAME/."""
    return [one for one in names if one.startswith(f"{name}/")]


def meant_by(
    words: Iterable[str], names: Collection[str], store: str, *, all_below: bool
) -> list[str]:
    """Return the runs that are deleted by some words.

    Raises RunNotFound, and UsageError for the name of a comparison unless all below it are meant.
    """
    meant: dict[str, None] = {}  # a set in the order of insertion
    for word in words:
        children = below(word, names)
        if word in names:
            meant[word] = None
        elif not children:
            raise RunNotFound(word, names, store)
        elif not all_below:
            count, first, last = len(children), children[0], children[-1]
            raise UsageError(
                f"{word!r} is a comparison of {count} runs, {first!r} to {last!r}: name one of "
                "them, or delete all of them (--all; in Python, all_below=True)"
            )
        if all_below:
            meant.update(dict.fromkeys(children))
    return list(meant)


def new_names(old: str, new: str, names: Collection[str]) -> dict[str, str]:
    """Return the new names by the old ones: of a run, or of all runs of a comparison.

    Raises UsageError for a new name that cannot be one, or that is taken.
    """
    is_plain = new.isprintable() and new == new.strip()
    if not new or not is_plain or new.endswith("/"):
        raise UsageError(
            f"the new name {new!r} cannot be one: write it on one line, without blanks at its "
            "ends"
        )
    renamed = {old: new}
    if old not in names:
        renamed = {}
        for one in below(old, names):
            renamed[one] = new + one.removeprefix(old)
    for before, after in renamed.items():
        if len(after) > _MAX_NAME_CHARS:
            raise UsageError(
                f"the new name has {len(after)} characters: at most {_MAX_NAME_CHARS} fit"
            )
        if after in names and after != before:
            raise UsageError(f"a run named {after!r} exists: choose another name")
    return renamed


# Changes.


def remove(connection: sa.Connection, tables: Tables, runs: Sequence[int]) -> None:
    """Delete runs by their keys, with trials, calls, replies and all else.

    SQLite overwrites what is deleted, so that the file does not hold it any more.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete = ON")
    for table in tables.metadata.sorted_tables:
        if "run_id" in table.c:
            of_runs = table.c.run_id.in_(runs)
            connection.execute(table.delete().where(of_runs))
    of_runs = tables.run.c.id.in_(runs)
    connection.execute(tables.run.delete().where(of_runs))


def rename(connection: sa.Connection, tables: Tables, old: str, new: str) -> None:
    """Rename a run, also where forks name it as their origin."""
    change = tables.run.update()
    column = tables.run.c
    named_so = change.where(column.name == old)
    connection.execute(named_so.values(name=new))
    forked = change.where(column.fork_of == old)
    connection.execute(forked.values(fork_of=new))


def tag(
    connection: sa.Connection,
    tables: Tables,
    name: str,
    words: Sequence[str],
    *,
    remove: bool,
) -> tuple[str, ...]:
    """Add tags to a run or take them away; return those that it has then, sorted.

    Raises UsageError for a word that cannot be a tag.
    """
    for word in words:
        if not _TAG.fullmatch(word) or not word.isprintable():
            raise UsageError(
                f"the tag {word!r} cannot be one: take 1 to 40 characters without blanks or commas"
            )
    run = tables.run
    of_run = run.c.name == name
    query = run.select().where(of_run)
    row = connection.execute(query).one()
    tags = set(rows.to_tags(row))
    if remove:
        tags.difference_update(words)
    else:
        tags.update(words)
    change = run.update().where(of_run)
    stored = json.dumps(sorted(tags))
    connection.execute(change.values(tags=stored))
    return tuple(sorted(tags))
