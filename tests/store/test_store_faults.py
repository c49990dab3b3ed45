"""A full disk, no permission, a lock, a torn file: one sentence, and nothing is damaged.

Once the cause is gone, the run goes on.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from llm_optimize.errors import NotAStore, StoreError, UsageError
from llm_optimize.records import Plan, Proposal, Reply, Status, Trial, Usage
from llm_optimize.store import Store

ROOT = Path(__file__).parents[2]
TEXT = "".join(
    chr(33 + number % 90) for number in range(10_000)
)  # which fills pages of its own
posix = pytest.mark.skipif(os.name != "posix", reason="of POSIX")


def program(code, *arguments):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], text=True, cwd=ROOT, **pipes
    )


def write_trial(run, number, text=TEXT):
    run.plan(number, Plan(None))
    call = run.sent(number, 0, "m", [{"role": "user", "content": text}])
    run.received(call, Reply(text, Usage(1), "m"))
    run.propose(number, Proposal(f"{number} {text}", "m"))
    x = f"{number} {text}"
    run.finish(
        Trial.of(number, x, Status.COMPLETE, "m", score=float(number), output=text),
        number + 1,
    )


def write_until_refused(run):
    """Return how many trials were finished, and the error of the next one."""
    for number in range(1000):
        try:
            write_trial(run, number)
        except StoreError as error:
            return number, str(error)
    raise AssertionError("it was never refused")


def check_integrity(path):
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def go_on_after(path, finished):
    """See that nothing is lost or damaged, and finish the next trial."""
    check_integrity(path)
    with closing(Store(str(path))) as store:
        run = store.hold("amber")
        assert [trial.number for trial in run.trials()] == list(range(finished))
        assert all(trial.output == TEXT for trial in run.trials())
        for pending in run.pending():
            proposal = pending.proposal or Proposal("again", "m")
            run.finish(
                Trial.of(pending.number, proposal.x, Status.COMPLETE, "m", score=1.0),
                finished + 1,
            )
        write_trial(run, finished + 1)
        assert len(run.trials()) > finished
    check_integrity(path)


LIMITED = """
import resource, sys
sys.path[:0] = ["tests", "tests/store"]
from llm_optimize.store import Store
from test_store_faults import write_trial, write_until_refused
run = Store(sys.argv[1]).create_run("amber", {})
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
finished, message = write_until_refused(run)
print(finished)
print(message)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
run.end("it goes on here, too")
"""


@posix
def test_a_limit_on_file_sizes_stops_a_run_with_a_sentence_and_it_goes_on_without(
    tmp_path,
):
    path = tmp_path / "runs.db"
    with program(LIMITED, path) as child:
        finished, message = child.communicate()[0].splitlines()
    assert child.returncode == 0
    assert int(finished) > 0
    assert "a limit on file sizes reached" in message
    assert "what was written before is safe" in message
    with closing(Store(str(path))) as store:
        assert store.runs()[0].stop_reason == "it goes on here, too"
    go_on_after(path, int(finished))


@pytest.fixture
def small_disk(tmp_path):
    """Yield the folder of a file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root may mount a small disk")
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(path):
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(512)):
            pass


def test_a_full_disk_stops_a_run_with_a_sentence_and_it_goes_on_once_there_is_space(
    small_disk,
):
    path, filler = small_disk / "runs.db", small_disk / "filler"
    filler.write_bytes(bytes(400_000))
    with closing(Store(str(path))) as store:
        run = store.create_run("amber", {})
        finished, message = write_until_refused(run)
        assert finished > 0
        assert (
            f"the disk of the store sqlite:///{path} is full: make space, then resume the run"
            in message
        )
        assert len(run.trials()) == finished  # reading goes on
        run.close()
        fill(small_disk / "filler2")
        with pytest.raises(
            StoreError, match=r"lock file .* cannot be written .*: make space"
        ):
            store.hold("amber")
        filler.unlink()
        (small_disk / "filler2").unlink()
        store.hold("amber").end("it goes on here, too")
    go_on_after(path, finished)


# Permissions. Root may write anything, so the program becomes nobody after its imports.

