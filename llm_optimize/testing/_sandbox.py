"""What every sandbox promises, as tests: subclass it beside your own."""

from __future__ import annotations

import math
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ..records import Limits, Score
from ..sandbox import Call, Outcome, OutcomeStatus, Sandbox

_LONG_SECS = 20.0
_SHORT_SECS = 0.5
_LATE_SECS = 5.0  # a generous bound: what is waited for would take _LONG_SECS
_SLEEP_SECS = 2.0
_SECRET = "LLM_OPTIMIZE_TEST_API_KEY"


class SandboxContract:
    """Tests that any sandbox must pass.

    Pytest collects them from a subclass whose name begins with `Test`.

    Set `isolates` to False for one that calls f in the process of the optimizer: then only what
    such a one can do is asked of it.

    >>> from llm_optimize.sandbox import open_sandbox
    >>> class TestInline(SandboxContract):
    ...     isolates = False
    ...     def open(self, func, limits):
    ...         return open_sandbox("inline", func, limits)
    >>> TestInline().test_plain_data_comes_back()
    """

    isolates = True

    def open(self, func: Callable[..., Any], limits: Limits) -> Sandbox:
        """Return a sandbox that calls `func`.

        Raises NotImplementedError until a subclass defines it.
        """
        raise NotImplementedError(
            "define open(func, limits): it returns the sandbox that is tested"
        )

    @contextmanager
    def opened(self, limits: Limits | None = None) -> Iterator[Sandbox]:
        """Open a sandbox whose f does as x says."""
        with closing(
            self.open(_act, limits or Limits(memory_mb=2048, output_mb=1, result_mb=1))
        ) as sandbox:
            yield sandbox

    def outcome(
        self, deed: str, limits: Limits | None = None, timeout_secs: float = _LONG_SECS
    ) -> Outcome:
        """Return what becomes of one deed."""
        with self.opened(limits) as sandbox:
            return sandbox.run(Call(deed, timeout_secs))

    def test_plain_data_comes_back(self) -> None:
        """A value is as f returned it."""
        outcome = self.outcome("data")
        _expect(outcome, OutcomeStatus.OK)
        _require(
            outcome.value == {"score": 1.0, "feedback": "é\n", "list": [1, None, True]},
            outcome,
        )

    def test_an_exception_is_reported(self) -> None:
        """Whatever is raised comes back as text; nothing is raised here."""
        with self.opened() as sandbox:
            for deed in ("raise", "exit"):
                outcome = sandbox.run(Call(deed, _LONG_SECS))
                _expect(outcome, OutcomeStatus.RAISED)
                _require(
                    "no luck" in outcome.message and outcome.value is None, outcome
                )

    def test_the_deadline_is_kept(self) -> None:
        """A call is over soon after its deadline."""
        with self.opened() as sandbox:
            sandbox.run(Call("data", _LONG_SECS))
            begun = time.monotonic()
            outcome = sandbox.run(
                Call("loop" if self.isolates else "sleep", _SHORT_SECS)
            )
            _require(time.monotonic() - begun < _SHORT_SECS + _LATE_SECS, outcome)
        _expect(outcome, OutcomeStatus.TIMEOUT)
        _require(outcome.seconds >= _SHORT_SECS, outcome)

    def test_several_threads_may_call_at_once(self) -> None:
        """Calls neither wait for nor disturb each other."""
        found: dict[int, Any] = {}
        with self.opened() as sandbox:

            def call(number: int) -> None:
                found[number] = sandbox.run(Call(f"echo {number}", _LONG_SECS)).value

            threads = []
            for number in range(4):
                thread = threading.Thread(target=call, args=(number,))
                threads.append(thread)
                thread.start()
            for thread in threads:
                thread.join()
        _require(found == {number: str(number) for number in range(4)}, found)

    def test_close_ends_what_is_in_flight(self) -> None:
        """A call that waits returns `killed`, and so does every later one."""
        found: list[Outcome] = []
        sandbox = self.open(_act, Limits())
        thread = threading.Thread(
            target=lambda: found.append(sandbox.run(Call("sleep", _LONG_SECS)))
        )
        thread.start()
        time.sleep(_SHORT_SECS)
        sandbox.close()
        thread.join(_LATE_SECS)
        for outcome in (*found, sandbox.run(Call("data", _LONG_SECS))):
            _expect(outcome, OutcomeStatus.KILLED)
        _require(len(found) == 1, "the call in flight did not return")

    def test_one_call_can_be_stopped_alone(self) -> None:
        """A call that is stopped returns `killed` soon, at once if it has not begun."""
        found: dict[str, Outcome] = {}
        with self.opened() as sandbox:
            calls = {name: Call("sleep", _LONG_SECS) for name in ("stopped", "other")}

            def run(name: str) -> None:
                found[name] = sandbox.run(calls[name])

            threads = {}
            for name in calls:
                threads[name] = threading.Thread(target=run, args=(name,))
                threads[name].start()
            time.sleep(_SHORT_SECS)
            calls["stopped"].stop.give()
            threads["stopped"].join(_SLEEP_SECS / 2)
            _require(list(found) == ["stopped"], found)
            _expect(sandbox.run(calls["stopped"]), OutcomeStatus.KILLED)
            _expect(sandbox.run(Call("data", _LONG_SECS)), OutcomeStatus.OK)
            threads["other"].join(_LATE_SECS)
        _expect(found["stopped"], OutcomeStatus.KILLED)
        _expect(found["other"], OutcomeStatus.OK)

    def test_no_number_is_lost_or_made_up(self) -> None:
        """NaN and infinity arrive as they are, for others to judge."""
        with self.opened() as sandbox:
            _require(math.isnan(sandbox.run(Call("nan", _LONG_SECS)).value), "nan")
            _require(
                sandbox.run(Call("infinity", _LONG_SECS)).value == math.inf, "infinity"
            )

    # What only a process of its own can promise.

    def test_a_score_becomes_plain_data(self) -> None:
        """A records.Score arrives as a dict."""
        if self.isolates:
            _require(self.outcome("score").value["score"] == 2.0, "score")

    def test_what_is_printed_is_kept_and_bounded(self) -> None:
        """Both streams are kept; a flood ends the call."""
        if self.isolates:
            with self.opened() as sandbox:
                _require(
                    sandbox.run(Call("print", _LONG_SECS)).output == "out\nerr\n",
                    "print",
                )
                flood = sandbox.run(Call("flood", _LONG_SECS))
            _expect(flood, OutcomeStatus.OUTPUT)
            _require(len(flood.output) < 1 << 20, "the output is not bounded")

    def test_a_crash_is_an_outcome(self) -> None:
        """A process that ends before f returned has crashed, whatever its exit code."""
        if self.isolates:
            with self.opened() as sandbox:
                _expect(sandbox.run(Call("end", _LONG_SECS)), OutcomeStatus.CRASHED)
                if os.name == "posix":
                    outcome = sandbox.run(Call("kill", _LONG_SECS))
                    _expect(outcome, OutcomeStatus.CRASHED)
                    _require(outcome.signal == signal.SIGTERM, outcome)

    def test_what_is_no_data_is_refused(self) -> None:
        """An object is not a value, and none of its methods is called.

        An answer is bounded and cannot be forged.
        """
        if self.isolates:
            with self.opened() as sandbox:
                _expect(sandbox.run(Call("object", _LONG_SECS)), OutcomeStatus.RAISED)
                _expect(sandbox.run(Call("huge", _LONG_SECS)), OutcomeStatus.PROTOCOL)
                forged = sandbox.run(Call("forge", _LONG_SECS))
                _require(forged.status is not OutcomeStatus.OK, forged)

    def test_memory_is_limited(self) -> None:
        """A breach is called by its name."""
        if self.isolates and sys.platform == "linux":
            outcome = self.outcome("hoard", Limits(memory_mb=512))
            _expect(outcome, OutcomeStatus.MEMORY)
            _require("512 MB" in outcome.message, outcome)

    def test_no_secret_is_in_the_environment(self) -> None:
        """Only what is allowed, or named in the limits, is there."""
        if self.isolates:
            os.environ[_SECRET] = "sk-secret"
            try:
                named = self.outcome("environment", Limits(env=(_SECRET,)))
                _require(
                    "sk-secret" in str(named.value),
                    "it is not there though it was named",
                )
                _require(
                    "sk-secret" not in str(self.outcome("environment").value),
                    "the key is there",
                )
            finally:
                del os.environ[_SECRET]

    def test_no_state_is_left_for_the_next(self) -> None:
        """Each call finds a fresh process and a fresh scratch directory."""
        if self.isolates:
            with self.opened() as sandbox:
                found = [sandbox.run(Call("leave", _LONG_SECS)).value for _ in range(3)]
            _require(found == [False] * 3, found)

    def test_random_numbers_follow_the_seed(self) -> None:
        """The same seed gives the same numbers."""
        if self.isolates:
            with self.opened() as sandbox:
                calls = [Call("random", _LONG_SECS, seed) for seed in (1, 1, 2)]
                one, same, other = [sandbox.run(call).value for call in calls]
            _require(one == same != other, (one, same, other))

    def test_children_are_dead_when_the_call_is_over(self) -> None:
        """Nothing that f started goes on, in whatever session it is."""
        if self.isolates:
            marker = f"llm_optimize-contract-{secrets.token_hex(8)}"
            with self.opened() as sandbox:
                outcome = sandbox.run(Call(f"children {marker}", _LONG_SECS))
                _require(outcome.value == marker, outcome)
                _require(not _is_running(marker, within_secs=1.0), "a child lives on")


