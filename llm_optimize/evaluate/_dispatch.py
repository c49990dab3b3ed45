"""One function made of several, so that one warm process holds them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


class Dispatch:
    """Calls one of several functions, on x alone or on x and an example; the examples travel with it, once.

    >>> dispatch = Dispatch([len, lambda x, example: x + example], {"train": ["!"]})
    >>> dispatch(Dispatch.order("ab", 0)), dispatch(Dispatch.order("ab", 1, ("train", 0)))
    (2, 'ab!')
    """

    def __init__(
        self, funcs: Sequence[Callable[..., Any]], parts: Mapping[str, Sequence[Any]]
    ) -> None:
        """Take the functions, and the examples by the name of their part."""
        self._funcs = tuple(funcs)
        self._parts = dict(parts)
        self.__wrapped__ = self._funcs[-1]  # whose imports the sandbox looks for
        self.__qualname__ = " and ".join(
            getattr(func, "__qualname__", type(func).__name__) for func in self._funcs
        )

    @staticmethod
    def order(x: Any, stage: int, example: tuple[str, int] | None = None) -> Any:
        """Return the one argument that calls function number `stage` on x, and on an example of a part."""
        return [x, stage] if example is None else [x, stage, *example]

    def __call__(self, order: Sequence[Any]) -> Any:
        x, stage, *example = order
        if not example:
            return self._funcs[stage](x)
        part, index = example
        return self._funcs[stage](x, self._parts[part][index])
