"""What scikit-learn itself says of its estimators: which there are, of what kind, and which values are legal."""

from __future__ import annotations

import importlib
import math
import warnings
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

_KINDS = ("classifier", "regressor", "transformer", "cluster")
_NO_EFFECT = """
    random_state verbose n_jobs copy copy_X copy_x cache_size memory warm_start output_distribution feature_names
    categorical_features monotonic_cst interaction_cst class_weight sample_weight priors dtype max_iter
"""  # on the score, or only with data that nobody here knows
_NUMBERS_WIDEST = (
    100.0  # times or part of the default, where scikit-learn sets no bounds
)


@dataclass(frozen=True)
class Estimator:
    """A class of scikit-learn that needs no arguments."""

    name: str
    module: str  # from which users import it
    kind: str
    constraints: dict[str, list[Any]]
    defaults: dict[str, Any]


class Catalogue:
    """The estimators that are installed; empty without scikit-learn."""

    @cached_property
    def _by_name(self) -> dict[str, Estimator]:
        try:
            from sklearn.utils import all_estimators
        except ImportError:
            return {}
        found: dict[str, Estimator] = {}
        for kind in _KINDS:
            for name, cls in all_estimators(type_filter=kind):
                estimator = _describe(name, cls, kind)
                if estimator is not None:
                    found[name] = estimator
        return found

    def get(self, name: str) -> Estimator | None:
        """Return the estimator of this class name; None when there is none."""
        return self._by_name.get(name)

    def others(self, estimator: Estimator) -> list[Estimator]:
        """Return those that could stand in its place."""
        return [
            other
            for other in self._by_name.values()
            if other.kind == estimator.kind and other.name != estimator.name
        ]

    def value(self, estimator: Estimator, parameter: str, rng: Random) -> str | None:
        """Return a legal value of a parameter, as Python writes it; None when it has none that can be drawn."""
        default = estimator.defaults[parameter]
        drawn = [
            _draw(constraint, default, rng)
            for constraint in estimator.constraints[parameter]
        ]
        texts = [text for text in drawn if text is not None and text != repr(default)]
        return rng.choice(texts) if texts else None


def _describe(name: str, cls: Any, kind: str) -> Estimator | None:
    """Return what is to know of a class; None for a meta-estimator, an abstract one, or one for odd data."""
    import inspect

    constraints = getattr(cls, "_parameter_constraints", None)
    if not isinstance(constraints, dict):
        return None
    signature = inspect.signature(cls.__init__).parameters
    defaults = {key: value.default for key, value in signature.items() if key != "self"}
    if (
        inspect.Parameter.empty in defaults.values()
        or "estimator" in defaults
        or "base_estimator" in defaults
    ):
        return None
    if not _takes_plain_data(cls):
        return None
    ignored = _NO_EFFECT.split()
    usable = {
        key: rules
        for key, rules in constraints.items()
        if isinstance(rules, list)
        and key in defaults
        and key not in ignored
        and defaults[key] != "deprecated"
    }
    module = cls.__module__.partition("._")[0]
    if not hasattr(importlib.import_module(module), name):
        return None
    return Estimator(name, module, kind, usable, defaults)


def _takes_plain_data(cls: Any) -> bool:
    """Whether it takes an array of numbers for X and one column for y."""
    multi_output = cls.__name__.startswith("MultiTask") or cls.__name__ in (
        "PLSCanonical",
        "CCA",
        "IsotonicRegression",
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "error", FutureWarning
            )  # of a class that is going to be removed
            tags = cls().__sklearn_tags__()
    except (TypeError, ValueError, AttributeError, ImportError, FutureWarning):
        return False
    return tags.input_tags.two_d_array and not multi_output


def _draw(constraint: Any, default: Any, rng: Random) -> str | None:
    """Return one value that a constraint allows, as Python writes it."""
    from sklearn.utils._param_validation import Interval, Options, StrOptions

    if isinstance(constraint, StrOptions | Options):
        options = sorted(
            set(constraint.options) - set(getattr(constraint, "deprecated", ())),
            key=str,
        )
        return repr(rng.choice(options)) if options else None
    if constraint == "boolean":
        return (
            repr(not default) if isinstance(default, bool) else repr(rng.random() < 0.5)
        )
    if isinstance(constraint, Interval):
        return _draw_number(constraint, default, rng)
    return "None" if constraint is None and rng.random() < 0.5 else None


def _draw_number(interval: Any, default: Any, rng: Random) -> str | None:
    """Return a number in an interval, by a log-uniform factor around the default or inside its bounds."""
    whole = interval.type.__name__ == "Integral"
    start = (
        abs(default)
        if isinstance(default, int | float)
        and not isinstance(default, bool)
        and default
        else 1.0
    )
    if isinstance(default, bool) or not math.isfinite(start):
        return None
    low = -math.inf if interval.left is None else float(interval.left)
    high = math.inf if interval.right is None else float(interval.right)
    if math.isfinite(low) and math.isfinite(high):
        value = rng.uniform(low, high)
    else:
        value = start * math.exp(
            rng.uniform(-1, 1) * math.log(_NUMBERS_WIDEST if not whole else 10.0)
        )
    value = min(max(value, low), high)
    text = repr(round(value)) if whole else f"{value:.3g}"
    number = int(text) if whole else float(text)
    if number not in interval:
        return None
    return text if whole or any(mark in text for mark in ".en") else text + ".0"
