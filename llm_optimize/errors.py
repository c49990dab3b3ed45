"""Exceptions, in one tree; each names what happened, the value, and the repair.

LlmOptimizeError
├── UsageError (ValueError)          a wrong argument; exit code 2 of the command line
│   ├── UnknownName                  a word that is none of the known ones, with the nearest
│   ├── FunctionChanged              a run is to go on with another f than before
│   ├── FunctionUnusable             f cannot be imported or cannot be sent to a sandbox
│   ├── TaskFileError                a TASK.toml cannot be read, or has a wrong value
│   ├── NotAllowed                   an agent asked for what only a human may decide
│   └── MissingExtra (ImportError)   an optional package is not installed
├── NothingToPropose                 a proposer has no further x: the run is over
├── InvalidScore (ValueError)        f returned something that is not a finite score
├── EditFailed (ValueError)          a model's edits do not fit x; only the model sees it
├── ModelError (RuntimeError)        a chat model did not answer
│   ├── MissingKey                   no API key was given
│   ├── BudgetSpent                  the budget allows no further call
│   ├── ModelUnavailable             it failed after all attempts, or the deadline passed
│   │   └── EndpointRests            its circuit is open after many failures
│   ├── ModelRefused                 the request must change (400, 401, 403, 404, quota)
│   │   └── ContextTooLong           the prompt does not fit: make it smaller and ask again
│   ├── AnswerUnusable               no answer held what was asked for
│   └── ScriptExhausted              a scripted model ran out of replies
├── StoreError (RuntimeError)        runs cannot be written or read
│   ├── NotAStore                    the file or URL is not a database of ours
│   ├── NewerStore                   it was written by a newer version
│   ├── RunHeld                      the run is open for writing already
│   └── RunNotFound (LookupError)    no run of that name, with the nearest
└── SandboxError (RuntimeError)      code in a sandbox failed
    ├── SandboxUnavailable           this level cannot work on this machine
    ├── ScriptFailed                 a script ended with an error
    ├── VariableMissing (KeyError)   a script did not set a variable that was asked for
    └── ScriptTimeout (subprocess.TimeoutExpired)   a script did not end within its deadline
"""

from __future__ import annotations

import difflib
import subprocess
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from typing import Any

from .shell import pip_install


class OptionName(str):
    """The name of an option within a message, as Python has it; the command line says its flag.

    A field of a record stands with the record: "limits.memory_mb", "budget.usd".
    """


class InPython(str):
    """Words of a message that hold for Python, with those of the command line beside them."""

    shell: str

    def __new__(cls, words: str, *, shell: str) -> InPython:
        """Return the words.

        Args:
            words: for Python.
            shell: what the command line says in their place.
        """
        made = super().__new__(cls, words)
        made.shell = shell
        return made

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, str]]:
        return (str(self),), {"shell": self.shell}


_MAX_KNOWN = 20  # words that a message names


class LlmOptimizeError(Exception):
    """Base of everything that this library raises on purpose.

    Its message consists of parts, joined without blanks: texts, and an `OptionName` or `InPython`
    where the command line has another word than Python.

    >>> str(UsageError(OptionName("max_steps"), " is -1: give 0 or more"))
    'max_steps is -1: give 0 or more'
    """

    def __str__(self) -> str:
        return "".join(map(str, self.args))

    def for_shell(self, flag_of: Callable[[str], str]) -> str:
        """Return the message in the words of the command line.

        Args:
            flag_of: returns the flag of an option.

        >>> error = UsageError(OptionName("max_steps"), " is -1: give 0 or more")
        >>> error.for_shell({"max_steps": "--steps"}.__getitem__)
        '--steps is -1: give 0 or more'
        """
        said = []
        for part in self.args:
            if isinstance(part, OptionName):
                said.append(flag_of(part))
            elif isinstance(part, InPython):
                said.append(part.shell)
            else:
                said.append(str(part))
        return "".join(said)


class UsageError(LlmOptimizeError, ValueError):
    """An argument is wrong; the message names it, its value and what would be right."""


