"""Typed parameters: the values that x may have when x is a dict of parameters."""

from __future__ import annotations

from ._convert import as_space
from ._parameters import Bool, Choice, Float, Int, Parameter
from ._space import Space

__all__ = ["Bool", "Choice", "Float", "Int", "Parameter", "Space", "as_space"]