def _expect(outcome: Outcome, status: OutcomeStatus) -> None:
    _require(outcome.status is status, f"expected {status}, got {outcome}")


def _require(condition: bool, what: object) -> None:
    if not condition:
        raise AssertionError(str(what))


def _act(deed: str) -> Any:
    """Be an f that does what x says."""
    name, _, argument = deed.partition(" ")
    if name == "children":
        sleep = f"import time; time.sleep({2 * _LONG_SECS})"
        subprocess.Popen(
            [sys.executable, "-c", sleep, argument], start_new_session=True
        )
    return argument or _DEEDS[name]()


def _is_running(marker: str, within_secs: float) -> bool:
    """Whether a process with this word in its command line is still there; known on Linux only."""
    until = time.monotonic() + within_secs
    word = marker.encode()
    processes = Path("/proc")
    while any(word in _content(path) for path in processes.glob("[0-9]*/cmdline")):
        if time.monotonic() > until:
            return True
        time.sleep(0.01)
    return False


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _raise() -> None:
    raise ValueError("no luck")


def _loop() -> None:
    until = time.monotonic() + 2 * _LONG_SECS
    while time.monotonic() < until:
        pass


def _print() -> float:
    sys.stdout.write("out\n")
    sys.stderr.write("err\n")
    return 1.0