class UnknownName(UsageError):
    """A word is none of the known ones.

    Args:
        what: the kind of word, such as "search".
        given: the unknown word.
        known: the words that are right.
    """

    def __init__(self, what: str, given: str, known: Iterable[str]) -> None:
        self.given = given
        self.known = tuple(sorted(known))
        nearest = suggestion(given, self.known)
        super().__init__(f"unknown {what} {given!r}: {nearest}")


class FunctionChanged(UsageError):
    """A run is to go on with another f than the one that scored its trials.

    Args:
        name: of the run.
        changed: what of f is another, such as "f", or the name of a file.
    """

    def __init__(self, name: str, changed: Iterable[str]) -> None:
        self.name = name
        self.changed = tuple(changed)
        what = ", ".join(self.changed)
        super().__init__(
            f"the run {name!r} was scored by another f ({what} changed), and scores of the two "
            "cannot be compared: give ",
            InPython("func_changed='ok'", shell="--func-changed ok"),
            " to score its champion anew and go on, or begin another run",
        )


class FunctionUnusable(UsageError):
    """The scoring function cannot be imported, or cannot be sent to a sandbox."""


class TaskFileError(UsageError):
    """A TASK.toml cannot be read, or has a wrong value; the message names file and key."""


class NotAllowed(UsageError):
    """An agent asked for what only a human may decide; the message says where a human does."""


class MissingExtra(UsageError, ImportError):
    """An optional package is not installed; the message holds the install line."""


class NothingToPropose(LlmOptimizeError):
    """A proposer has no further x, and will have none: the run is over."""


class InvalidScore(LlmOptimizeError, ValueError):
    """A scoring function returned something that is not a finite score."""


class EditFailed(LlmOptimizeError, ValueError):
    """Edits by a model do not fit x; the message tells the model what to write instead."""


class ModelError(LlmOptimizeError, RuntimeError):
    """A chat model did not answer.

    Args:
        message: the sentence, in parts.
        uncertain_calls: requests that brought no answer but may be billed all the same.
    """

    def __init__(self, *message: str, uncertain_calls: int = 0) -> None:
        self.uncertain_calls = uncertain_calls
        super().__init__(*message)


class BudgetSpent(ModelError):
    """The budget of the run allows no further model call."""


class MissingKey(ModelError):
    """No API key was given."""


class ModelUnavailable(ModelError):
    """The model failed after all allowed attempts, or its total deadline passed."""


class EndpointRests(ModelUnavailable):
    """The circuit of the endpoint is open: it failed many times in a row, or asked for a pause."""


class ModelRefused(ModelError):
    """The endpoint refused the request; the same request again would not help."""


class ContextTooLong(ModelRefused):
    """The messages are longer than the model's context: make them shorter and ask again.

    Args:
        message: the sentence.
        limit_tokens: the context of the model; None where it is unknown.
        prompt_tokens: the length of the messages; None where it is unknown.
    """

    def __init__(
        self,
        message: str,
        *,
        limit_tokens: int | None = None,
        prompt_tokens: int | None = None,
    ) -> None:
        self.limit_tokens = limit_tokens
        self.prompt_tokens = prompt_tokens
        super().__init__(message)


class AnswerUnusable(ModelError):
    """No answer of a model held what was asked for.

    Args:
        message: the sentence.
        answers: what it said, in order.
    """

    def __init__(self, message: str, answers: Sequence[str] = ()) -> None:
        self.answers = tuple(answers)
        super().__init__(message)


class ScriptExhausted(ModelError):
    """A scripted model has no reply left."""


class StoreError(LlmOptimizeError, RuntimeError):
    """Runs cannot be written or read."""


class NotAStore(StoreError):
    """The file or URL is not a database of this library."""


class NewerStore(StoreError):
    """The database was written by a newer version of this library."""


