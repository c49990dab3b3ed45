"""Responses API: requests and answers of /responses, translated from and to chat completions.

https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..records import Message

# Options that have another name there; those in a table of their own are written by `_nested`.
_RENAMED = {
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
}
_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}
# Its parameters have no such thing. What is cut at `stop` is cut by us.
NOT_THERE = ("seed", "stop")


def options_there(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a chat completion by their names in the Responses API.

    >>> options_there({"max_tokens": 9, "reasoning_effort": "low", "seed": 1})
    {'max_output_tokens': 9, 'reasoning': {'effort': 'low'}}
    """
    found: dict[str, Any] = {}
    for name, value in options.items():
        if name == "reasoning_effort":
            found["reasoning"] = {"effort": value}
        elif name not in NOT_THERE:
            found[_RENAMED.get(name, name)] = value
    return found


def input_of(messages: Sequence[Message]) -> dict[str, Any]:
    """Return the instructions and the input for messages, of which the first may be the system's.

    >>> input_of([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}])
    {'input': [{'role': 'user', 'content': 'hi'}], 'instructions': 'Be brief.'}
    """
    if messages and messages[0]["role"] in ("system", "developer"):
        instructions = messages[0]["content"]
        return {"input": list(messages[1:]), "instructions": instructions}
    return {"input": list(messages)}


def format_there(response_format: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `text` of a request for the `response_format` of a chat completion."""
    within = dict(response_format.get("json_schema", {}))
    return {"format": {"type": response_format["type"], **within}}


def as_completion(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer of the Responses API as a chat completion has it.

    What is no such answer comes back as it is. Nothing in it is trusted to have a shape.
    """
    output = answer.get("output")
    status = answer.get("status")
    if not isinstance(output, list) or status == "failed":
        return dict(answer)
    texts: list[str] = []
    refusals: list[str] = []
    thoughts: list[str] = []
    for item in output:
        if not isinstance(item, dict):
            continue
        if item.get("type") == "reasoning":
            for name in ("summary", "content"):
                thoughts += _texts(item.get(name), "text")
        else:
            texts += _texts(item.get("content"), "text")
            refusals += _texts(item.get("content"), "refusal")
    reason = "stop"
    if status == "incomplete":
        details = answer.get("incomplete_details")
        said = details.get("reason") if isinstance(details, dict) else None
        reason = _REASONS.get(str(said), "length")
    message = {
        "content": "".join(texts),
        "reasoning_content": "\n".join(thoughts),
        "refusal": "".join(refusals),
    }
    return {
        "choices": [{"finish_reason": reason, "message": message}],
        "usage": _usage(answer.get("usage")),
    }


def _texts(parts: Any, name: str) -> list[str]:
    """Return the texts under a name in the parts of an output item."""
    found = []
    for part in parts if isinstance(parts, list) else []:
        text = part.get(name) if isinstance(part, dict) else None
        if isinstance(text, str):
            found.append(text)
    return found


def _usage(usage: Any) -> Any:
    if not isinstance(usage, dict):
        return None
    return {
        "prompt_tokens": usage.get("input_tokens"),
        "completion_tokens": usage.get("output_tokens"),
        "prompt_tokens_details": usage.get("input_tokens_details"),
        "completion_tokens_details": usage.get("output_tokens_details"),
    }
