"""Programs that somebody else wrote to break sandboxes, where they lie beside this repository."""

import sys
from contextlib import closing
from pathlib import Path

import pytest

from llm_optimize.records import Limits
from llm_optimize.sandbox import OutcomeStatus, open_sandbox

HOSTILE = Path(__file__).parents[2] / "shared" / "hostile"
OK, RAISED, TIMEOUT, MEMORY, OUTPUT, CRASHED, PROTOCOL = (
    OutcomeStatus(word) for word in ("ok", "raised", "timeout", "memory", "output", "crashed", "protocol")
)
BAD = {RAISED, CRASHED, PROTOCOL}

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the keepers need Linux"),
    pytest.mark.skipif(not HOSTILE.is_dir(), reason="no hostile programs lie in ../shared/hostile"),
]

# What may become of each. The rest needs Landlock, namespaces or a working directory of its own.
EXPECTED = {
    "01-fork-bomb": {TIMEOUT, RAISED},
    "03-ignore-sigterm": {TIMEOUT},
    "07-stop-self": {TIMEOUT},
    "09-base-exceptions": {RAISED},
    "11-thread-swarm": {OK},
    "13-hopper": {OK},
    "15-vfork-unkillable": {TIMEOUT},
    "17-regex-backtrack": {TIMEOUT},
    "19-swallow-everything": {TIMEOUT},
    "21-slow-dunders": BAD,
    "23-memory-bomb": {RAISED, MEMORY},
    "25-huge-return": {PROTOCOL},
    "27-nested-result": BAD,
    "29-stdout-flood": {OUTPUT, OK},
    "35-evil-comparisons": {RAISED, OK},
    "37-exception-pickle": {RAISED},
    "39-forge-result-fds": {CRASHED, PROTOCOL, RAISED, OK},
    "41-hold-pipe-open": {OK},
    "49-symlink-tricks": {OK},
    "51-move-cwd": {OK},
    "57-segfault": {CRASHED},
    "59-state-leak": {OK},
    "61-terminal-injection": {OK},
    "67-no-entry-point": {RAISED},
    "71-benign-control": {OK},
    "72-numpy-scalar-control": {OK},
    "73-multiprocessing-control": {OK},
    "74-compile-bomb": BAD | {MEMORY},
}


def load_and_call(source):
    names = {"__name__": "candidate"}
    exec(compile(source, "candidate.py", "exec"), names)
    return names["candidate"](3.0)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """Yield one sandbox for all of them, in a directory of its own: what one does must harm none of the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("candidates"))
        limits = Limits(memory_mb=1024, processes=64, file_mb=16, output_mb=4, result_mb=1)
        with closing(open_sandbox("process", load_and_call, limits)) as made:
            yield made


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_hostile_program_comes_to_its_expected_end_and_harms_not_the_next(sandbox, name):
    source = (HOSTILE / f"{name}.py").read_text(encoding="utf-8")
    for _ in range(2 if name == "59-state-leak" else 1):
        outcome = sandbox.run(source, 0.7 if TIMEOUT in EXPECTED[name] else 8.0)
        assert outcome.status in EXPECTED[name], (outcome.message, outcome.output[-500:])
        if outcome.status is OK and isinstance(outcome.value, float):
            assert outcome.value < 600 or name.startswith("39")  # which only scoring in another process cures
    assert sandbox.run("def candidate(x): return x", 8.0).value == 3.0
