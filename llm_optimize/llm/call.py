"""One call of a model: attempts within one deadline, and the only layer of retries.

    within the deadline of the call:
        repeat:
            wait for a free place at the endpoint, and until its circuit is closed
            send the request, read the whole answer
            a reply:            done
            a refused part:     send again in another form, at once (see `dialect`)
            a refusal:          ModelRefused or ContextTooLong, at once
            a fault:            the endpoint counts it (circuit breaker, pause that it asked for)
                                enough attempts, of the call or for this kind of fault?  give up
                                a pause longer than what is left of the deadline?        give up
                                wait as long as the endpoint asked for, else for a random
                                time up to a limit that doubles (full jitter)

A 429, for instance: `_send` gets the status, `refusal.raise_refusal` makes it a fault LIMITED with
the seconds of its Retry-After header, `_attempt` notes it at the endpoint, where it pauses all
calls, and `_is_over` and `_wait_secs` decide whether and when this call is tried again.

Requests that brought no answer may be billed all the same. They are counted, also in the errors.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import EndpointRests, LlmOptimizeError, ModelRefused, ModelUnavailable
from ..records import Message, Reply
from .answer import read_answer
from .dialect import Dialect, Request
from .endpoint import Endpoint
from .faults import (
    DROPPED,
    GONE,
    NOBODY,
    PAGE,
    SILENT,
    SLOW_NOBODY,
    STRAY_PAGE,
    Again,
    Fault,
    Unsupported,
)
from .problem import read_problem
from .refusal import raise_refusal, withheld

if TYPE_CHECKING:
    import openai
    import tenacity

_log = logging.getLogger(__name__)

_MAX_REFUSALS = 12  # of parts of the request, that one call answers with another form
# Of the SDK's `with_raw_response`: the body is ours to read.
_RAW = {"X-Stainless-Raw-Response": "true"}
_CONNECT_SECS = 4.0  # so that an address where nothing listens ends within five seconds
# Errors of httpx before anything was sent, which will come again.
_MALFORMED = ("InvalidURL", "LocalProtocolError", "UnsupportedProtocol")


@dataclass(frozen=True)
class CallLimits:
    """How long and how often one call is tried."""

    deadline_secs: float  # over all attempts and waits
    silence_secs: float  # of one attempt, without a byte from the endpoint
    max_attempts: int
    max_wait_secs: float  # between two attempts, if the endpoint asks for nothing else


@dataclass(frozen=True)
class _Answer:
    """What an endpoint sent."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Call:
    """One call while it is under way.

    Args:
        model_title: of the model and its endpoint, for messages.
        endpoint: where requests go.
        limits: of the call.
        patient: whether it waits for an endpoint whose circuit is open; otherwise it raises
            EndpointRests.
    """

    def __init__(
        self, model_title: str, endpoint: Endpoint, limits: CallLimits, patient: bool
    ) -> None:
        self._title = model_title
        self._endpoint = endpoint
        self._limits = limits
        self._patient = patient
        self._started_at = time.monotonic()
        self._faults: Counter[Fault] = Counter()
        self._last: Again | None = None
        self._is_on_wire = False
        self._maybe_billed = 0  # attempts that failed
        self._refusals = 0  # of parts of the request

    @property
    def seconds(self) -> float:
        """The wall clock so far."""
        return time.monotonic() - self._started_at

    @property
    def uncertain_calls(self) -> int:
        """How many requests brought no answer and may be billed all the same."""
        return self._maybe_billed + self._is_on_wire

    async def run(
        self,
        dialect: Dialect,
        messages: Sequence[Message],
        schema: Mapping[str, Any] | None,
    ) -> Reply:
        """Return the reply of the model.

        Args:
            dialect: of the model, which learns what the endpoint refuses.
            messages: to be answered.
            schema: of the JSON that is wanted; None: any text is.

        Raises:
            EndpointRests: the circuit of the endpoint is open, and this call is not patient.
            ModelRefused: something must be changed.
            ModelUnavailable: there was no answer within the attempts or the deadline.
        """
        import tenacity

        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(Again),
            stop=self._is_over,
            wait=self._wait_secs,
            before_sleep=self._log_retry,
            reraise=True,
        )
        try:
            async with asyncio.timeout(self._limits.deadline_secs):
                reply: Reply = await attempts(self._attempt, dialect, messages, schema)
        except TimeoutError:
            raise self._deadline_error() from None
        except (EndpointRests, ModelRefused) as error:
            error.uncertain_calls = self.uncertain_calls
            raise
        except Again as last:
            raise self._attempts_error(last) from last
        usage = replace(reply.usage, uncertain_calls=self.uncertain_calls)
        return replace(reply, usage=usage, seconds=self.seconds)

    async def _attempt(
        self,
        dialect: Dialect,
        messages: Sequence[Message],
        schema: Mapping[str, Any] | None,
    ) -> Reply:
        """Send one request; if the endpoint refuses a part of it, another one that it may take."""
        try:
            while True:
                await dialect.wait(self, schema is not None)
                request = dialect.request(messages, schema)
                try:
                    reply = await self._send_in_turn(request)
                except Unsupported as refused:
                    self._refusals += 1
                    if self._refusals > _MAX_REFUSALS:
                        raise refused.otherwise from None
                    if not dialect.adapt(request, refused, self._endpoint.name):
                        raise refused.otherwise from None
                except ModelRefused as error:
                    raise dialect.refused(request) or error from None
                else:
                    dialect.answered(request)
                    return reply
        finally:
            dialect.release(self)

    async def _send_in_turn(self, request: Request) -> Reply:
        """Send one request in its turn, and let the endpoint count how it went."""
        endpoint = self._endpoint
        async with endpoint.turn(self._patient) as client:
            sent_at = time.monotonic()
            self._is_on_wire = True
            try:
                reply = await self._send(client, request)
            except Again as again:
                self._is_on_wire = False
                self._count(again)
                endpoint.failed(sent_at, again.after_secs)
                raise
            except LlmOptimizeError:  # it answered, and said no
                self._is_on_wire = False
                endpoint.worked()
                raise
            self._is_on_wire = False
            endpoint.worked()
            return reply

    def _count(self, again: Again) -> None:
        self._last = again
        self._faults[again.fault] += 1
        self._maybe_billed += again.fault.billed

    async def _send(self, client: openai.AsyncOpenAI, request: Request) -> Reply:
        """Send one request and read the whole answer.

        An endpoint may repeat what it was sent, so no secret of the request is in what is returned
        or raised. Nothing is raised while an exception of the SDK is handled: it would become the
        context of ours, and it holds what was sent.

        Raises:
            Again: the attempt failed in a way that may pass.
            Unsupported: the endpoint does not take a part of the request.
            ModelRefused: it will never take the request; ContextTooLong when that is too long.
        """
        endpoint = self._endpoint
        secrets = endpoint.secrets
        sent = await _exchange(client, request, endpoint, self._limits.silence_secs)
        if not isinstance(sent, _Answer):
            raise sent
        if sent.status >= 400:
            text = sent.body.decode("utf-8", "replace")
            problem = read_problem(sent.status, secrets.hide(text))
            reply = withheld(problem, request)
            if reply is not None:
                return reply
            raise_refusal(problem, sent.headers, request, endpoint.name)
        try:
            reply = read_answer(sent.body, request, endpoint.name, secrets.hide)
        except Again as again:
            if again.fault is PAGE and endpoint.has_answered:
                raise Again(STRAY_PAGE, str(again)) from None
            raise
        text = secrets.hide_in_reply(reply.text)
        reasoning = secrets.hide_in_reply(reply.reasoning)
        return replace(reply, text=text, reasoning=reasoning)

    # Whether and when it is tried again; called by tenacity after a fault.

    def _is_over(self, state: tenacity.RetryCallState) -> bool:
        if self._last is None or state.attempt_number >= self._limits.max_attempts:
            return True
        if self._has_spent(self._last.fault):
            return True
        pause_secs = self._last.after_secs or 0.0
        left_secs = self._limits.deadline_secs - self.seconds
        return self._patient and pause_secs > left_secs

    def _has_spent(self, fault: Fault) -> bool:
        """Whether a kind of fault has spoiled as many attempts as it may."""
        return self._faults[fault] >= fault.attempts

    def _wait_secs(self, state: tenacity.RetryCallState) -> float:
        import tenacity

        if self._last is None:
            return 0.0
        if not self._patient and self._endpoint.rest_secs() > 0:
            return 0.0  # the next attempt raises EndpointRests
        if self._last.after_secs is not None:
            return self._last.after_secs
        backoff = tenacity.wait_random_exponential(
            multiplier=self._last.fault.first_wait_secs, max=self._limits.max_wait_secs
        )
        return backoff(state)

    def _log_retry(self, state: tenacity.RetryCallState) -> None:
        secs = state.next_action.sleep if state.next_action else 0.0
        _log.info("%s is asked again in %.1f s: %s", self._title, secs, self._last)

    # Errors of the whole call.

    def _deadline_error(self) -> ModelUnavailable:
        before = f", and before that: {self._last}" if self._last else ""
        return ModelUnavailable(
            f"{self._title} did not answer within {self._limits.deadline_secs:g} s{before}: "
            f"raise deadline_secs, or look at the endpoint{self._bill()}",
            uncertain_calls=self.uncertain_calls,
        )

    def _attempts_error(self, last: Again) -> ModelUnavailable | ModelRefused:
        if last.fault.fatal and self._has_spent(last.fault):
            return ModelRefused(f"{self._title} cannot be reached: {last}")
        attempts = sum(self._faults.values())
        return ModelUnavailable(
            f"{self._title} gave no answer in {attempts} attempts: {last}{self._bill()}",
            uncertain_calls=self.uncertain_calls,
        )

    def _bill(self) -> str:
        if not self.uncertain_calls:
            return ""
        return f" (up to {self.uncertain_calls} unanswered requests may be billed)"


