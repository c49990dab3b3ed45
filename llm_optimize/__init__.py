"""A generic optimizer in which a chat model proposes and your own function judges.

Start at `optimize.run`. The modules load when they are first used, so that `import llm_optimize`
costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "1.0.0"
__all__ = [
    "automl",
    "demo",
    "errors",
    "eval_utils",
    "llm",
    "optimize",
    "records",
    "search",
    "settings",
    "space",
    "stop",
    "store",
    "testing",
    "text",
]

if TYPE_CHECKING:
    from . import (
        automl,
        demo,
        errors,
        eval_utils,
        llm,
        optimize,
        records,
        search,
        settings,
        space,
        stop,
        store,
        testing,
        text,
    )


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f".{name}", __name__)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
