"""Runs as things: how they are deleted, renamed and tagged.

Functions of an open transaction; `Store` has the methods, and the locks that keep them from a run
that a living process writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from ..errors import UsageError
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


def named(name: str, names: Collection[str], *, all_below: bool) -> list[str]:
    """Return the runs that are deleted by a name.

    Raises UsageError for the name of a comparison, unless all below it are meant.
    """
    children = below(name, names)
    if name in names:
        return [name, *children] if all_below else [name]
    if children and not all_below:
        raise UsageError(
            f"{name!r} is a comparison of {len(children)} runs, {children[0]!r} to "
            f"{children[-1]!r}: name one of them, or delete all of them (--all; in Python, "
            "all_below=True)"
        )
    return children


def new_names(old: str, new: str, names: Collection[str]) -> dict[str, str]:
    """Return the new names by the old ones: of a run, or of all runs of a comparison.

    Raises UsageError for a new name that cannot be one, or that is taken.
    """
    if not new or new != new.strip() or not new.isprintable() or new.endswith("/"):
        raise UsageError(
            f"the new name {new!r} cannot be one: write it on one line, without blanks at its "
            "ends"
        )
    renamed = {old: new}
    if old not in names:
        renamed = {one: new + one.removeprefix(old) for one in below(old, names)}
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
    for table in (tables.call, tables.again, tables.steer, tables.holder, tables.trial):
        connection.execute(table.delete().where(table.c.run_id.in_(runs)))
    run = tables.run
    connection.execute(run.delete().where(run.c.id.in_(runs)))


def rename(connection: sa.Connection, tables: Tables, old: str, new: str) -> None:
    """Rename a run, also where forks name it as their origin."""
    run = tables.run
    connection.execute(run.update().where(run.c.name == old).values(name=new))
    connection.execute(run.update().where(run.c.fork_of == old).values(fork_of=new))


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
    row = connection.execute(run.select().where(of_run)).one()
    known = set(rows.to_tags(row))
    tags = sorted(known - set(words) if remove else known | set(words))
    stored = json.dumps(tags)
    connection.execute(run.update().where(of_run).values(tags=stored))
    return tuple(tags)