NOBODY = """
import os, sys
from llm_optimize.errors import StoreError
from llm_optimize.store import Store
path, verb = sys.argv[1:]
Store(path).close()  # with all that is imported on the way
os.chmod(path, 0o666)
closed = path if verb == "file" else os.path.dirname(path)
os.chmod(closed, {"file": 0o444, "folder": 0o555, "nothing": 0o777}[verb])
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    store = Store(path)
    print([trial.number for trial in store.run("amber").trials()])
    store.hold("amber").end("written")
    print("written")
except StoreError as error:
    print(type(error).__name__, error)
if os.getuid() == 0:
    os.seteuid(0)
os.chmod(os.path.dirname(path), 0o777)
"""


@pytest.fixture
def open_folder():
    """Yield a folder that anybody may enter."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)


@posix
@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        (
            "file",
            [
                "[0]",
                "StoreError the store sqlite:///{} is read-only: get permission to write the file "
                "and its",
            ],
        ),
        (
            "folder",
            [
                "[0]",
                "StoreError the store sqlite:///{} is read-only: get permission to write the file "
                "and its folder",
            ],
        ),
        ("nothing", ["[0]", "written"]),
    ],
)
def test_what_may_not_be_written_raises_one_sentence(open_folder, verb, expected):
    path = open_folder / "runs.db"
    with closing(Store(str(path))) as store:
        write_trial(store.create_run("amber", {}), 0)
    with program(NOBODY, path, verb) as child:
        lines = child.communicate()[0].splitlines()
    assert len(lines) == len(expected)
    for line, beginning in zip(lines, expected, strict=True):
        assert line.startswith(beginning.format(path))
    path.chmod(0o666)
    go_on_after(path, 1)


# A database that another program has locked.

LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_locked_store_is_waited_for_and_then_an_error_names_the_lock(tmp_path):
    path = tmp_path / "runs.db"
    store, patient = Store(str(path), wait_secs=0.2), Store(str(path))
    run = store.create_run("amber", {})
    write_trial(run, 0)
    later = patient.create_run("birch", {})
    with program(LOCKER, path) as locker:
        assert locker.stdout.readline() == "locked\n"
        begun = time.monotonic()
        with pytest.raises(
            StoreError,
            match=r"was locked by another program for 0\.2 s: end that program",
        ):
            write_trial(run, 1)
        assert 0.2 <= time.monotonic() - begun < 5
        assert len(run.trials()) == 1  # readers do not care
        with closing(Store(str(path), wait_secs=0.2)) as opened:
            assert opened.names() == ["amber", "birch"]
        waiting = threading.Thread(target=later.end, args=("waited",))
        waiting.start()
        locker.communicate("")
        waiting.join()
    write_trial(run, 1)
    assert patient.runs()[1].stop_reason == "waited"
    store.close()
    patient.close()
    check_integrity(path)


def test_a_new_store_in_a_locked_file_is_refused(tmp_path):
    path = tmp_path / "runs.db"
    with program(LOCKER, path) as locker:
        assert locker.stdout.readline() == "locked\n"
        with pytest.raises(StoreError, match=r"locked by another program for 0\.2 s"):
            Store(str(path), wait_secs=0.2)
        locker.communicate("")


# Torn files.


def content(path):
    """Return all that a store holds, to the last character."""
    with closing(Store(str(path), create=False)) as store:
        runs = [store.run(name) for name in store.names()]
        return [
            (run.name, run.settings, run.trials(), run.pending(), run.calls())
            for run in runs
        ]


@pytest.fixture(scope="module")
def torn(tmp_path_factory):
    """Yield a closed store, one with a log as a kill leaves it, and all that each has ever held."""
    folder = tmp_path_factory.mktemp("torn")
    path, history = folder / "runs.db", []
    store = Store(str(path))
    for name in ("amber", "birch"):
        run = store.create_run(name, {"seed": 1})
        for number in range(2):
            write_trial(run, number, TEXT[:6000])
    store.close()
    shutil.copy(path, folder / "closed.db")
    history.append(content(path))
    store = Store(str(path))
    run = store.hold("birch")
    for number in range(2, 4):
        run.plan(number, Plan(None))
        history.append(content(path))
        run.finish(
            Trial.of(
                number, f"{number} {TEXT}", Status.COMPLETE, "m", score=1.0, output="o"
            ),
            number + 1,
        )
        history.append(content(path))
    shutil.copy(path, folder / "killed.db")
    shutil.copy(f"{path}-wal", folder / "killed.db-wal")
    store.close()
    return folder, history


def cut(path, size):
    with path.open("r+b") as file:
        file.truncate(size)


def outcomes(torn, tmp_path, names, which, step=1024):
    """Cut one of some files at every `step` bytes; yield the place, and content or error."""
    folder, _ = torn
    for size in range(0, (folder / which).stat().st_size, step):
        for name in names:
            shutil.copy(folder / name, tmp_path)
        cut(tmp_path / which, size)
        try:
            yield size, content(tmp_path / names[0])
        except StoreError as error:
            yield size, error
        for file in tmp_path.iterdir():
            file.unlink()


def test_a_closed_store_that_is_cut_anywhere_is_refused(torn, tmp_path):
    found = list(outcomes(torn, tmp_path, ["closed.db"], "closed.db", step=512))
    assert len(found) > 20
    assert [size for size, outcome in found if not isinstance(outcome, NotAStore)] == []
    assert {type(outcome) for _, outcome in found} == {NotAStore}


def test_a_log_that_is_cut_anywhere_leaves_what_was_written_before_that(torn, tmp_path):
    _, history = torn
    found = list(
        outcomes(torn, tmp_path, ["killed.db", "killed.db-wal"], "killed.db-wal")
    )
    held = [
        history.index(outcome) for _, outcome in found
    ]  # one of them, or the test fails
    assert held == sorted(held)
    assert (held[0], held[-1]) == (0, len(history) - 2)


def test_a_store_that_is_cut_while_its_log_is_whole_is_refused_or_whole(torn, tmp_path):
    _, history = torn
    found = list(outcomes(torn, tmp_path, ["killed.db", "killed.db-wal"], "killed.db"))
    wrong = [
        size
        for size, outcome in found
        if not isinstance(outcome, NotAStore) and outcome != history[-1]
    ]
    assert wrong == []
    assert sum(isinstance(outcome, NotAStore) for _, outcome in found) > 20


def test_a_log_without_its_store_is_not_thrown_away(torn, tmp_path):
    folder, _ = torn
    log = Path(shutil.copy(folder / "killed.db-wal", tmp_path / "runs.db-wal"))
    for make in (lambda: None, (tmp_path / "runs.db").touch):
        make()
        with pytest.raises(NotAStore, match="holds what was written last: restore"):
            Store(str(tmp_path / "runs.db"))
        assert log.read_bytes() == (folder / "killed.db-wal").read_bytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            "update trial set x = substr(x, 1, 5) where number = 2",
            "trial 2 is damaged in the store",
        ),
        (
            "update trial set status = 'fine' where number = 2",
            "trial 2 is damaged in the store",
        ),
        (
            "update trial set usage = null where number = 2",
            "trial 2 is damaged in the store",
        ),
        (
            "update call set messages = x'00' where trial = 1",
            "call 2 of trial 1 is damaged in the store",
        ),
        (
            "update call set reply = '{}' where trial = 1",
            "call 2 of trial 1 is damaged in the store",
        ),
        ("update run set settings = '{'", "the run 'amber' is damaged in the store"),
        ("delete from llm_optimize", "does not say which format it has"),
    ],
)
def test_a_row_that_does_not_hold_what_was_written_is_named(tmp_path, change, words):
    path = tmp_path / "runs.db"
    with closing(Store(str(path))) as store:
        run = store.create_run("amber", {})
        for number in range(3):
            write_trial(run, number, "text")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(change)
        connection.commit()
    with pytest.raises(StoreError, match=words):
        content(path)


def test_a_password_stays_out_of_messages():
    with pytest.raises(
        UsageError, match="not a database URL that works here"
    ) as refused:
        Store("postgresql+nonsense://ada:secret@localhost/db")
    assert "secret" not in str(refused.value)


BUSY = """
import sys
sys.path[:0] = ["tests", "tests/store"]
from llm_optimize.store import Store
from test_store_faults import write_trial
print("ready", flush=True)
for session in range(8):
    store = Store(sys.argv[1])
    run = store.create_run(f"run-{session}", {})
    for number in range(15):
        write_trial(run, number)
    store.close()  # which empties the log into the file
"""


def test_a_store_that_is_being_written_is_never_taken_for_torn(tmp_path):
    path, opened = tmp_path / "runs.db", 0
    Store(str(path)).close()
    with program(BUSY, path) as writer:
        assert writer.stdout.readline() == "ready\n"
        while writer.poll() is None:
            for _, _, trials, _, calls in content(path):
                assert [trial.number for trial in trials] == list(range(len(trials)))
                assert len(trials) <= len(calls) <= 15
            opened += 1
    assert writer.returncode == 0
    assert opened > 0
    assert len(content(path)) == 8
