"""The application: pages, what they are made of, and what they ask for."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from ...errors import LlmOptimizeError, RunNotFound, StoreError, UsageError
from ...store import RunInfo, Store
from ...text import one_line
from ..report import bundle, facts
from ..report.colours import Colours
from ..report.comparison import comparison
from ..report.detail import detail, story
from ..report.diffs import parts
from ..report.parameters import parameters
from ._follow import MAX_DIGITS, Followed
from ._streams import Streams

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_POLL_SECS = 0.25
_ALIVE_SECS = 15.0  # without news, after which a line says that the connection stands
_MAX_STEER_BYTES = 64_000
_MAX_COMPARED = 60
_FOR_EVER = {"cache-control": "private, max-age=31536000, immutable"}


class App:
    """What the page answers; `stopping` says when streams shall end, `streams` how many there may be at a time."""

    def __init__(
        self, store: Store, stopping: Callable[[], bool], streams: int
    ) -> None:
        """Take the store, which stays the caller's to close."""
        self._store = store
        self._stopping = stopping
        self._streams = Streams(streams)
        self._followed: dict[str, Followed] = {}
        self._lock = threading.Lock()
        script, style, plotly = (
            bundle.script("page/static/page"),
            bundle.style(),
            bundle.plotly_source(),
        )
        self._files = {
            f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.{kind}": (
                text.encode(),
                mime,
            )
            for name, kind, text, mime in (
                ("page", "js", script, "text/javascript"),
                ("page", "css", style, "text/css"),
                ("plotly", "js", plotly, "text/javascript"),
            )
        }
        page, sheet, charts = self._files
        self._shell = bundle.template("page", "page.html").render(
            page=page, sheet=sheet, plotly=charts, unused=bundle.plotly_styles()
        )

    def starlette(self) -> Starlette:
        """Return it as a Starlette application."""
        from starlette.applications import Starlette
        from starlette.routing import Route

        pages = [
            Route(path, self.shell) for path in ("/", "/compare", "/run/{name:path}")
        ]
        asked = {
            "runs": self.runs,
            "facts": self.facts,
            "trial": self.trial,
            "search": self.search,
            "story": self.story,
            "parameters": self.parameters,
            "curves": self.curves,
            "live": self.live,
        }
        routes = [
            *pages,
            Route("/static/{file}", self.static),
            *(
                Route(f"/api/{name}", answer, methods=["GET"])
                for name, answer in asked.items()
            ),
            Route("/api/steer", self.steer, methods=["POST"]),
        ]
        return Starlette(routes=routes, exception_handlers={LlmOptimizeError: _explain})

    # Pages and what they are made of.

    def shell(self, _: Request) -> Response:
        """The one page; its script shows what the address asks for."""
        from starlette.responses import HTMLResponse

        return HTMLResponse(self._shell, headers={"cache-control": "no-cache"})

    def static(self, request: Request) -> Response:
        """Script, style sheet and plotly, under names that change with their content."""
        from starlette.responses import PlainTextResponse, Response

        data, mime = self._files.get(request.path_params["file"], (None, ""))
        if data is None:
            return PlainTextResponse("no such file", status_code=404)
        return Response(data, media_type=mime, headers=_FOR_EVER)

    # What a page asks for.

    def runs(self, _: Request) -> Response:
        """All runs, as a list shows them."""
        return _json(
            {"runs": [_listed(info) for info in self._store.runs()], "now": time.time()}
        )

    def facts(self, request: Request) -> Response:
        """The columns of a run."""
        return _json(self._run(request).whole())

    def trial(self, request: Request) -> Response:
        """One trial with its texts."""
        followed, number = self._run(request), _number(request)
        parent = followed.parent(number)
        above = None if parent is None else followed.run.trial(parent)
        return _json(
            detail(
                followed.run.trial(number), above, followed.run.calls(number), Colours()
            )
        )

    def search(self, request: Request) -> Response:
        """The numbers of the trials whose texts hold some words."""
        words = request.query_params.get("q", "").lower()
        found = []
        for trial in self._run(request).run.trials():
            texts = (
                *parts(trial.x).values(),
                trial.feedback,
                trial.output,
                trial.lesson,
            )
            if any(words in text.lower() for text in texts):
                found.append(trial.number)
        return _json(found)

    def story(self, request: Request) -> Response:
        """How the champion came about."""
        followed = self._run(request)
        return _json(story(followed.whole()["columns"], followed.run.trial))

    def parameters(self, request: Request) -> Response:
        """Which parameters went with the score."""
        run = self._run(request).run
        return _json(parameters(run.settings.get("space"), run.trials()))

    def curves(self, request: Request) -> Response:
        """The best so far of several runs."""
        names = request.query_params.getlist("run")
        if not 0 < len(names) <= _MAX_COMPARED:
            raise UsageError(
                f"{len(names)} runs cannot be compared: choose 1 to {_MAX_COMPARED}"
            )
        return _json(comparison(self._store, names))

    async def live(self, request: Request) -> Response:
        """A stream of what is new in a run, from a cursor on."""
        from starlette.concurrency import run_in_threadpool

        followed = await run_in_threadpool(self._run, request)
        cursor = request.headers.get("last-event-id") or request.query_params.get(
            "after", ""
        )
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return self._streams.response(
            self._news(followed, cursor),
            media_type="text/event-stream",
            headers=headers,
        )

    async def _news(self, followed: Followed, cursor: str) -> AsyncIterator[bytes]:
        from starlette.concurrency import run_in_threadpool

        state, alive_at = None, time.monotonic()
        yield b"retry: 1000\n\n"
        while not self._stopping():
            await run_in_threadpool(
                followed.refresh, _POLL_SECS * 0.8
            )  # shared by all that watch
            news = followed.since(cursor)
            if news["cursor"] != cursor or news["state"] != state:
                cursor, state, alive_at = (
                    news["cursor"],
                    news["state"],
                    time.monotonic(),
                )
                yield (
                    b"id: "
                    + cursor.encode()
                    + b"\ndata: "
                    + facts.to_json(news)
                    + b"\n\n"
                )
            elif time.monotonic() - alive_at > _ALIVE_SECS:
                alive_at = time.monotonic()
                yield b": still here\n\n"
            await asyncio.sleep(_POLL_SECS)

    async def steer(self, request: Request) -> Response:
        """Write down what the user wants of a run."""
        from starlette.concurrency import run_in_threadpool

        wish = _wish(request, await _body(request))
        return _json(await run_in_threadpool(self._steer, request, *wish))

    def _steer(self, request: Request, kind: str, text: str) -> dict[str, Any]:
        followed = self._run(request)
        if followed.state["stop_reason"] is not None:
            raise UsageError(
                f"the run {followed.run.name!r} has ended: resume it first"
            )
        return {"key": self._store.steer(followed.run.name, kind, text).key}

    def _run(self, request: Request) -> Followed:
        """Return the run that is asked for, with what is new in it. Raises RunNotFound."""
        name = request.query_params.get("run", "")
        with self._lock:
            followed = self._followed.get(name)
            if followed is None:
                followed = self._followed[name] = Followed(self._store, name)
        followed.refresh()
        return followed


