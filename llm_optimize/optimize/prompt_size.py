"""How long the first prompt is: x0 is sent whole with each call, whatever a prompt may have."""

from __future__ import annotations

from ..errors import OptionName, UsageError
from ..settings import RunSettings
from ..text import show_x
from ..token_estimate import CHARS_PER_TOKEN

_MOST = 10  # times a prompt that x0 may have; beyond, hardly a model reads it


def notice_of_size(settings: RunSettings) -> str:
    """Return that x0 is longer than a prompt; nothing where it fits.

    Raises UsageError where it is longer than ten prompts.
    """
    allowed = settings.max_prompt_tokens
    chars = max((len(show_x(x)) for x in settings.x0), default=0)
    tokens = chars // CHARS_PER_TOKEN
    if settings.space is not None or tokens <= allowed:
        return ""
    if tokens > _MOST * allowed:
        raise UsageError(
            OptionName("x0"),
            f" has about {tokens:,} tokens, more than {_MOST} times the {allowed:,} of ",
            OptionName("max_prompt_tokens"),
            ", and is sent whole with each call: give the part that is to change, "
            "or allow longer prompts",
        )
    return (
        f"x0 has about {tokens:,} tokens and is sent whole with each call, though a prompt "
        f"is to have {allowed:,} (max_prompt_tokens, --max-prompt-tokens)"
    )
