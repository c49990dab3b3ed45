"""Simulated providers: what each refuses, in its own words and shape of error, and how it answers.

The facts are those that their documentation and reports of their users state; docs/providers.md
says when they were read. Nothing of this has been tried with the providers themselves.
"""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass

from server import KEY, Raw, completion

TEXT = "Lower.\n```\n[1, 1]\n```"
CORE = {"model", "messages", "temperature", "top_p", "stop", "response_format"}
BOTH_LIMITS = {"max_tokens", "max_completion_tokens"}


@dataclass(frozen=True)
class Provider:
    """How one provider takes requests.

    Args:
        name: as the page has it.
        base: the path of its base URL.
        error: writes an error in its shape: of a status, a sentence, and a word for it.
        known: the names of all that a request may hold; None: others are ignored.
        unknown: what is said of another name.
        refuse: returns what else is wrong with a request, or None.
        reply: writes an answer.
        needs_key: in the header Authorization or api-key.
        too_long: what is said of a prompt that is too long: a status and a sentence.
        responses: whether it has the Responses API.
    """

    name: str
    base: str
    error: Callable[..., Raw]
    known: frozenset | None = None
    unknown: Callable[[str], str] = "Unknown parameter: '{}'.".format
    refuse: Callable[[dict], Raw | None] = lambda request: None
    reply: Callable[[str], dict] = completion
    needs_key: bool = True
    too_long: tuple[int, str] = (400, "maximum context length is 8192 tokens")
    responses: bool = False

    def serve(self, server):
        """Let a server on loopback answer as this provider."""

        def answer(request):
            sent = server.requests[-1]
            return self.answer(sent["path"], sent["headers"], request)

        server.answer = answer

    def answer(self, path, headers, request):
        path = path.partition("?")[0]
        keys = [headers.get(name, "") for name in ("authorization", "api-key")]
        if self.needs_key and not any(KEY in key for key in keys):
            return self.error(401, "Incorrect API key provided.", "invalid_api_key")
        if path == f"{self.base}/responses" and self.responses:
            return respond(request, self.error)
        if path != f"{self.base}/chat/completions":
            return self.error(404, "Not Found", None)
        if request["model"] == "nothing":
            return self.error(
                404, "The model `nothing` does not exist", "model_not_found"
            )
        if "too long" in str(request["messages"]):
            return self.error(*self.too_long, "context_length_exceeded")
        for name in request:
            if self.known is not None and name not in self.known:
                return self.error(400, self.unknown(name), "unknown_parameter", name)
        return self.refuse(request) or self.reply(text_for(request))


def text_for(request):
    """Return what the model writes: JSON where it is asked for, in the format or in words."""
    prompt = json.dumps(request)
    return '{"a": 1}' if "JSON schema" in prompt or "json_" in prompt else TEXT


# Shapes of errors.


def openai_error(status, message, code=None, param=None):
    kind = "invalid_request_error"
    return Raw(
        status,
        {"error": {"message": message, "type": kind, "param": param, "code": code}},
    )


def gemini_error(status, message, code=None, param=None):
    error = {"code": status, "message": message, "status": "INVALID_ARGUMENT"}
    violation = {"field": param or "", "description": message}
    error["details"] = [
        {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [violation],
        }
    ]
    return Raw(status, json.dumps([{"error": error}]))


def anthropic_error(status, message, code=None, param=None):
    kind = {401: "authentication_error", 404: "not_found_error"}.get(
        status, "invalid_request_error"
    )
    error = {"type": kind, "message": message}
    return Raw(status, {"type": "error", "error": error, "request_id": "req_1"})


def openrouter_error(status, message, code=None, param=None):
    if status in (401, 404):
        return Raw(status, {"error": {"code": status, "message": message}})
    raw = openai_error(status, message, code, param).body
    metadata = {"raw": json.dumps(raw), "provider_name": "OpenAI"}
    error = {"code": status, "message": "Provider returned error", "metadata": metadata}
    return Raw(status, {"error": error, "user_id": "user_1"})


def azure_error(status, message, code=None, param=None):
    code = {401: "401", 404: "DeploymentNotFound"}.get(status, code)
    return Raw(status, {"error": {"code": code, "message": message, "param": param}})


def vllm_error(status, message, code=None, param=None):
    kind = {404: "NotFoundError"}.get(status, "BadRequestError")
    body = {"message": message, "type": kind, "param": None, "code": status}
    return Raw(status, {"object": "error", **body})


def ollama_error(status, message, code=None, param=None):
    body = {"message": message, "type": "api_error", "param": None, "code": None}
    return Raw(status, {"error": body})


def llama_cpp_error(status, message, code=None, param=None):
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return Raw(status, {"error": {"code": status, "message": message, "type": kind}})


def litellm_error(status, message, code=None, param=None):
    message += ". Received Model Group=m\nAvailable Model Group Fallbacks=None"
    body = {"message": message, "type": None, "param": None, "code": str(status)}
    return Raw(status, {"error": body})


