"""AutoML on top of the optimizer: guests that use its front door like any caller.

`advisor` recommends models and hyperparameters; `ridge` is its experiment on synthetic tasks. They
load when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["advisor", "ridge"]

if TYPE_CHECKING:
    from . import advisor, ridge


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f".{name}", __name__)
