"""A store that may be read but not written: it is listed, shown and reported, never changed.

Root ignores modes by a capability: where the tests run as root, the programs run without it.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from llm_optimize import optimize
from llm_optimize.store import Store
from pages import TASK, fill, write

ROOT = Path(__file__).parents[2]
AS_ROOT = os.name == "posix" and os.geteuid() == 0
OBEY_MODES = (
    ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"]
    if AS_ROOT
    else []
)
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="modes of POSIX"),
    pytest.mark.skipif(
        bool(OBEY_MODES) and not shutil.which("setpriv"),
        reason="root ignores modes; needs setpriv",
    ),
]


def program(*arguments):
    command = [*OBEY_MODES, sys.executable, "-m", "llm_optimize", *map(str, arguments)]
    pipes = {"capture_output": True, "text": True, "timeout": 60, "check": False}
    return subprocess.run(command, cwd="/", env=ENVIRONMENT, **pipes)


@pytest.fixture
def folder():
    """Yield a folder with an odd name, that can be removed whatever its mode is."""
    with tempfile.TemporaryDirectory() as outer:
        inner = Path(outer) / "q?mark %20"
        inner.mkdir()
        yield inner
        os.chmod(inner, 0o755)


@pytest.fixture
def path(folder):
    """Return a store with a run that ended."""
    run = {
        "sandbox": "inline",
        "seed": 1,
        "store": folder / "runs.db",
        "name": "amber",
        "verbose": False,
    }
    optimize.run("Longer.", "Which?", longer, "1", 3, "mutation", **run)
    return folder / "runs.db"


def longer(x):
    return float(len(x))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def closed(path, *, file, folder):
    for beside in path.parent.iterdir():
        beside.chmod(file)
    path.parent.chmod(folder)


MODES = [(0o444, 0o555), (0o644, 0o555), (0o444, 0o755), (0o666, 0o555)]


@pytest.mark.parametrize(("file", "folder_mode"), MODES)
def test_it_is_listed_shown_and_reported_and_nothing_is_written(
    path, folder, file, folder_mode
):
    closed(path, file=file, folder=folder_mode)
    before = contents(folder)
    listed = program("list", "--store", path, "--json")
    assert listed.returncode == 0, listed.stderr
    assert [(run["name"], run["trials"]) for run in json.loads(listed.stdout)] == [
        ("amber", 4)
    ]
    shown = program("show", "amber", "3", "--store", path)
    assert shown.stdout.startswith("trial 3")
    with tempfile.TemporaryDirectory() as place:
        reported = program(
            "report", "amber", "--store", path, "-o", f"{place}/report.html"
        )
        assert reported.returncode == 0, reported.stderr
    assert contents(folder) == before


def test_what_would_write_is_one_sentence(path, folder):
    (folder / "task.py").write_text("def f(x):\n    return 1.0\n")
    closed(path, file=0o444, folder=0o555)
    before = contents(folder)
    task = (
        "--task",
        "t",
        "--func",
        f"{folder}/task.py:f",
        "--model",
        "mutation",
        "--x0",
        "1",
        "--sandbox",
        "inline",
    )
    for command in (
        ("run", *task),
        ("resume", "amber", "--func", f"{folder}/task.py:f", "--steps", "9"),
        ("fork", "amber", "1"),
    ):
        done = program(*command, "--store", path)
        assert done.returncode == 1, done.stdout
        assert done.stderr.startswith(
            f"error: the store sqlite:///{path} is read-only: get permission to write"
        )
        assert len(done.stderr.splitlines()) == 1
    missing = program("run", *task, "--store", folder / "new.db")
    assert missing.returncode == 1
    assert "cannot be opened" in missing.stderr or "read-only" in missing.stderr
    assert len(missing.stderr.splitlines()) == 1
    assert contents(folder) == before


def test_what_somebody_writes_at_this_moment_is_read_as_well(path, folder):
    with closing(Store(path)) as store:
        run = store.create_run("birch", {"task": TASK})
        fill(run, [0.5, 0.25])
        assert Path(f"{path}-wal").stat().st_size
        closed(path, file=0o444, folder=0o555)
        listed = program("list", "--store", path, "--json")
        assert listed.returncode == 0, listed.stderr
        assert [(one["name"], one["trials"]) for one in json.loads(listed.stdout)] == [
            ("amber", 4),
            ("birch", 2),
        ]
        write(run, 2, 0.75, None)
        assert program("show", "birch", "2", "--store", path).stdout.startswith(
            "trial 2"
        )
        folder.chmod(0o755)
    assert sorted(contents(folder)) == ["runs.db"], (
        "the reader kept no file from being removed"
    )


def test_the_log_of_a_killed_run_is_read_or_missed_in_a_sentence(path, folder):
    """Without its second file SQLite cannot read a log where it may not write."""
    copy = folder / "killed.db"
    with closing(Store(path)) as store:
        fill(store.create_run("birch", {"task": TASK}), [0.5])
        for end in ("", "-wal", "-shm"):
            shutil.copy(f"{path}{end}", f"{copy}{end}")
    closed(copy, file=0o444, folder=0o555)
    listed = program("list", "--store", copy, "--json")
    assert listed.returncode == 0, listed.stderr
    assert [one["name"] for one in json.loads(listed.stdout)] == ["amber", "birch"]
    folder.chmod(0o755)
    Path(f"{copy}-shm").unlink()
    folder.chmod(0o555)
    refused = program("list", "--store", copy)
    assert refused.returncode == 1
    assert "copy the store to a folder of yours" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


READER = """
import sys
from llm_optimize.store import Store
store = Store(sys.argv[1], create=False)
for line in sys.stdin:
    print(store.names(), len(store.run("amber").trials()), flush=True)