def lm_studio_error(status, message, code=None, param=None):
    return Raw(status, {"error": message})


def mistral_error(status, message, code=None, param=None):
    if code != "unknown_parameter":
        kind = "invalid_request_error"
        body = {"message": message, "type": kind, "param": None, "code": "1000"}
        return Raw(status, {"object": "error", **body})
    fault = {"type": "extra_forbidden", "loc": ["body", param], "msg": message}
    body = {"message": {"detail": [fault]}, "type": "invalid_request_error"}
    return Raw(422, {"object": "error", **body, "param": None, "code": None})


# What is refused.


def is_reasoning(error):
    """Return the refusals of a reasoning model behind OpenAI's or Azure's endpoint."""

    def refuse(request):
        model = request["model"]
        if model.endswith("-pro"):
            message = "This model is only supported in v1/responses and not in v1/chat/completions."
            return error(404, message, None, "model")
        if model.endswith("-codex"):
            message = (
                "The chatCompletion operation does not work with the specified model, "
                f"{model}. Please choose different model and try again."
            )
            return error(400, message, "OperationNotSupported")
        if "max_tokens" in request:
            message = (
                "Unsupported parameter: 'max_tokens' is not supported with this model. "
                "Use 'max_completion_tokens' instead."
            )
            return error(400, message, "unsupported_parameter", "max_tokens")
        for name, only in [("temperature", 1), ("top_p", 1)]:
            if request.get(name, only) != only:
                message = (
                    f"Unsupported value: '{name}' does not support {request[name]} with this "
                    "model. Only the default (1) value is supported."
                )
                return error(400, message, "unsupported_value", name)
        if "stop" in request:
            message = "Unsupported parameter: 'stop' is not supported with this model."
            return error(400, message, "unsupported_parameter", "stop")
        if request.get("reasoning_effort") == "minimal":
            message = (
                "Unsupported value: 'reasoning_effort' does not support 'minimal' with this "
                "model. Supported values are: 'low', 'medium', and 'high'."
            )
            return error(400, message, "unsupported_value", "reasoning_effort")
        return None

    return refuse


def anthropic_refuses(request):
    if "temperature" in request and "top_p" in request:
        message = (
            "`temperature` and `top_p` cannot both be specified for this model. "
            "Please use only one."
        )
        return anthropic_error(400, message)
    if request.get("max_tokens", 0) > 64_000:
        message = "max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens"
        return anthropic_error(400, message)
    return None


def gemma_refuses(error, status):
    """Return the refusal of a chat template without a system role."""

    def refuse(request):
        roles = [message["role"] for message in request["messages"]]
        if "system" in roles or "developer" in roles:
            return error(status, "Jinja Exception: System role not supported")
        if any(a == b for a, b in itertools.pairwise(roles)):
            return error(status, "Conversation roles must alternate user/assistant")
        return None

    return refuse


def ollama_refuses(request):
    if "reasoning_effort" in request:
        return ollama_error(400, '"llama3.2" does not support thinking')
    return None


def litellm_refuses(request):
    refused = [
        name for name in ("reasoning_effort", "seed", "top_p") if name in request
    ]
    if refused:
        message = (
            f"litellm.UnsupportedParamsError: bedrock does not support parameters: {refused}, "
            "for model=m. To drop these, set `litellm.drop_params=True`"
        )
        return litellm_error(400, message)
    return None


def deepseek_refuses(request):
    if request.get("response_format", {}).get("type") == "json_schema":
        return openai_error(400, "This response_format type is unavailable now")
    if request.get("max_tokens", 0) > 8192:
        message = "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]"
        return openai_error(400, message)
    return None


def lm_studio_refuses(request):
    if request.get("response_format", {}).get("type") == "json_object":
        message = "'response_format.type' must be 'json_schema' or 'text'"
        return lm_studio_error(400, message)
    return None


def gemini_refuses(request):
    if "additionalProperties" in json.dumps(request.get("response_format")):
        message = (
            'Invalid JSON payload received. Unknown name "additionalProperties" at '
            "'generation_config.response_schema': Cannot find field."
        )
        return gemini_error(400, message)
    if request.get("temperature", 1) > 2:
        message = (
            "Unable to submit request because it has a temperature value of 2.5 but the "
            "supported range is from 0 (inclusive) to 2 (inclusive)."
        )
        return gemini_error(400, message)
    return None


# How they answer.


def with_details(text):
    body = completion(text)
    body["usage"]["prompt_tokens_details"] = {"cached_tokens": 5, "audio_tokens": 0}
    body["usage"]["completion_tokens_details"] = {"reasoning_tokens": 3}
    return body


def with_reasoning(name, **changes):
    def reply(text):
        return {**completion(text, **{name: "Let me think."}), **changes}

    return reply


