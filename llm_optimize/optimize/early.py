"""The early check: a wrong key or address ends a run while its x0 is still being scored.

The first prompt shows the score of x0, so the first model call waits for it, however long f takes.
Meanwhile the endpoint is asked for its models, which is free and no call of the run. A definite no
ends the run at once, and the scoring of x0 is given up; a name that is not listed is a notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ..blocking import cancel_all
from ..errors import ModelRefused, suggestion
from ..llm import Chat, Model
from ..records import Event, Noticed
from .state import RunState

_PATIENCE_SECS = 0.25  # the x0 of a quick f is scored by then, and the first call tells
_DEADLINE_SECS = 5.0


@asynccontextmanager
async def checked_early(
    model: Model | None, state: RunState, notify: Callable[[Event], None]
) -> AsyncIterator[None]:
    """Check the endpoint of a run beside what is done here; the run ends where it refuses.

    Nothing is asked where the first model call does not wait for an x0, where a call was answered
    before, and of models that are no endpoint or several.
    """
    waits_for_x0 = state.settings.x0 and 0 not in state.trials
    will_ask = state.settings.max_steps > 0 and state.counts.calls == 0
    if not isinstance(model, Chat) or not waits_for_x0 or not will_ask:
        yield
        return
    check = asyncio.create_task(_check(model, state, notify))
    try:
        yield
    finally:
        await cancel_all([check])


async def _check(model: Chat, state: RunState, notify: Callable[[Event], None]) -> None:
    await asyncio.sleep(_PATIENCE_SECS)
    if state.counts.calls > 0:
        return
    try:
        names = await model.listed_models(_DEADLINE_SECS)
    except ModelRefused as error:
        state.refuse(error)
        return
    # Some lists have a folder before the name, or a tag behind it.
    known = {name for one in names for name in (one, one.split(":")[0])}
    if not names or any(f"/{name}".endswith(f"/{model.name}") for name in known):
        return
    hint = suggestion(model.name, names)
    text = f"the endpoint does not list the model {model.name!r}: {hint}"
    notify(Noticed(text))