def _listed(info: RunInfo) -> dict[str, Any]:
    settings = info.settings
    return {
        "name": info.name,
        "begun_at": info.created_at,
        "stop_reason": info.stop_reason,
        "trials": info.trials,
        "best": info.best_score,
        "task": one_line(
            str(settings.get("task", {}).get("description", ""))[:1000], 160
        ),
        "model": one_line(
            str(settings.get("model") or settings.get("proposer") or ""), 60
        ),
        "search": one_line(str(settings.get("search") or ""), 40),
        "origin": facts.plain(info.origin),
    }


def _number(request: Request) -> int:
    given = request.query_params.get("number", "")
    if not given.isdecimal() or len(given) > MAX_DIGITS:
        raise UsageError(f"{one_line(given, 40)!r} is no number of a trial")
    return int(given)


async def _body(request: Request) -> bytes:
    """Return what was sent. Raises UsageError for too much of it, and where the sender went away in its midst."""
    from starlette.requests import ClientDisconnect

    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > _MAX_STEER_BYTES:
                raise UsageError(
                    f"the hint is longer than {_MAX_STEER_BYTES} bytes: make it shorter"
                )
    except ClientDisconnect:
        raise UsageError("the request was cut off") from None
    return bytes(body)


def _wish(request: Request, body: bytes) -> tuple[str, str]:
    """Read what a page sent. Raises UsageError."""
    if request.headers.get("content-type") != "application/json":
        raise UsageError("send JSON, and say so in content-type")
    try:
        wish = json.loads(body)
    except ValueError as error:
        raise UsageError(f"this is no JSON: {error}") from None
    except RecursionError:
        raise UsageError(
            "this JSON is nested too deeply: send one object with two texts"
        ) from None
    if not isinstance(wish, dict) or not all(
        isinstance(wish.get(key, ""), str) for key in ("kind", "text")
    ):
        raise UsageError('send {"kind": ..., "text": ...}, both texts')
    return wish.get("kind", ""), wish.get("text", "")


def _json(value: Any) -> Response:
    from starlette.responses import Response

    return Response(
        facts.to_json(value),
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )


async def _explain(_: Request, error: Exception) -> Response:
    """Turn an error of ours into its sentence."""
    status = (
        404
        if isinstance(error, RunNotFound)
        else 503
        if isinstance(error, StoreError)
        else 400
    )
    answer = _json({"error": str(error)})
    answer.status_code = status
    return answer
