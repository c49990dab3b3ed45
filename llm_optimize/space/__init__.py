"""Typed parameters: what values x may have when x is a dict of parameters."""

from __future__ import annotations

from ._parameters import Bool, Choice, Float, Int, Parameter
from ._read import as_space
from ._space import Space

__all__ = ["Bool", "Choice", "Float", "Int", "Parameter", "Space", "as_space"]