class RunHeld(StoreError):
    """The run is open for writing already.

    Args:
        name: of the run.
        store: its URL, without a password.
        pid: of the process that writes it; 0 where it is unknown.
        host: of that process; empty where it is unknown.
        repair: what to do about it.
    """

    def __init__(self, name: str, store: str, pid: int, host: str, repair: str) -> None:
        self.name = name
        self.pid = pid
        self.host = host
        holder = f"process {pid} on host {host}" if pid else "another process"
        super().__init__(
            f"the run {name!r} in {store} is held by {holder}: {repair}, "
            "or start a run of another name"
        )


class RunNotFound(StoreError, LookupError):
    """The store has no run of that name; the message names the nearest of the `known` ones."""

    def __init__(self, name: str, known: Iterable[str], store: str) -> None:
        self.name = name
        newest_first = tuple(known)[::-1]
        nearest = suggestion(name, newest_first)
        if len(newest_first) > _MAX_KNOWN and nearest.startswith("known"):
            nearest = f"the newest of {len(newest_first)} are "
            nearest += ", ".join(newest_first[:5]) + "; llm-optimize list shows all"
        super().__init__(f"no run named {name!r} in {store}: {nearest}")


class SandboxError(LlmOptimizeError, RuntimeError):
    """Code in a sandbox failed; `outcome` is a `sandbox.Outcome`, or None where nothing ran."""

    def __init__(self, *words: object, outcome: Any = None) -> None:
        super().__init__(*words)
        self.outcome = outcome


class SandboxUnavailable(SandboxError):
    """This sandbox level cannot work on this machine; the message names what is missing."""


class ScriptFailed(SandboxError):
    """A script ended with an error; the message holds the end of its output."""


class VariableMissing(SandboxError, KeyError):
    """A script ended without an error, but did not set a variable that was asked for."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""  # a KeyError would quote it


class ScriptTimeout(SandboxError, subprocess.TimeoutExpired):
    """A script did not end within its deadline and was killed with its descendants.

    Args:
        cmd: what ran.
        timeout: the deadline in seconds.
        output: what the script had printed.
        outcome: a `sandbox.Outcome`.
    """

    def __init__(
        self, cmd: str, timeout: float, output: str = "", outcome: Any = None
    ) -> None:
        subprocess.TimeoutExpired.__init__(self, cmd, timeout, output)
        self.outcome = outcome

    def __str__(self) -> str:
        return (
            f"{self.cmd} was killed at its deadline of {self.timeout:g} s: "
            "give it more time or make it faster"
        )


def suggestion(given: str, known: Iterable[str]) -> str:
    """Return the nearest of the known words as a question, or all of them as a list.

    >>> suggestion("islnds", ["best", "chat", "islands"])
    "did you mean 'islands'?"
    >>> suggestion("zzz", ["best", "chat"])
    'known are best, chat'
    >>> suggestion("zzz", [])
    'there are none yet'
    """
    words = list(known)
    near = difflib.get_close_matches(given, words, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(map(repr, near)) + "?"
    if not words:
        return "there are none yet"
    shown = ", ".join(words[:_MAX_KNOWN])
    more = len(words) - _MAX_KNOWN
    if more > 0:
        shown += f" and {more} more"
    return f"known are {shown}"


def require(*modules: str, needed_by: str) -> None:
    """Raise MissingExtra unless all modules are installed; none of them is imported.

    Call it before the import statement of an optional package.

    Args:
        modules: top-level names, such as "pandas".
        needed_by: what the user asked for, the subject of the sentence.

    >>> require("pandsa", needed_by="to_pandas")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    llm_optimize.errors.MissingExtra: to_pandas needs pandsa: ...pip install pandsa
    """
    missing = [module for module in modules if find_spec(module) is None]
    if not missing:
        return
    packages = [_PACKAGES.get(module, module) for module in missing]
    names = " and ".join(packages)
    raise MissingExtra(f"{needed_by} needs {names}: {pip_install(*packages)}")


# On the package index, where a package has another name than its module.
_PACKAGES = {
    "IPython": "ipython",
    "genai_prices": "genai-prices",
    "sklearn": "scikit-learn",
}