def _flood() -> None:
    for _ in range(1 << 14):
        os.write(1, b"x" * (1 << 16))


def _forge() -> float:
    for fd in range(3, 32):
        try:
            os.write(fd, b"\0\0\0\x20" + b"0" * 16 + b'\0\0\0\x0c{"value": 6}')
        except OSError:
            continue
    return 1.0


def _hoard() -> list[bytes]:
    kept: list[bytes] = []
    while True:
        kept.append(bytes(1 << 20))


def _leave() -> bool:
    found = (
        hasattr(sys, "left_by_another")
        or os.path.exists("left")
        or "LEFT" in os.environ
    )
    sys.left_by_another = True  # type: ignore[attr-defined]  # that is the point
    os.environ["LEFT"] = "1"
    return found


def _random() -> float:
    import random

    return random.random()


_DEEDS: dict[str, Callable[[], Any]] = {
    "data": lambda: {"score": 1.0, "feedback": "é\n", "list": [1, None, True]},
    "random": _random,
    "end": lambda: os._exit(0),
    "environment": lambda: dict(os.environ),
    "exit": lambda: sys.exit("no luck"),
    "flood": _flood,
    "forge": _forge,
    "hoard": _hoard,
    "huge": lambda: "a" * (3 << 20),
    "infinity": lambda: math.inf,
    "kill": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "leave": _leave,
    "loop": _loop,
    "nan": lambda: math.nan,
    "object": object,
    "print": _print,
    "raise": _raise,
    "score": lambda: Score(2.0, "fine"),
    "sleep": lambda: time.sleep(_SLEEP_SECS),
}
