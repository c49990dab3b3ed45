"""An x made of what a model answered, and what had to be mended for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import UsageError
from ._parameters import Choice, Parameter
from ._schema import conditions_in_words


class Repair:
    """Takes one value after the other, and notes what became of those that were not right."""

    def __init__(self, values: Mapping[str, Any], parent: Mapping[str, Any]) -> None:
        """Take what was answered, and the x that it was built on."""
        self.x: dict[str, Any] = {}
        self._values = values
        self._parent = parent
        self._notes: list[str] = []

    def take(self, name: str, parameter: Parameter, *, active: bool) -> None:
        """Add the value of a parameter to x, unless its condition does not hold.

        Raises UsageError for a value that cannot be read.
        """
        if not active:
            if name in self._values:
                self._notes.append(
                    f"{name} was left out: it is there only when {conditions_in_words(parameter)}"
                )
        elif name in self._values:
            self.x[name] = self._legal(name, parameter)
        else:
            self.x[name] = self._missing(name, parameter)

    def sentence(self) -> str:
        """Return what was mended; "" when nothing was."""
        return f"mended: {'; '.join(self._notes)}" if self._notes else ""

    def _legal(self, name: str, parameter: Parameter) -> Any:
        given = self._values[name]
        try:
            value = parameter.check(given)
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from None
        if not isinstance(parameter, Choice) and abs(float(given) - value) > 1e-9 * abs(
            value
        ):
            self._notes.append(f"{name} was {given} and became {value}")
        return value

    def _missing(self, name: str, parameter: Parameter) -> Any:
        try:
            value, whose = parameter.check(self._parent[name]), "as in the parent"
        except (KeyError, UsageError):
            value, whose = parameter.usual(), "its usual value"
        self._notes.append(f"{name} was missing and is {value!r}, {whose}")
        return value
