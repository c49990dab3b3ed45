"""Problem: what the body of an error says, whatever shape an endpoint gives it.

{"error": {"message", "type", "param", "code"}}     OpenAI, Azure, vLLM, Ollama, llama.cpp, ...
[{"error": {"code", "message", "status"}}]          Gemini
{"type": "error", "error": {"type", "message"}}     Anthropic
{"error": {"message", "metadata": {"raw"}}}         OpenRouter: another endpoint's body within
{"code", "error": "a text"}                         xAI, some proxies
{"message": {"detail": [{"loc", "msg"}]}}           Mistral
{"detail": [{"loc", "msg"}]}                        FastAPI
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..text import one_line

_MAX_SHOWN_CHARS = 300
_MAX_CHARS = 4_000  # in which the name of a refused option is looked for
_TAG = re.compile(r"<[^<>]*>")


@dataclass(frozen=True)
class Problem:
    """What an error says.

    Args:
        status: of the answer.
        text: the whole body.
        message: its sentence.
        code: the word for it that programs read; empty where there is none.
        param: the part of the request that is wrong; empty where it is not named.
        is_page: the body is no JSON.
    """

    status: int
    text: str
    message: str
    code: str = ""
    param: str = ""
    is_page: bool = False

    @property
    def shown(self) -> str:
        """The sentence as messages show it."""
        return one_line(self.message, _MAX_SHOWN_CHARS) or "without a reason"


def read_problem(status: int, text: str) -> Problem:
    """Return what the body of an answer with an error status says.

    >>> read_problem(400, '[{"error": {"code": 400, "message": "Unknown name"}}]').message
    'Unknown name'
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        words = _TAG.sub(" ", text[:_MAX_CHARS])
        return Problem(status, text, words, is_page=True)
    if isinstance(data, list) and data:
        data = data[0]
    fields = data if isinstance(data, dict) else {}
    error = fields.get("error") or fields
    if not isinstance(error, dict):  # the sentence itself
        error = {**fields, "message": error}
    sentences = [*_sentences(error.get("message")), *_sentences(error.get("detail"))]
    metadata = error.get("metadata")
    if isinstance(metadata, dict):
        sentences += _sentences(metadata.get("raw"))
    message = ": ".join(sentences) or text
    code = error.get("code") or error.get("type")
    param = error.get("param")
    return Problem(
        status,
        text,
        message[:_MAX_CHARS],
        code=str(code or ""),
        param=param if isinstance(param, str) else "",
    )


def _sentences(value: Any) -> Iterator[str]:
    """Yield the sentences in a message, which may be a list of faults with their places."""
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, dict):
        yield from _sentences(value.get("detail") or value.get("message"))
        place = value.get("loc")
        if isinstance(place, list | tuple) and place:
            yield f"'{place[-1]}': {value.get('msg')} ({value.get('type')})"
    elif isinstance(value, list):
        for one in value[:20]:
            yield from _sentences(one)
