"""Commands to print: what a user pastes into a shell to go on from here."""

from __future__ import annotations

import shlex

from ..redaction import without_credentials
from ..shell import program
from .address import DEFAULT_URL, option_of


def command_line(
    verb: str, *names: str, store: str = DEFAULT_URL, options: str = ""
) -> str:
    """Return a command that works as it is printed, in the present folder.

    It starts this installation also where its name alone would not, or would start another one.
    A password in the URL of a database is left out.

    Args:
        verb: the command, such as "show".
        names: its arguments, quoted here.
        store: which store it is about.
        options: further options, quoted already.

    >>> command_line("show", "a b", store="my runs.db").rpartition("llm-optimize ")[2]
    "show 'a b' --store 'my runs.db'"
    """
    command = f"{program()} {verb}"
    if "://" in store and not store.startswith("sqlite:"):
        store = without_credentials(store)
    after = option_of(store)
    if options:
        after += f" {options}"
    quoted = " ".join(map(shlex.quote, names))
    if any(name.startswith("-") for name in names):
        return f"{command}{after} -- {quoted}"
    if quoted:
        command += f" {quoted}"
    return command + after