def deepseek_reply(text):
    body = completion(text, reasoning_content="Let me think.")
    body["usage"] |= {"prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 7}
    return body


def mistral_reply(text):
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    return completion([thought, {"type": "text", "text": text}])


def respond(request, error):
    """Answer in the Responses API, which is strict about names."""
    known = {"model", "input", "instructions", "max_output_tokens", "reasoning"}
    known |= {"store", "temperature", "text", "top_p"}
    for name in request:
        if name not in known:
            return error(
                400, f"Unknown parameter: '{name}'.", "unknown_parameter", name
            )
    if "temperature" in request:
        message = (
            "Unsupported parameter: 'temperature' is not supported with this model."
        )
        return error(400, message, "unsupported_parameter", "temperature")
    if request.get("max_output_tokens", 16) < 16:
        message = (
            "Invalid 'max_output_tokens': integer below minimum value. "
            "Expected a value >= 16, but got 9 instead."
        )
        return error(400, message, "integer_below_min_value", "max_output_tokens")
    text = {
        "type": "output_text",
        "text": text_for({**request, "messages": []}),
        "annotations": [],
    }
    summary = {"type": "summary_text", "text": "Let me think."}
    return {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "output": [
            {"type": "reasoning", "id": "rs_1", "summary": [summary]},
            {
                "type": "message",
                "id": "msg_1",
                "status": "completed",
                "role": "assistant",
                "content": [text],
            },
        ],
        "usage": {
            "input_tokens": 11,
            "input_tokens_details": {"cached_tokens": 5},
            "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 3},
            "total_tokens": 18,
        },
    }


PROVIDERS = [
    Provider(
        "OpenAI",
        "/v1",
        openai_error,
        known=frozenset({*CORE, *BOTH_LIMITS, "reasoning_effort", "seed", "store"}),
        refuse=is_reasoning(openai_error),
        reply=with_details,
        responses=True,
    ),
    Provider(
        "Anthropic",
        "/v1",
        anthropic_error,
        refuse=anthropic_refuses,
        too_long=(400, "prompt is too long: 210000 tokens > 200000 maximum"),
    ),
    Provider(
        "Gemini",
        "/v1beta/openai",
        gemini_error,
        known=frozenset({*CORE, *BOTH_LIMITS, "reasoning_effort"}),
        unknown='Invalid JSON payload received. Unknown name "{}": Cannot find field.'.format,
        refuse=gemini_refuses,
        too_long=(
            400,
            "The input token count (1200000) exceeds the maximum number of tokens "
            "allowed (1048576).",
        ),
    ),
    Provider(
        "OpenRouter",
        "/api/v1",
        openrouter_error,
        refuse=is_reasoning(openrouter_error),
        reply=with_reasoning("reasoning", provider="OpenAI"),
        too_long=(
            400,
            "This endpoint's maximum context length is 8192 tokens. You requested about 9001",
        ),
    ),
    Provider(
        "Azure OpenAI",
        "/openai/v1",
        azure_error,
        known=frozenset({*CORE, *BOTH_LIMITS, "reasoning_effort", "seed", "store"}),
        unknown="Unrecognized request argument supplied: {}".format,
        refuse=is_reasoning(azure_error),
        reply=with_details,
        responses=True,
    ),
    Provider(
        "DeepSeek",
        "",
        openai_error,
        refuse=deepseek_refuses,
        reply=deepseek_reply,
    ),
    Provider(
        "Mistral",
        "/v1",
        mistral_error,
        known=frozenset({*CORE, "max_tokens", "random_seed"}),
        unknown=lambda name: "Extra inputs are not permitted",
        reply=mistral_reply,
        too_long=(
            400,
            "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
        ),
    ),
    Provider(
        "vLLM",
        "/v1",
        vllm_error,
        known=frozenset({*CORE, "max_tokens", "seed", "chat_template_kwargs"}),
        unknown=lambda name: str(
            [
                {
                    "type": "extra_forbidden",
                    "loc": ("body", name),
                    "msg": "Extra inputs are not permitted",
                    "input": 1,
                }
            ]
        ),
        refuse=gemma_refuses(vllm_error, 400),
        reply=with_reasoning("reasoning_content", prompt_logprobs=None),
        needs_key=False,
    ),
    Provider(
        "Ollama",
        "/v1",
        ollama_error,
        refuse=ollama_refuses,
        reply=with_reasoning("reasoning"),
        needs_key=False,
        too_long=(400, "the input length exceeds the context length"),
    ),
    Provider(
        "llama.cpp",
        "/v1",
        llama_cpp_error,
        refuse=gemma_refuses(llama_cpp_error, 500),
        reply=with_reasoning("reasoning_content", timings={"predicted_n": 7}),
        needs_key=False,
        too_long=(
            400,
            "request (5000 tokens) exceeds the available context size (4096 tokens)",
        ),
    ),
    Provider(
        "LM Studio",
        "/v1",
        lm_studio_error,
        refuse=lm_studio_refuses,
        reply=with_reasoning("reasoning_content", stats={}),
        needs_key=False,
    ),
    Provider("LiteLLM proxy", "", litellm_error, refuse=litellm_refuses),
]
