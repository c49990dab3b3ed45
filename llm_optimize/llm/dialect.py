"""Dialect: how one model at one endpoint takes requests, learned from what it refuses.

A request starts out as the user asked for it. What the endpoint refuses is changed for good, for
all calls of this model, and said once:

    temperature, limits of a reply   the nearest value that it takes, where the refusal says which
    a limit of a reply               its other name; then none, which a warning says
    reasoning effort                 the nearest of the values that it takes; else none
    JSON schema                      strict, then loose, then any JSON object, then as words: from
                                     there on the schema stands at the end of the prompt
    system messages                  as the developer's, then at the head of the user's
    stop                             the reply is cut here
    chat completions                 the Responses API
    seed, top_p and the like         left out

Nothing else is: other parts of `extra_body` may be what keeps data private or calls cheap.

Calls that begin together would all be refused, each for itself. So what an endpoint has never
answered goes out in one call first. The others wait for its outcome, but only while refusals come
quickly: a request that was not refused within a second is being worked on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ModelRefused
from ..records import Message
from ..text import storable
from . import responses
from .faults import Unsupported

_log = logging.getLogger(__name__)

CHAT, RESPONSES = "chat", "responses"
SYSTEM, SCHEMA, API = "system", "response_format", "api"  # besides the names of options
LIMITS = ("max_tokens", "max_completion_tokens")
_PROBE_SECS = 1.0  # in which a refusal comes, if one does
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_DEFAULT_EFFORT = "default"  # a value of some endpoints, ranked as medium
_EFFORT = re.compile(rf"['\"`]({'|'.join(_EFFORTS)}|{_DEFAULT_EFFORT})['\"`]")
# Options that may be left out: they change how replies vary, not what is sent to whom.
_HARMLESS = frozenset(
    {
        "frequency_penalty",
        "logprobs",
        "metadata",
        "min_p",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "repetition_penalty",
        "seed",
        "store",
        "stream_options",
        "top_k",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
    }
)
_HIGHEST = re.compile(
    r"(?:<=|> |less than or equal to|at most|maximum (?:value )?(?:of|is)"
    r"|(?:range|between|from|in|is|be):? ?[\[(]?[\d.]+ ?(?:\([a-z]+\))?(?:\.\.|,| and| to))"
    r" ?[`'\"]?(\d+(?:\.\d+)?)",
    re.I,
)
_LOWEST = re.compile(
    r"(?:>=|greater than or equal to|at least) ?[`'\"]?(\d+(?:\.\d+)?)", re.I
)
_DEVELOPER_NEXT = re.compile(r"role\W.*'system'", re.I | re.S)
_BAD_SCHEMA = re.compile(r"invalid schema|schema.{0,80}not permitted|strict", re.I)
_FORMATS = ("strict", "loose", "object", "words")
_OTHER_API = "it is asked by the Responses API"
_ASK_FOR_JSON = "Answer with one JSON object of this JSON schema and nothing else:"


@dataclass(frozen=True)
class Request:
    """One request as it goes out.

    Args:
        model: its name.
        messages: as they are sent.
        body: the JSON.
        api: "chat" or "responses".
        parts: all that may be refused, by the names that `Unsupported` has.
        form: how often the dialect had changed when it was written.
    """

    model: str
    messages: Sequence[Message]
    body: dict[str, Any]
    api: str
    parts: frozenset[str]
    form: int

    @property
    def path(self) -> str:
        """Where it goes, below the base URL."""
        return "/responses" if self.api == RESPONSES else "/chat/completions"


class Dialect:
    """What is known of how a model at an endpoint takes requests.

    Args:
        model: its name.
        options: that the user gave, by the names of chat completions.
        extra: further parts of each request, sent as they are.
        api: "chat", "responses", or "auto": chat, until the endpoint refuses that.

    Attributes:
        changes: what was changed so far, a sentence each.
    """

    def __init__(
        self, model: str, options: Mapping[str, Any], extra: Mapping[str, Any], api: str
    ) -> None:
        self.changes: list[str] = []
        self._model = model
        self._options = dict(options)
        self._extra = dict(extra)
        self._api = RESPONSES if api == RESPONSES else CHAT
        self._may_change_api = api == "auto"
        self._chat_refusal: ModelRefused | None = None  # while /responses is a guess
        self._system = "system"
        self._format = _FORMATS[0]
        self._left_out: set[str] = set()
        self._cuts: tuple[str, ...] = ()
        self._form = 0
        self._answered = frozenset({CHAT, "system"})
        self._probe: _Probe | None = None
        self._settle()

    @property
    def max_tokens(self) -> int | None:
        """The limit of a reply that is in force; None where there is none."""
        for name in LIMITS:
            if name in self._options:
                return int(self._options[name])
        return None

    # What goes out.

    def _settle(self) -> None:
        """Write the part of all requests that changes only with the dialect."""
        options = self._options
        base: dict[str, Any] = {"model": self._model}
        if self._api == RESPONSES:
            base |= responses.options_there(options)
            if "store" not in self._left_out:
                base["store"] = False  # else prompts and replies are kept for weeks
        else:
            base |= options
        self._base = {**base, **self._extra}
        self._parts = frozenset({*options, *self._extra, "store", SYSTEM, self._api})
        known = [f"{name}={value}" for name, value in options.items()]
        self._features = frozenset({self._api, self._system, *known, *self._extra})
        self._with_schema = self._features | {self._format}
        if "stop" in options and "stop" not in base:
            self._cut_at(options["stop"])

    def _cut_at(self, stop: Any) -> None:
        self._cuts = (stop,) if isinstance(stop, str) else tuple(stop)

    def request(
        self, messages: Sequence[Message], schema: Mapping[str, Any] | None
    ) -> Request:
        """Return the request for these messages, in the form that is known to work."""
        sent = self._as_sent(messages)
        body = dict(self._base)
        parts = self._parts
        if schema is not None:
            parts |= {SCHEMA}
            written = self._response_format(schema)
            if self._format in ("object", "words"):
                sent = _with_schema(sent, schema)
            if written is not None and self._api == RESPONSES:
                body["text"] = responses.format_there(written)
            elif written is not None:
                body[SCHEMA] = written
        if self._api == RESPONSES:
            body |= responses.input_of(sent)
        else:
            body["messages"] = sent
        return Request(self._model, sent, body, self._api, parts, self._form)

    def _as_sent(self, messages: Sequence[Message]) -> list[Message]:
        sent: list[Message] = []
        for message in messages:
            role = message["role"]
            if role == "system":
                role = self._system
            sent.append(Message(role=role, content=storable(message["content"])))
        if self._system == "user":
            return _joined(sent)
        return sent

    def _response_format(self, schema: Mapping[str, Any]) -> dict[str, Any] | None:
        if self._format == "words":
            return None
        if self._format == "object":
            return {"type": "json_object"}
        # Strict endpoints demand that all properties are required and no others are allowed.
        properties = set(schema.get("properties", ()))
        is_closed = schema.get("additionalProperties") is False
        is_complete = set(schema.get("required", ())) == properties
        strict = is_closed and is_complete and self._format == "strict"
        named = {"name": "x", "schema": dict(schema), "strict": strict}
        return {"type": "json_schema", "json_schema": named}

    def cut(self, text: str) -> str:
        """Return a reply up to the first `stop`, where the endpoint does not cut it."""
        for stop in self._cuts:
            text = text.partition(stop)[0]
        return text

    # Who goes first.

    async def wait(self, caller: object, has_schema: bool) -> None:
        """Let one caller at a time send what was never answered, and wait until that is known."""
        while True:
            features = self._with_schema if has_schema else self._features
            if features <= self._answered:
                return
            probe = self._probe
            loop = asyncio.get_running_loop()
            if probe is None:
                self._probe = _Probe(caller, loop, asyncio.Event())
                return
            if probe.caller is caller or probe.loop is not loop:
                return
            form = self._form
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PROBE_SECS):
                    await probe.over.wait()
            if form == self._form and not probe.over.is_set():
                self._answered |= features  # as far as can be seen

    def release(self, caller: object) -> None:
        """Let another caller go first, if this one does."""
        if self._probe is not None and self._probe.caller is caller:
            self._probe.over.set()
            self._probe = None

    def answered(self, request: Request) -> None:
        """Learn that a request was answered."""
        if request.form != self._form:
            return
        features = self._features
        if SCHEMA in request.parts:
            features = self._with_schema
        if not features <= self._answered:
            self._answered |= features
        self._chat_refusal = None

    # What is learned.

    def adapt(self, request: Request, refused: Unsupported, endpoint: str) -> bool:
        """Learn that an endpoint refuses a part of a request; False where nothing can be changed.

        Another call may have learned it meanwhile.
        """
        if request.form != self._form:
            return True
        change = self._change(refused)
        if not change:
            return False
        self._form += 1
        self._settle()
        sentence = f"the model {self._model!r} at {endpoint} {change}"
        self.changes.append(sentence)
        costs_more = refused.part in LIMITS and self.max_tokens is None
        _log.log(logging.WARNING if costs_more else logging.INFO, "%s", sentence)
        return True

    def refused(self, request: Request) -> ModelRefused | None:
        """Return the first refusal, where the Responses API was a guess and is refused as well."""
        first = self._chat_refusal
        if first is None or request.api != RESPONSES:
            return None
        self._api = CHAT
        self._may_change_api = False
        self.changes = [one for one in self.changes if not one.endswith(_OTHER_API)]
        self._form += 1
        self._settle()
        return first

    def _change(self, refused: Unsupported) -> str:
        """Change what was refused; return what is said of it, empty where it cannot be changed."""
        part = refused.part
        if part == API:
            return self._change_api(refused)
        if part == SYSTEM:
            return self._change_system(refused.message)
        if part == SCHEMA:
            return self._change_format(refused.message)
        if part in LIMITS:
            return self._change_limit(part, refused.message)
        if part == "reasoning_effort":
            return self._change_effort(refused.message)
        if part == "temperature":
            value = self._within(part, refused.message)
            if value is not None:
                self._options[part] = value
                return f"takes no such temperature: it is asked with {value:g}"
        elif part == "stop":
            self._cut_at(self._options["stop"])
        elif part not in _HARMLESS:
            return ""
        self._options.pop(part, None)
        self._extra.pop(part, None)
        self._left_out.add(part)
        return f"takes no {part}: it is asked without"

    def _change_api(self, refused: Unsupported) -> str:
        if not self._may_change_api:
            return ""
        self._api = RESPONSES
        self._may_change_api = False
        if refused.is_guess:
            self._chat_refusal = refused.otherwise
        if "seed" in self._options:
            del self._options["seed"]
            return f"takes no chat completions and no seed: {_OTHER_API}"
        return f"takes no chat completions: {_OTHER_API}"

    def _change_system(self, message: str) -> str:
        if self._system == "system" and _DEVELOPER_NEXT.search(message):
            self._system = "developer"
            return "takes no system message: it is sent as the developer's"
        if self._system == "user":
            return ""
        self._system = "user"
        return "takes no system message: it stands before the user's"

    def _change_format(self, message: str) -> str:
        place = _FORMATS.index(self._format)
        if place + 1 == len(_FORMATS):
            return ""
        place += 1
        if self._format == "strict" and not _BAD_SCHEMA.search(message):
            place += 1
        self._format = _FORMATS[place]
        if self._format == "loose":
            return "takes this JSON schema only where it need not be strict: it is asked so"
        if self._format == "object":
            return "takes no JSON schema: it is asked for a JSON object, the schema in words"
        return "takes no response_format: it is asked in words"

    def _change_limit(self, name: str, message: str) -> str:
        value = self._within(name, message)
        if value is not None:
            self._options[name] = int(value)
            return f"takes no such {name}: it is asked with {value:g}"
        tokens = self._options.pop(name)
        self._left_out.add(name)
        for other in LIMITS:
            if other not in self._left_out:
                self._options[other] = tokens
                return f"takes no {name}: it is asked with {other}"
        return f"takes no {name}: its replies have no limit of {tokens} tokens any more"

    def _change_effort(self, message: str) -> str:
        given = self._options.pop("reasoning_effort")
        taken = set(_EFFORT.findall(message)) - {given}
        if given != "none":
            taken.discard("none")
        if given in _EFFORTS and taken:
            wanted = _rank(given)
            nearest = min(
                taken, key=lambda effort: (abs(_rank(effort) - wanted), effort)
            )
            self._options["reasoning_effort"] = nearest
            return f"takes no reasoning_effort {given!r}: it is asked with {nearest!r}"
        return "takes no reasoning_effort: it is asked without"

    def _within(self, name: str, message: str) -> float | None:
        """Return the nearest value that a refusal allows; None where it says none, or no other."""
        value = self._options[name]
        highest, lowest = _HIGHEST.search(message), _LOWEST.search(message)
        if highest and float(highest[1]) < value:
            return float(highest[1])
        if lowest and float(lowest[1]) > value:
            return float(lowest[1])
        return None

    # Probes and locks belong to one event loop, and stay behind.

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_probe": None}


@dataclass(frozen=True)
class _Probe:
    """The call that goes first."""

    caller: object
    loop: asyncio.AbstractEventLoop
    over: asyncio.Event


def _rank(effort: str) -> int:
    if effort == _DEFAULT_EFFORT:
        effort = "medium"
    return _EFFORTS.index(effort)


def _joined(messages: Sequence[Message]) -> list[Message]:
    """Return messages whose roles alternate: those that follow one of the same role join it."""
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1]["role"] == message["role"]:
            content = joined.pop()["content"] + "\n\n" + message["content"]
            message = Message(role=message["role"], content=content)
        joined.append(message)
    return joined


def _with_schema(
    messages: Sequence[Message], schema: Mapping[str, Any]
) -> list[Message]:
    """Return messages at whose end a JSON schema is asked for in words."""
    asked = f"{_ASK_FOR_JSON}\n{json.dumps(schema)}"
    return _joined([*messages, Message(role="user", content=asked)])
