"""Processes of the sandbox that fail or lose their optimizer: they say why, and leave nothing."""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest

from candidates import act
from llm_optimize.errors import SandboxUnavailable
from llm_optimize.evaluate import judge
from llm_optimize.records import Status
from llm_optimize.sandbox import Call, Outcome, OutcomeStatus, open_sandbox

if sys.platform == "linux":
    from llm_optimize.sandbox.linux.process_tree import CRASH_EXIT_CODE, fork

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the supervisors need Linux"
)


def test_what_a_forked_process_of_ours_raised_is_told_with_its_cause():
    ours, theirs = os.pipe()

    def body():
        raise ValueError("the cause")

    pid = fork(body, lambda trouble: os.write(theirs, trouble.encode()))
    os.close(theirs)
    with open(ours) as reported:
        text = reported.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == CRASH_EXIT_CODE
    assert "in body" in text
    assert text.endswith("ValueError: the cause")


def test_a_supervisor_that_cannot_work_says_why_in_the_log(
    tmp_path, monkeypatch, caplog
):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with closing(open_sandbox("process", act)) as made:
        assert made.run(Call(["answer", 1], 10.0)).value == 1
        (scratch,) = (tmp_path / "temporary").iterdir()
        # Moved and not removed: the supervisor may be tidying it up at this moment.
        scratch.rename(tmp_path / "elsewhere")
        assert [made.run(Call(["answer", 1], 10.0)).value for _ in range(2)] == [
            1,
            1,
        ]  # by another fork server
        reported = (
            "a supervisor of the sandbox says: [Errno 2] No such file or directory"
        )
        assert any(line.startswith(reported) for line in caplog.messages)
        (tmp_path / "temporary").rename(tmp_path / "gone")
        with pytest.raises(
            SandboxUnavailable, match=r"no scratch directory can be made: .*see TMPDIR"
        ):
            # A child may have been ready before the folder went.
            list(map(made.run, [Call(["answer", 1], 10.0)] * 3))


def test_that_a_scoring_was_made_again_is_in_its_evaluation_and_in_what_is_stored_of_it():
    again = Outcome(
        OutcomeStatus.OK,
        value=1.0,
        output="hello\n",
        scored_again="the process was killed",
    )
    evaluation = judge(again)
    assert (evaluation.status, evaluation.score) == (Status.COMPLETE, 1.0)
    assert evaluation.scored_again == "the process was killed"
    assert (
        evaluation.output
        == "hello\n[llm_optimize: scored a second time; at the first, the process was killed]\n"
    )
    assert (
        "scored a second time"
        in judge(Outcome(OutcomeStatus.KILLED, scored_again="x")).output
    )
    assert judge(Outcome(OutcomeStatus.OK, value=1.0)).output == ""


OPENS = """
import sys
from pathlib import Path
from contextlib import closing
sys.path.insert(0, sys.argv[1])
from slowly import f
from llm_optimize.records import Limits
from llm_optimize.sandbox import Call, open_sandbox
Path(sys.argv[1], "begun").touch()
with closing(open_sandbox("process", f, Limits(writable=(sys.argv[1],)))) as sandbox:
    sandbox.run(Call(None, 20.0))
"""
SLOWLY = """
import os, sys, time
from pathlib import Path
here = Path(__file__).parent
if "llm_optimize.sandbox.linux.fork_server" in sys.modules:
    (here / "loading").touch()
    time.sleep(0.3)
def f(x):
    (here / "called").touch()
    time.sleep(10)
"""


@pytest.mark.parametrize("moment", ["begun", "loading", "called", *range(8)])
def test_an_optimizer_that_is_killed_at_any_moment_of_its_start_leaves_no_scratch_folder(
    tmp_path, moment
):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    (tmp_path / "slowly.py").write_text(SLOWLY)
    with subprocess.Popen(
        [sys.executable, "-c", OPENS, str(tmp_path)],
        env={
            **os.environ,
            "TMPDIR": str(temporary),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        },
        start_new_session=True,
    ) as optimizer:
        wait_for(tmp_path / (moment if isinstance(moment, str) else "begun"))
        time.sleep(0.0 if isinstance(moment, str) else 0.06 * moment)
        optimizer.kill()
    until = time.monotonic() + 10.0
    while (
        list(temporary.iterdir()) or alive_in(tmp_path)
    ) and time.monotonic() < until:
        time.sleep(0.02)
    assert list(temporary.iterdir()) == []


def wait_for(path: Path) -> None:
    until = time.monotonic() + 20.0
    while not path.exists():
        assert time.monotonic() < until, f"{path} was never made"
        time.sleep(0.002)


def alive_in(folder: Path) -> bool:
    """Whether a process that may still make a folder lives: its environment names the folder."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if str(folder).encode() in Path(f"/proc/{pid}/environ").read_bytes():
                return True
        except OSError:
            continue
    return False
