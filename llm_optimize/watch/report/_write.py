"""Writer of the report file: facts, texts of the trials in blocks, and plotly, all compressed.

The page unpacks a block of texts when it is first needed, so that a long run opens fast.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ...errors import RunNotFound, require
from ...records import Trial
from ...store import Call, Run, Store
from ..atomic import atomic_path
from ..run_view import stored_view
from . import bundle
from .baselines import baselines
from .colors import Colors
from .comparison import comparison, names_in
from .detail import clipper, detail, story
from .facts import about, columns, state, to_json
from .parameters import parameters

_MAX_BYTES = 8_000_000  # of the file
_REST_BYTES = 300_000  # of it for all but plotly and the texts of trials
_TRIALS_A_BLOCK = 50
# Characters of one text; the next smaller one is tried where the file would be too large.
_CLIPS = (None, 20_000, 6_000, 2_000, 600, 200)
_LEVEL = 6  # of compression
_NEEDED = ("jinja2", "plotly", "pygments")

Blocks = dict[str, bytes]
Calls = Mapping[int, Sequence[Call]]  # by trial number


def write(
    store: Store,
    name: str,
    path: str | Path,
) -> Path:
    """Write one self-contained HTML file about a run or a comparison of runs.

    The file opens from disk and needs no network. It holds all texts of the run; where it would
    grow over 8 MB, long texts are clipped, and the page says so. A run in progress is shown as
    far as it has come.

    Args:
        store: that holds the run.
        name: of a run, or of a comparison, whose runs are named NAME/CONTENDER/SEED.
        path: of the file; an existing one is replaced atomically.

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
    require(*_NEEDED, needed_by="a report")
    path = Path(path)
    if name in store.names():
        page = _page(name, "report", _run_blocks(store, name))
    elif among := names_in(store, name):
        facts = {"name": name, **comparison(store, among)}
        page = _page(name, "comparison", {"facts": _packed(facts)})
    else:
        raise _missing(store, name)
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(page.encode())
    return path


def write_stored(
    store: str,
    name: str,
    path: str | Path,
) -> Path:
    """Write the report of a run in the store at this URL. Raises like `write` and `Store`."""
    with closing(Store(store, create=False)) as opened:
        return write(opened, name, path)


def _missing(store: Store, name: str) -> RunNotFound:
    """Return the error of the store itself, which names the nearest runs."""
    try:
        store.run(name)
    except RunNotFound as error:
        return error
    return RunNotFound(name, (), store.url)


def _run_blocks(store: Store, name: str) -> Blocks:
    run = store.run(name)
    info = store.info(name)
    view, trials = stored_view(run, info.stop_reason)
    by_number = {trial.number: trial for trial in trials}
    block_of: dict[str, int] = {}  # JSON has only texts as keys
    for place, trial in enumerate(trials):
        block_of[str(trial.number)] = place // _TRIALS_A_BLOCK
    texts, clipped = _texts(trials, _calls(run))
    begun = run.progress().begun
    facts = columns(trials)
    page = {
        "run": {
            **about(run, info),
            "clipped_chars": clipped,
            "plotly": bundle.plotly_version(),
        },
        "columns": facts,
        "state": state(begun, run.steers(), info.state, view.caps()),
        "baselines": baselines(store, run),
        "story": story(facts, by_number.__getitem__, run.direction),
        "parameters": parameters(info.settings.get("space"), trials, run.direction),
        "texts": block_of,
    }
    return {"facts": _packed(page), **texts}


def _calls(run: Run) -> Calls:
    """Return the model calls of a run by trial number."""
    calls: dict[int, list[Call]] = {}
    for call in run.calls():
        calls.setdefault(call.trial, []).append(call)
    return calls


def _texts(
    trials: Sequence[Trial],
    calls: Calls,
) -> tuple[Blocks, int | None]:
    """Return the blocks of texts, and how many characters of a text are kept; None: all.

    Longer texts are tried first; the last, smallest clip is taken even if it is too large.
    """
    plotly = _zipped(bundle.plotly_source().encode())
    room = _MAX_BYTES - _REST_BYTES - len(plotly)
    colors = Colors()
    for chars in _CLIPS[:-1]:
        blocks: Blocks = {}
        left = room
        for number, block in enumerate(_blocks(trials, calls, chars, colors)):
            blocks[f"texts-{number}"] = block
            left -= len(block)
            if left < 0:
                break
        else:
            return blocks, chars
    smallest = _CLIPS[-1]
    blocks = {}
    for number, block in enumerate(_blocks(trials, calls, smallest, colors)):
        blocks[f"texts-{number}"] = block
    return blocks, smallest


def _blocks(
    trials: Sequence[Trial],
    calls: Calls,
    chars: int | None,
    colors: Colors,
) -> Iterator[bytes]:
    by_number = {trial.number: trial for trial in trials}
    cut = clipper(chars)
    for begin in range(0, len(trials), _TRIALS_A_BLOCK):
        block = {}
        for trial in trials[begin : begin + _TRIALS_A_BLOCK]:
            parent = None
            if trial.parent is not None:
                parent = by_number.get(trial.parent)
            asked = calls.get(trial.number, ())
            key = str(trial.number)
            block[key] = detail(trial, parent, asked, colors, cut)
        yield _packed(block)


def _packed(value: Any) -> bytes:
    return _zipped(to_json(value))


def _zipped(data: bytes) -> bytes:
    compressed = gzip.compress(data, _LEVEL, mtime=0)
    return base64.b64encode(compressed)


def _page(name: str, kind: str, blocks: Blocks) -> str:
    """Return the page, whose policy admits its own script, style sheet and plotly by hash."""
    script = bundle.script(f"report/static/{kind}")
    style = bundle.style()
    plotly = bundle.plotly_source()
    policy = bundle.policy(
        [bundle.hash_of(script), bundle.hash_of(plotly)],
        [bundle.hash_of(style), bundle.NO_TEXT],
        {"img-src": ["data:"]},
    )
    packed = {**blocks, "plotly": _zipped(plotly.encode())}
    texts = {key: block.decode("ascii") for key, block in packed.items()}
    page = bundle.template("report", "report.html").render(
        name=name,
        policy=policy,
        script=bundle.markup(script),
        style=bundle.markup(style),
        unused=bundle.plotly_styles(),
        blocks=texts,
    )
    return str(page)
