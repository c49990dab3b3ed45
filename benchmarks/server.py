"""Simulated OpenAI-compatible endpoint in its own process: latency, faults, a log of answers.

with start_server(latency_secs=1.0, rate_429=0.1) as server:
    llm.Chat("simulated", base_url=server.base_url)
    server.log()
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import IO, Any, cast

ROOT = Path(__file__).resolve().parents[1]
_LENGTH = re.compile(rb"content-length: *(\d+)", re.I)
_CHARS_PER_TOKEN = 4
_REASONS = {
    200: "OK",
    400: "Bad Request",
    429: "Too Many Requests",
    500: "Internal Server Error",
}
_GARBAGE = (
    b"<html><body>502 Bad Gateway</body></html>",
    b'{"id": "chatcmpl-1", "choi',
    b"\xff\xfe\x00not text",
)


@dataclass(frozen=True)
class Settings:
    """How the endpoint behaves; a rate is the share of requests that meet the fault."""

    latency_secs: float = 0.0  # mean of a log-normal
    sigma: float = 0.0  # its width; near the standard deviation relative to the mean
    jitter_secs: float = 0.0  # up to so much is added
    rate_429: float = 0.0
    rate_500: float = 0.0
    rate_drop: float = 0.0  # the connection ends before or within the answer
    rate_drip: float = 0.0  # one byte every drip_secs
    rate_truncated: float = 0.0  # finish_reason "length"
    rate_garbage: float = 0.0  # status 200 and no chat completion
    rate_context: float = 0.0  # 400, the prompt is too long
    retry_after_secs: int = 1
    drip_secs: float = 1.0
    replies: str = "numbers"  # or "program"
    lines: int = 10  # of a program
    # The same prompt gets the same reply; else each reply is another.
    by_prompt: bool = False
    seed: int = 0

    def faults(self) -> dict[str, float]:
        """Return the rates by the names of the faults."""
        rates = {
            name: value
            for name, value in asdict(self).items()
            if name.startswith("rate_")
        }
        return {name.removeprefix("rate_"): value for name, value in rates.items()}


@dataclass(frozen=True)
class Job:
    """One request, and what will be made of it."""

    number: int
    model: str
    key: str  # the same for the same messages
    prompt_chars: int
    fault: str
    delay_secs: float
    text: str


class Endpoint:
    """Answers requests by the settings; logs each request, and each completion sent to its end."""

    def __init__(self, settings: Settings, log: IO[str]) -> None:
        self._settings = settings
        self._log = log
        self._numbers = count()
        self._in_flight = 0
        self._dripping: set[asyncio.Task[None]] = set()

    def handle(self, connection: Connection, body: bytes) -> None:
        """Take one request; it is answered when its time has come."""
        job = self._job(next(self._numbers), json.loads(body))
        self._in_flight += 1
        self._write(
            "request",
            job,
            key=job.key,
            prompt_chars=job.prompt_chars,
            fault=job.fault,
            delay_secs=job.delay_secs,
            in_flight=self._in_flight,
        )
        if job.delay_secs:
            asyncio.get_running_loop().call_later(
                job.delay_secs, self._answer, connection, job
            )
        else:
            self._answer(connection, job)

    def _job(self, number: int, request: dict[str, Any]) -> Job:
        messages = json.dumps(request["messages"])
        key = hashlib.blake2b(messages.encode(), digest_size=8).hexdigest()
        rng = Random(f"{self._settings.seed}/{number}")
        fault, delay_secs = self._fault(rng), self._delay(rng)
        name, age = (key, 0) if self._settings.by_prompt else (str(number), number)
        text = _reply(
            self._settings, name, age, Random(f"{self._settings.seed}/{name}")
        )
        chars = sum(len(message["content"]) for message in request["messages"])
        return Job(number, request["model"], key, chars, fault, delay_secs, text)

    def _fault(self, rng: Random) -> str:
        left = rng.random()
        for name, rate in self._settings.faults().items():
            left -= rate
            if left < 0:
                return name
        return ""

    def _delay(self, rng: Random) -> float:
        mean, sigma = self._settings.latency_secs, self._settings.sigma
        delay = (
            rng.lognormvariate(math.log(mean) - sigma**2 / 2, sigma) if mean else 0.0
        )
        return delay + rng.random() * self._settings.jitter_secs

    def _answer(self, connection: Connection, job: Job) -> None:
        if connection.transport.is_closing():  # nobody waits any more
            self._in_flight -= 1
            return
        faults: dict[str, Callable[[], None]] = {
            "429": lambda: connection.send(
                429, _error("rate limit", "rate_limit_exceeded"), self._retry_after()
            ),
            "500": lambda: connection.send(
                500, _error("the server had an error", None)
            ),
            "context": lambda: connection.send(
                400, _error(_TOO_LONG, "context_length_exceeded")
            ),
            "garbage": lambda: connection.send(
                200, _GARBAGE[job.number % len(_GARBAGE)]
            ),
            "drop": lambda: self._drop(connection, job),
        }
        if job.fault == "drip":
            task = asyncio.ensure_future(self._drip(connection, job))
            self._dripping.add(task)
            task.add_done_callback(self._dripping.discard)
            return
        self._in_flight -= 1
        if job.fault in faults:
            faults[job.fault]()
        else:
            connection.send(200, _completion(job))
            self._sent(job)

    def _retry_after(self) -> str:
        return f"Retry-After: {self._settings.retry_after_secs}\r\n"

    def _drop(self, connection: Connection, job: Job) -> None:
        if job.number % 2:
            body = _completion(job)
            connection.transport.write(_head(200, len(body)) + body[: len(body) // 2])
        connection.transport.abort()

    async def _drip(self, connection: Connection, job: Job) -> None:
        body = _completion(job)
        connection.transport.write(_head(200, len(body)))
        for place in range(len(body)):
            await asyncio.sleep(self._settings.drip_secs)
            if connection.transport.is_closing():
                break
            connection.transport.write(body[place : place + 1])
        else:
            self._sent(job)
        self._in_flight -= 1

    def _sent(self, job: Job) -> None:
        self._write("answer", job, text=_text(job), fault=job.fault, usage=_usage(job))

    def _write(self, event: str, job: Job, **facts: Any) -> None:
        line = {
            "event": event,
            "number": job.number,
            "model": job.model,
            "time": time.time(),
            **facts,
        }
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()


class Connection(asyncio.Protocol):
    """One connection: HTTP/1.1 with Content-Length, one request after the other."""

    transport: asyncio.Transport

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand on each request as soon as it is whole."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._buffer, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < whole:
                return
            body = bytes(self._buffer[end + 4 : whole])
            del self._buffer[:whole]
            self._endpoint.handle(self, body)

    def send(self, status: int, body: bytes, headers: str = "") -> None:
        """Send one whole answer."""
        self.transport.write(_head(status, len(body), headers) + body)


def _head(status: int, length: int, headers: str = "") -> bytes:
    return (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n{headers}\r\n"
    ).encode()


_TOO_LONG = (
    "This model's maximum context length is 8192 tokens. "
    "Please reduce the length of the messages."
)


def _error(message: str, code: str | None) -> bytes:
    return json.dumps(
        {"error": {"message": message, "type": "error", "param": None, "code": code}}
    ).encode()


def _text(job: Job) -> str:
    return job.text[: len(job.text) * 2 // 3] if job.fault == "truncated" else job.text


def _usage(job: Job) -> dict[str, int]:
    prompt, completion = (
        job.prompt_chars // _CHARS_PER_TOKEN,
        len(_text(job)) // _CHARS_PER_TOKEN,
    )
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _completion(job: Job) -> bytes:
    reason = "length" if job.fault == "truncated" else "stop"
    message = {"role": "assistant", "content": _text(job)}
    answer = {
        "id": f"chatcmpl-{job.number}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": job.model,
        "choices": [{"index": 0, "finish_reason": reason, "message": message}],
        "usage": _usage(job),
    }
    return json.dumps(answer).encode()


def _reply(settings: Settings, name: str, age: int, rng: Random) -> str:
    """Return a reply like no other; later ones are better, most of the time."""
    spread = 10 / (1 + age / 20)
    a, b = rng.uniform(-spread, spread), rng.uniform(-spread, spread)
    if settings.replies == "numbers":
        return f"Reply {name}: closer to zero.\n\n```\n[{a:.9f}, {b:.9f}]\n```"
    table = "".join(
        f"    total += {rng.randrange(10**9)} % {line + 7}\n"
        for line in range(settings.lines - 4)
    )
    value = -(a * a + b * b)
    program = (
        f"def answer():  # {name}\n    total = 0\n{table}    return {value:.9f}, total"
    )
    return f"Reply {name}: a shorter way.\n\n```python\n{program}\n```"


# The process.


async def _serve(settings: Settings, log: Path) -> None:
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    with log.open("a") as file:
        endpoint = Endpoint(settings, file)
        server = await loop.create_server(
            lambda: Connection(endpoint), "127.0.0.1", 0, backlog=1024
        )
        print(server.sockets[0].getsockname()[1], flush=True)
        loop.run_in_executor(None, sys.stdin.read).add_done_callback(
            lambda _: over.set()
        )  # the parent has gone
        await over.wait()
        server.close()


class Server:
    """A running endpoint."""

    def __init__(self, base_url: str, path: Path) -> None:
        self.base_url = base_url
        self.path = path  # of the log

    def log(self, event: str = "") -> list[dict[str, Any]]:
        """Return the log, or its `request` or `answer` lines, without an unfinished line."""
        text = self.path.read_text()
        lines = map(json.loads, text[: text.rfind("\n") + 1].splitlines())
        return [line for line in lines if not event or line["event"] == event]


@contextmanager
def start_server(**settings: Any) -> Iterator[Server]:
    """Run an endpoint with these `Settings` until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="simulated-") as folder:
        log = Path(folder) / "log.jsonl"
        log.touch()
        command = [
            sys.executable,
            "-m",
            "benchmarks.server",
            json.dumps(asdict(Settings(**settings))),
            str(log),
        ]
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                port = process.stdout.readline().strip() if process.stdout else ""
                yield Server(f"http://127.0.0.1:{port}/v1", log)
            finally:
                process.kill()


if __name__ == "__main__":
    asyncio.run(_serve(Settings(**json.loads(sys.argv[1])), Path(sys.argv[2])))
