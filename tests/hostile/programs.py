"""Requirements and expected results of each hostile program, read from its head or listed here."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llm_optimize.sandbox import OutcomeStatus

HOSTILE = Path(__file__).parents[3] / "shared" / "hostile"
LEVELS = ("process", "namespace")
WAYS = ("one", "split", "nested")
USERS = ("user", "root")

# What may become of those whose heads say it in prose; the others name it themselves ("allow any").
STATUSES = {
    "01-fork-bomb": "timeout raised",
    "03-ignore-sigterm": "timeout",
    "05-kill-everything": "ok crashed raised",
    "07-stop-self": "timeout",
    "09-base-exceptions": "raised",
    "11-thread-swarm": "ok",
    "13-hopper": "ok",
    "15-vfork-unkillable": "timeout",
    "17-regex-backtrack": "timeout",
    "19-swallow-everything": "timeout",
    "21-slow-dunders": "raised crashed protocol",
    "23-memory-bomb": "raised memory",
    "25-huge-return": "protocol",
    "27-nested-result": "raised crashed protocol",
    "29-stdout-flood": "output ok",
    "31-bytes-and-escapes": "raised",
    "33-non-finite-score": "ok",  # and refused as a score
    "35-evil-comparisons": "raised ok",
    "37-exception-pickle": "raised",
    "39-forge-result-fds": "crashed protocol raised ok",
    "41-hold-pipe-open": "ok",
    "43-patch-scorer": "ok raised crashed protocol",
    "45-read-secrets": "ok",
    "47-write-home": "ok",
    "49-symlink-tricks": "ok",
    "51-move-cwd": "ok",
    "53-inode-fill": "ok raised killed",
    "55-network-egress": "ok",
    "57-segfault": "crashed",
    "59-state-leak": "ok",
    "61-terminal-injection": "ok",
    "63-state-db-tamper": "ok",
    "65-namespace-and-mount": "ok",
    "67-no-entry-point": "raised",
    "69-lock-everything": "ok timeout",
    "71-benign-control": "ok",
    "72-numpy-scalar-control": "ok",
    "73-multiprocessing-control": "ok",
    "74-compile-bomb": "raised crashed protocol memory",
}
HONEST = {
    "71-benign-control": 9.0,
    "72-numpy-scalar-control": 9.0,
    "73-multiprocessing-control": 9.0,
}
NOT_FINITE = ("33-non-finite-score",)  # returns NaN or infinity, which no score can be
PORT = ("55-network-egress", "79-mptcp-egress", "81-io-uring")
TWICE = ("59-state-leak", "83-posix-mqueue-leak")
# Hold still for long if they get what they want: the deadline is short.
SHORT_SECS, LONG_SECS = 0.7, 8.0
TAKES_LONG = ("91-door-flood",)  # before it has done its deed
# Building and refusing a huge answer takes seconds, more on a busy machine.
HUGE_SECS = 25.0

# How much the memory of the optimizer may grow, where the head bounds it.
OPTIMIZER_MB = {
    "23-memory-bomb": 50,
    "25-huge-return": 50,
    "29-stdout-flood": 50,
    "89-json-amplifier": 200,
    "97-two-gb-feedback": 50,
}
SCORING_MB = {"85-memfd-hoard": 1024 * 1.2}  # all memory of the scoring
NO_BOUND_MB = NO_BOUND = 1 << 20
PROCESSES = 64  # limits.processes of the series

# What is not promised: program, level, way and user (* is any), the kinds of breach that may be
# seen, and why. Everything else must hold.
SHARED = "f and the candidate share one process"
LOOKING = (
    "without a control group it is counted some times a second: more may be there "
    "for a moment"
)
NOT_PROMISED = (
    ("39-forge-result-fds", "*", "one", "*", {"value"}, SHARED),
    ("43-patch-scorer", "*", "one", "*", {"value"}, SHARED),
    ("85-memfd-hoard", "*", "*", "user", {"memory"}, LOOKING),
    ("85-memfd-hoard", "namespace", "nested", "root", {"memory"}, LOOKING),
    ("01-fork-bomb", "namespace", "nested", "root", {"processes"}, LOOKING),
)


@dataclass(frozen=True)
class Program:
    """A program, and what its head asks of the harness."""

    name: str
    source: str
    statuses: tuple[str, ...]
    timeout_secs: float
    runs: int = 1
    wants_port: bool = False
    default_limits: bool = False
    probe: str = ""
    optimizer_mb: float = NO_BOUND_MB
    scoring_mb: float = NO_BOUND_MB
    processes: int = PROCESSES

    def order(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def load(folder: Path = HOSTILE) -> dict[str, Program]:
    """Return all programs of a folder by name."""
    return {
        path.stem: read(path.stem, path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.py"))
    }


def read(name: str, source: str) -> Program:
    """Return a program from its text; one that is not in `STATUSES` must list its own results."""
    head = dict(re.findall(r"^# ([a-z ]+): *(.*)$", source[:4000], re.MULTILINE))
    statuses = tuple((STATUSES.get(name) or head["allow any"]).split())
    unknown = set(statuses) - {*map(str, OutcomeStatus), "invalid"}
    if unknown:
        raise ValueError(f"{name}: no such outcome: {unknown}")
    default_limits = head.get("limits") == "default"
    long_secs = HUGE_SECS if default_limits else LONG_SECS
    return Program(
        name=name,
        source=source,
        statuses=statuses,
        timeout_secs=SHORT_SECS
        if "timeout" in statuses and name not in TAKES_LONG
        else long_secs,
        runs=int(head.get("runs", 2 if name in TWICE else 1)),
        wants_port=head.get("argument") == "port" or name in PORT,
        default_limits=default_limits,
        probe=head.get("probe", ""),
        optimizer_mb=OPTIMIZER_MB.get(name, NO_BOUND_MB),
        scoring_mb=SCORING_MB.get(name, NO_BOUND_MB),
        processes=NO_BOUND if default_limits else PROCESSES,
    )


def declared(name: str, level: str, way: str, who: str) -> tuple[set[str], str]:
    """Return the kinds of breach that are not promised to be stopped, and why."""
    for program, *places, kinds, reason in NOT_PROMISED:
        if program == name and all(
            one in ("*", here)
            for one, here in zip(places, (level, way, who), strict=True)
        ):
            return set(kinds), reason
    return set(), ""
