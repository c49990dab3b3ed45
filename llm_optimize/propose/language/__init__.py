"""Prompts, and what is read from replies.

`prompt` lays out messages from `templates`; `answer` reads the next x from a reply. Both are pure
functions: nothing here asks a model, runs code or stores anything.
"""

from .prompt import ask_again, lay_out, size_of
from .templates import HUMAN_PROMPT, SYSTEM_PROMPT

__all__ = ["HUMAN_PROMPT", "SYSTEM_PROMPT", "ask_again", "lay_out", "size_of"]
