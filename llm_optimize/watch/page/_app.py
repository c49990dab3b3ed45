"""Application of the page: the shell, its files, and the JSON that its script asks for.

It reads the store, and writes to it only in `steer` and `manage`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from ...errors import (
    LlmOptimizeError,
    RunNotFound,
    StoreError,
    UnknownName,
    UsageError,
)
from ...store import Store
from ...text import one_line
from ..comparison import of_runs, parts_of
from ..overview import Listed, Overview, state_words
from ..report import bundle, facts
from ..report.baselines import baselines
from ..report.colors import Colors
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
_ALIVE_SECS = 15.0  # without news, after which a comment keeps the connection open
_MAX_STEER_BYTES = 64_000
_MAX_COMPARED = 60
_MEDIA_TYPES = {"js": "text/javascript", "css": "text/css"}
_FOR_EVER = {"cache-control": "private, max-age=31536000, immutable"}


File = tuple[bytes, str]  # its content and media type


class App:
    """Answers the requests for the page.

    Args:
        store: stays the caller's to close.
        stopping: returns whether streams shall end.
        streams: how many of them may be open.
    """

    def __init__(
        self,
        store: Store,
        stopping: Callable[[], bool],
        streams: int,
    ) -> None:
        self._store = store
        self._stopping = stopping
        self._streams = Streams(streams)
        self._followed: dict[str, Followed] = {}
        self._overview = Overview(store)
        self._verdicts: dict[str, tuple[Any, str]] = {}
        self._lock = threading.Lock()
        self._files: dict[str, File] = {}
        script = self._add("page", "js", bundle.script("page/static/page"))
        sheet = self._add("page", "css", bundle.style())
        plotly = self._add("plotly", "js", bundle.plotly_source())
        self._shell = bundle.template("page", "page.html").render(
            page=script, sheet=sheet, plotly=plotly, unused=bundle.plotly_styles()
        )

    def _add(self, name: str, kind: str, text: str) -> str:
        """Add a file, and return its name, which changes with its content."""
        data = text.encode()
        digest = hashlib.sha256(data).hexdigest()[:16]
        file = f"{name}-{digest}.{kind}"
        self._files[file] = (data, _MEDIA_TYPES[kind])
        return file

    def starlette(self) -> Starlette:
        """Return it as a Starlette application."""
        from starlette.applications import Starlette
        from starlette.routing import Route

        routes = []
        for path in ("/", "/compare", "/run/{name:path}"):
            routes.append(Route(path, self.shell))
        routes.append(Route("/static/{file}", self.static))
        answers = {
            "runs": self.runs,
            "facts": self.facts,
            "trial": self.trial,
            "search": self.search,
            "story": self.story,
            "baselines": self.baselines,
            "parameters": self.parameters,
            "curves": self.curves,
            "live": self.live,
            "verdict": self.verdict,
        }
        for name, answer in answers.items():
            routes.append(Route(f"/api/{name}", answer, methods=["GET"]))
        routes.append(Route("/api/steer", self.steer, methods=["POST"]))
        routes.append(Route("/api/manage", self.manage, methods=["POST"]))
        return Starlette(routes=routes, exception_handlers={LlmOptimizeError: _explain})

    # The shell and its files.

    def shell(self, _: Request) -> Response:
        """The one page; its script shows what the address asks for."""
        from starlette.responses import HTMLResponse

        return HTMLResponse(self._shell, headers={"cache-control": "no-cache"})

    def static(self, request: Request) -> Response:
        """A file: the script, the style sheet, or plotly."""
        from starlette.responses import PlainTextResponse, Response

        file = self._files.get(request.path_params["file"])
        if file is None:
            return PlainTextResponse("no such file", status_code=404)
        data, media_type = file
        return Response(data, media_type=media_type, headers=_FOR_EVER)

    # What the script asks for.

    def runs(self, _: Request) -> Response:
        """All runs, as a list shows them."""
        with self._lock:
            listed = [_listed(run) for run in self._overview.runs()]
        return _json({"runs": listed, "now": time.time()})

    def verdict(self, request: Request) -> Response:
        """What a comparison found, in the sentence that the command line prints; "" where none."""
        name = request.query_params.get("run", "")
        infos = []
        for info in self._store.runs():
            if info.name.startswith(f"{name}/"):
                infos.append(info)
        # It reads all trials: once for each state of the runs.
        state = [(info.name, info.trials, info.stop_reason) for info in infos]
        known = self._verdicts.get(name)
        if known is None or known[0] != state:
            found = of_runs(self._store, [info.name for info in infos])
            sentence = "" if found is None else found.sentence
            known = self._verdicts[name] = (state, sentence)
        return _json({"sentence": known[1]})

    def facts(self, request: Request) -> Response:
        """The columns of a run."""
        return _json(self._run(request).snapshot())

    def trial(self, request: Request) -> Response:
        """One trial with its texts."""
        followed = self._run(request)
        number = _number(request)
        parent_number = followed.parent(number)
        parent = None
        if parent_number is not None:
            parent = followed.run.trial(parent_number)
        trial = followed.run.trial(number)
        calls = followed.run.calls(number)
        return _json(detail(trial, parent, calls, Colors()))

    def search(self, request: Request) -> Response:
        """The numbers of the trials whose texts contain the query."""
        words = request.query_params.get("q", "").lower()
        found = []
        for trial in self._run(request).run.trials():
            others = (trial.feedback, trial.output, trial.lesson)
            texts = [*parts(trial.x).values(), *others]
            if any(words in text.lower() for text in texts):
                found.append(trial.number)
        return _json(found)

    def story(self, request: Request) -> Response:
        """How the champion came about."""
        followed = self._run(request)
        columns = followed.snapshot()["columns"]
        return _json(story(columns, followed.run.trial, followed.run.direction))

    def baselines(self, request: Request) -> Response:
        """The mutation runs of the same task and f."""
        return _json(baselines(self._store, self._run(request).run))

    def parameters(self, request: Request) -> Response:
        """How each parameter goes with the score."""
        run = self._run(request).run
        space = run.settings.get("space")
        return _json(parameters(space, run.trials(), run.direction))

    def curves(self, request: Request) -> Response:
        """The best so far of several runs."""
        names = request.query_params.getlist("run")
        if not 0 < len(names) <= _MAX_COMPARED:
            raise UsageError(
                f"{len(names)} runs cannot be compared: choose 1 to {_MAX_COMPARED}"
            )
        return _json(comparison(self._store, names))

    async def live(self, request: Request) -> Response:
        """A stream of server-sent events: what is new in a run, from a cursor on."""
        from starlette.concurrency import run_in_threadpool

        followed = await run_in_threadpool(self._run, request)
        # A browser that connects again sends the id of the last event that it got.
        last = request.headers.get("last-event-id")
        cursor = last or request.query_params.get("after", "")
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return self._streams.response(
            self._news(followed, cursor),
            media_type="text/event-stream",
            headers=headers,
        )

    async def _news(self, followed: Followed, cursor: str) -> AsyncIterator[bytes]:
        from starlette.concurrency import run_in_threadpool

        state = None
        alive_at = time.monotonic()
        yield b"retry: 1000\n\n"
        while not self._stopping():
            # All streams of a run share one reader, which reads once a poll.
            await run_in_threadpool(followed.refresh, _POLL_SECS * 0.8)
            news = followed.since(cursor)
            if news["cursor"] != cursor or news["state"] != state:
                cursor, state = news["cursor"], news["state"]
                alive_at = time.monotonic()
                data = facts.to_json(news)
                yield b"id: %s\ndata: %s\n\n" % (cursor.encode(), data)
            elif time.monotonic() - alive_at > _ALIVE_SECS:
                alive_at = time.monotonic()
                yield b": still here\n\n"
            await asyncio.sleep(_POLL_SECS)

    async def steer(self, request: Request) -> Response:
        """Store a control command of the user for a run."""
        from starlette.concurrency import run_in_threadpool

        kind, text = _command(request, await _body(request))
        followed = await run_in_threadpool(self._run, request)
        name = followed.run.name
        steer = await run_in_threadpool(self._store.steer, name, kind, text)
        return _json({"key": steer.key})

    async def manage(self, request: Request) -> Response:
        """Delete, rename or tag a run, or all runs of a comparison."""
        from starlette.concurrency import run_in_threadpool

        kind, text = _command(request, await _body(request))
        await run_in_threadpool(self._manage, request, kind, text)
        return _json({"done": kind})

    def _manage(self, request: Request, kind: str, text: str) -> None:
        name = request.query_params.get("run", "")
        match kind:
            case "delete":
                self._store.delete(name, all_below=name not in self._store.names())
            case "rename":
                self._store.rename(name, text)
            case "tag":
                self._store.tag(name, *text.split())
            case "untag":
                self._store.tag(name, *text.split(), remove=True)
            case _:
                known = ("delete", "rename", "tag", "untag")
                raise UnknownName("kind of change", one_line(kind, 40), known)

    def _run(self, request: Request) -> Followed:
        """Return the run that is asked for, with what is new in it. Raises RunNotFound."""
        name = request.query_params.get("run", "")
        with self._lock:
            followed = self._followed.get(name)
            if followed is None:
                followed = self._followed[name] = Followed(self._store, name)
        try:
            followed.refresh()
        except RunNotFound:  # it was deleted or renamed
            with self._lock:
                self._followed.pop(name, None)
            raise
        return followed


def _listed(run: Listed) -> dict[str, Any]:
    info = run.info
    settings = info.settings
    task = str((settings.get("task") or {}).get("description", ""))
    model = str(settings.get("model") or settings.get("proposer") or "")
    comparison, contender, seed = parts_of(info.name)
    share = max((cap.used / cap.cap for cap in run.caps if cap.cap), default=None)
    return {
        "name": info.name,
        "comparison": comparison if seed else "",
        "contender": f"{contender}/{seed}" if seed else "",
        "begun_at": info.created_at,
        "state": info.state.word,
        "state_words": state_words(info.state),
        "stop_reason": info.stop_reason,
        "trials": info.trials,
        "best": info.best_score,
        "direction": info.direction.value,
        "progress": run.progress,
        "share": share,
        "left": run.left,
        "tags": list(info.tags),
        "task": one_line(task[:1000], 160),
        "model": one_line(model, 60),
        "search": one_line(str(settings.get("search") or ""), 40),
        "origin": facts.plain(info.origin),
    }


def _number(request: Request) -> int:
    given = request.query_params.get("number", "")
    if not given.isdecimal() or len(given) > MAX_DIGITS:
        raise UsageError(f"{one_line(given, 40)!r} is not the number of a trial")
    return int(given)


async def _body(request: Request) -> bytes:
    """Return the body of a request. Raises UsageError if it is too long or was cut off."""
    from starlette.requests import ClientDisconnect

    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > _MAX_STEER_BYTES:
                limit = f"{_MAX_STEER_BYTES} bytes"
                raise UsageError(f"the hint is longer than {limit}: make it shorter")
    except ClientDisconnect:
        raise UsageError("the request was cut off") from None
    return bytes(body)


def _command(
    request: Request,
    body: bytes,
) -> tuple[str, str]:
    """Read a control command: its kind and its text. Raises UsageError."""
    if request.headers.get("content-type") != "application/json":
        raise UsageError('send JSON, with content-type "application/json"')
    try:
        command = json.loads(body)
    except ValueError as error:
        raise UsageError(f"this is not JSON: {error}") from None
    except RecursionError:
        raise UsageError(
            "this JSON is nested too deeply: send one object with two texts"
        ) from None
    if isinstance(command, dict):
        kind = command.get("kind", "")
        text = command.get("text", "")
        if isinstance(kind, str) and isinstance(text, str):
            return kind, text
    raise UsageError('send {"kind": ..., "text": ...}, both texts')


def _json(value: Any) -> Response:
    from starlette.responses import Response

    return Response(
        facts.to_json(value),
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )


async def _explain(_: Request, error: Exception) -> Response:
    """Answer with the sentence of one of our errors."""
    status = 400
    if isinstance(error, RunNotFound):
        status = 404
    elif isinstance(error, StoreError):
        status = 503
    answer = _json({"error": str(error)})
    answer.status_code = status
    return answer
