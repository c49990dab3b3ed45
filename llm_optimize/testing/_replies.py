"""Replies as a text: what the parser of the model proposer makes of them."""

from __future__ import annotations

from ..propose.language.answer import Answer, read
from ..records import Reply, Usage, X
from ..space import Space


def read_reply(
    text: str, parent: X | None, space: Space | None = None, finish_reason: str = "stop"
) -> Answer:
    """Return the x that a model's reply makes of its parent, as the model proposer reads it.

    Use it to test your own prompts, models and proposers: what would a run make of this reply?

    Args:
        text: the whole content of the reply, thinking included.
        parent: the x that the model was asked to improve; None for the first x of a run.
        space: the parameters, when x is a set of these.
        finish_reason: why the model ended, as the endpoint reports it.

    Returns:
        An `Answer`: `x`, with a `note` on what was mended; or x is None, and `problem` is the
        sentence that the model is asked again with.

    >>> read_reply("Better:\\n```\\n[0, 1]\\n```\\nRun it:\\n```bash\\nls\\n```", "[5, 3]").x
    '[0, 1]'
    >>> read_reply("I give up.", "[5, 3]").problem
    'the reply holds no fenced block'
    """
    reply = Reply(text, Usage(1), "", finish_reason=finish_reason)
    return read(reply, parent, space)