async def _exchange(
    client: openai.AsyncOpenAI,
    request: Request,
    endpoint: Endpoint,
    silence_secs: float,
) -> _Answer | Again | ModelRefused:
    """Return what came back, or why nothing did; errors are returned, not raised (see `_send`)."""
    import openai

    connect_secs = min(_CONNECT_SECS, silence_secs)
    timeout = openai.Timeout(silence_secs, connect=connect_secs)
    try:
        # The SDK's own `chat.completions.create` walks through each message to find out what it may
        # hold; that takes longer than the rest. Ours is plain data already, and goes as it is.
        raw: Any = await client.post(
            request.path,
            cast_to=object,
            body=request.body,
            options={"timeout": timeout, "headers": _RAW},
        )
    except openai.APIStatusError as error:
        refused = error.response
        return _Answer(error.status_code, refused.content, refused.headers)
    except openai.APITimeoutError as error:
        if type(error.__cause__).__name__ != "ConnectTimeout":
            return Again(SILENT, f"{endpoint.name} is silent")
        fault = GONE if endpoint.has_answered else SLOW_NOBODY
        return Again(fault, _no_connection(endpoint, "timed out"))
    except openai.APIConnectionError as error:
        return _connection_fault(error, endpoint)
    return _Answer(200, raw.http_response.content)


def _connection_fault(
    error: openai.APIConnectionError, endpoint: Endpoint
) -> Again | ModelRefused:
    cause = error.__cause__
    if isinstance(cause, Again | ModelRefused):
        return (
            cause  # ours, which some versions of the SDK take for a broken connection
        )
    kind = type(cause).__name__
    text = endpoint.secrets.hide(str(cause or error))
    if kind in _MALFORMED:
        return ModelRefused(
            f"nothing can be sent to {endpoint.name} ({text}): look at base_url and api_key"
        )
    if kind == "ConnectError":
        fault = GONE if endpoint.has_answered else NOBODY
        return Again(fault, _no_connection(endpoint, text))
    return Again(DROPPED, f"the connection to {endpoint.name} broke ({text or kind})")


def _no_connection(endpoint: Endpoint, reason: str) -> str:
    return f"no connection to {endpoint.name} ({reason}): is the address right?"