"""


def test_a_reader_sees_a_writer_that_comes_later(path, folder):
    """A page stays open for days: what was read without a lock must not be shown for ever."""
    closed(path, file=0o444, folder=0o555)
    command = [*OBEY_MODES, sys.executable, "-c", READER, str(path)]
    with subprocess.Popen(
        command, cwd="/", env=ENVIRONMENT, stdin=-1, stdout=-1, text=True
    ) as child:

        def look():
            child.stdin.write("\n")
            child.stdin.flush()
            return child.stdout.readline()

        assert look() == "['amber'] 4\n"
        closed(
            path, file=0o644, folder=0o755
        )  # the reader knows the store as one that it may not write
        for number, name in enumerate(("birch", "cedar"), start=1):
            with closing(Store(path)) as store:
                store.create_run(name, {}).close()
                assert f"'{name}'" in look(), "while the log is there"
            names, _, trials = look().partition("] ")
            assert (names.count("'"), trials) == (2 * number + 2, "4\n"), (
                "and after it is gone"
            )
        child.stdin.close()


@pytest.mark.parametrize("version", [1, 3, 4])
def test_a_store_of_an_older_format_is_read_and_stays_as_it_is(
    folder, version, tmp_path, monkeypatch
):
    path = folder / "old.db"
    shutil.copy(Path(__file__).parents[1] / "data" / f"store_v{version}.db", path)
    closed(path, file=0o444, folder=0o555)
    before = contents(folder)
    monkeypatch.setitem(ENVIRONMENT, "TMPDIR", str(tmp_path))
    listed = program("list", "--store", path, "--json")
    assert listed.returncode == 0, listed.stderr
    (amber, *_) = json.loads(listed.stdout)
    assert (amber["name"], amber["state"]["word"]) == ("amber", "finished")
    assert program("show", "amber", "0", "--store", path).stdout.startswith("trial 0")
    refused = program("steer", "amber", "stop", "--store", path)
    assert refused.returncode == 2, "there is nothing to steer"
    refused = program("fork", "amber", "0", "--store", path)
    assert "is read-only: get permission" in refused.stderr
    assert contents(folder) == before
    assert list(tmp_path.iterdir()) == [], "its copy is gone"
