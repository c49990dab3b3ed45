"""Display hook: how a notebook shows a record, although records know nothing of HTML.

A record hands itself to a renderer, a module with the four functions of `Renderer`. The renderer
is named here and imported when a record is displayed for the first time, as pandas imports its
plotting backend. The reference upwards is this one name: no class of `records` inherits from, or
registers with, anything of `watch`, and a program that displays nothing never imports it.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

    from .direction import Direction
    from .result import Result
    from .trial import Trial

_RENDERER = "llm_optimize.watch.rendering"


class Renderer(Protocol):
    """What a renderer makes of records."""

    def trial_html(self, trial: Trial, /) -> str:
        """Return one trial as HTML, whatever text it holds."""

    def result_html(self, result: Result, /) -> str:
        """Return a result as HTML of bounded size, whatever its trials hold."""

    def data_frame(self, trials: Sequence[Trial], /) -> pandas.DataFrame:
        """Return a row for each trial. Raises MissingExtra without pandas."""

    def draw(
        self,
        trials: Sequence[Trial],
        title: str,
        axes: Axes | None,
        direction: Direction,
        /,
    ) -> Axes:
        """Draw scores by trial, into new axes for None. Raises MissingExtra without matplotlib."""


def renderer() -> Renderer:
    """Return the renderer; the first call imports it."""
    return cast(Renderer, importlib.import_module(_RENDERER))
