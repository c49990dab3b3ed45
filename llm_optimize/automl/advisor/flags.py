"""Options of a command as fields of a frozen record: declared once, for Python and two parsers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from ...errors import UsageError

Options = TypeVar("Options")


@dataclass(frozen=True)
class Flag:
    """One option of the command line.

    Args:
        name: of the field.
        words: what the user types; the first is the long one.
        kind: str, int, float or bool; a bool is a switch.
        default: of the option; None where it may be left open.
        help: its line in the help.
    """

    name: str
    words: tuple[str, ...]
    kind: type[Any]
    default: Any
    help: str


def flag(default: Any, help_: str, *words: str) -> Any:
    """Return a field of a record of options; without words its flag is made of its name."""
    return field(default=default, metadata={"help": help_, "words": words})


def flags_of(options: type[Any]) -> list[Flag]:
    """Return the flags of a record of options, in the order of its fields."""
    hints = get_type_hints(options)
    return [_flag_of(one, hints[one.name]) for one in fields(options)]


def _flag_of(one: Field[Any], hint: Any) -> Flag:
    name = one.name.replace("_", "-")
    usual = f"--{name}"
    words = one.metadata["words"] or (usual,)
    kinds = [kind for kind in (bool, int, float, str) if kind in (hint, *_parts(hint))]
    return Flag(one.name, words, kinds[0], one.default, one.metadata["help"])


def _parts(hint: Any) -> tuple[Any, ...]:
    return getattr(hint, "__args__", ())


def parsed(
    options: type[Options],
    description: str,
    arguments: Sequence[str] | None,
) -> Options:
    """Return what the arguments of a program say. Exits with 2 for wrong ones, as argparse does."""
    parser = argparse.ArgumentParser(description=description)
    for one in flags_of(options):
        if one.kind is bool:
            parser.add_argument(
                *one.words, dest=one.name, action="store_true", help=one.help
            )
            continue
        parser.add_argument(
            *one.words,
            dest=one.name,
            type=one.kind,
            default=one.default,
            help=one.help.replace("%", "%%"),
        )
    given = parser.parse_args(arguments)
    return options(**vars(given))


def at_least(word: str, value: float, least: float) -> None:
    """Raise UsageError for the value of a flag that is too small."""
    if not value >= least:
        raise UsageError(f"{word} is {value}: give {least} or more")


def made_folder(word: str, value: str) -> Path:
    """Return the folder of a flag, created where it is missing. Raises UsageError otherwise."""
    folder = Path(value)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the folder {folder} of {word} cannot be made: {error.strerror}"
        ) from error
    return folder
