"""The writing of the file: facts, texts in blocks that are unpacked when they are asked for, and plotly."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ...errors import RunNotFound
from ...records import Trial
from ...store import Call, Store
from ..atomic import atomic_path
from ..run_view import stored_view
from . import bundle
from .colours import Colours
from .comparison import comparison, names_in
from .detail import clipper, detail, story
from .facts import about, columns, state, to_json
from .parameters import parameters

_MAX_BYTES = 8_000_000  # of the file
_REST_BYTES = 300_000  # of it for all but plotly and the texts of trials
_TRIALS_A_BLOCK = 50
_CLIPS = (
    None,
    20_000,
    6_000,
    2_000,
    600,
    200,
)  # characters of one text; the next where the file would be too large
_LEVEL = 6  # of compression

Blocks = dict[str, bytes]


def write(store: Store, name: str, path: str | Path) -> Path:
    """Write one self-contained HTML file about a run, or about the runs NAME/CONTENDER/SEED of a comparison.

    The file opens from disk and asks nothing of any network. It holds all texts of the run; where it would grow over
    8 MB, long ones are clipped, and it says so. A run in progress is shown as far as it is.

    Args:
        store: where the run is.
        name: of a run, or of a comparison.
        path: of the file; one that is there is replaced, at once and whole.

    Returns:
        The path.

    Raises:
        RunNotFound: neither a run nor a comparison has this name.
        UsageError: the file cannot be written.
        MissingExtra: plotly, pygments or jinja2 is not installed.

    >>> from contextlib import closing
    >>> with closing(Store("runs.db")) as store:
    ...     run = store.create_run("amber", {"task": {"description": "Raise f."}})
    ...     write(store, "amber", "report.html").stat().st_size < 8_000_000
    True
    """
    bundle.require("jinja2", "plotly", "pygments")
    path = Path(path)
    if name in store.names():
        kind, blocks = "report", _run_blocks(store, name)
    elif among := names_in(store, name):
        kind, blocks = (
            "comparison",
            {"facts": _packed({"name": name, **comparison(store, among)})},
        )
    else:
        raise _missing(store, name)
    page = _page(name, kind, blocks)
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(page.encode())
    return path


def write_stored(store: str, name: str, path: str | Path) -> Path:
    """Write the report of a run in the store at this URL. Raises what `write` and `Store` raise."""
    with closing(Store(store, create=False)) as opened:
        return write(opened, name, path)


def _missing(store: Store, name: str) -> RunNotFound:
    """Return the error that the store itself has for this: it knows the nearest names."""
    try:
        store.run(name)
    except RunNotFound as error:
        return error
    return RunNotFound(name, (), store.url)


def _run_blocks(store: Store, name: str) -> Blocks:
    run = store.run(name)
    info = next(info for info in store.runs() if info.name == name)
    view, trials = stored_view(run, info.stop_reason)
    calls: dict[int, list[Call]] = {}
    for call in run.calls():
        calls.setdefault(call.trial, []).append(call)
    texts, clipped = _texts(trials, calls)
    told = columns(trials)
    facts = {
        "run": {
            **about(run, info),
            "clipped_chars": clipped,
            "plotly": bundle.plotly_version(),
        },
        "columns": told,
        "state": state(
            run.progress().begun, run.steers(), info.stop_reason, view.caps()
        ),
        "story": story(told, {trial.number: trial for trial in trials}.__getitem__),
        "parameters": parameters(info.settings.get("space"), trials),
        "texts": {
            str(trial.number): place // _TRIALS_A_BLOCK
            for place, trial in enumerate(trials)
        },
    }
    return {"facts": _packed(facts), **texts}


def _texts(
    trials: Sequence[Trial], calls: Mapping[int, Sequence[Call]]
) -> tuple[Blocks, int | None]:
    """Return the blocks of the trials' texts, and how many characters of a text are kept; None: all."""
    room = _MAX_BYTES - _REST_BYTES - len(_zipped(bundle.plotly_source().encode()))
    blocks: Blocks = {}
    colours = Colours()
    for chars in _CLIPS:
        blocks = {}
        left = room
        for number, block in enumerate(_blocks(trials, calls, chars, colours)):
            blocks[f"texts-{number}"] = block
            left -= len(block)
            if left < 0 and chars != _CLIPS[-1]:
                break
        else:
            return blocks, chars
    return blocks, _CLIPS[-1]


def _blocks(
    trials: Sequence[Trial],
    calls: Mapping[int, Sequence[Call]],
    chars: int | None,
    colours: Colours,
) -> Iterator[bytes]:
    by_number = {trial.number: trial for trial in trials}
    cut = clipper(chars)
    for begin in range(0, len(trials), _TRIALS_A_BLOCK):
        some = trials[begin : begin + _TRIALS_A_BLOCK]
        yield _packed(
            {
                str(trial.number): detail(
                    trial,
                    _parent(trial, by_number),
                    calls.get(trial.number, ()),
                    colours,
                    cut,
                )
                for trial in some
            }
        )


def _parent(trial: Trial, known: Mapping[int, Trial]) -> Trial | None:
    return None if trial.parent is None else known.get(trial.parent)


def _packed(value: Any) -> bytes:
    return _zipped(to_json(value))


def _zipped(data: bytes) -> bytes:
    return base64.b64encode(gzip.compress(data, _LEVEL, mtime=0))


def _page(name: str, kind: str, blocks: Blocks) -> str:
    script, style, plotly = (
        bundle.script(f"report/static/{kind}"),
        bundle.style(),
        bundle.plotly_source(),
    )
    hashes = [bundle.hash_of(script), bundle.hash_of(plotly)]
    policy = bundle.policy(
        hashes, [bundle.hash_of(style), bundle.NO_TEXT], {"img-src": ["data:"]}
    )
    packed = {**blocks, "plotly": _zipped(plotly.encode())}
    page = bundle.template("report", "report.html")
    return str(
        page.render(
            name=name,
            policy=policy,
            script=bundle.markup(script),
            style=bundle.markup(style),
            unused=bundle.plotly_styles(),
            blocks={key: block.decode("ascii") for key, block in packed.items()},
        )
    )
