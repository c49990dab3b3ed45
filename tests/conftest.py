"""Fixtures of all tests: a clean environment, and a scripted OpenAI-compatible server.

Tests run in several processes at a time: those of one file in one, and all that look at the whole
machine, at its processes, its shared memory or its limits, in one as well, so that none of these
sees another's.
"""

import gc
import re
import signal

import pytest

from server import Server

ON_THE_MACHINE = re.compile(
    r"test_(ablation|sandbox|hostile|run_script|evaluate_executor|eval_utils)"
)

# A shell starts a background job, such as `nohup make test &`, with SIGINT ignored, and an
# ignored signal stays ignored in all descendants. Tests interrupt programs of theirs: so this
# process has a handler, in whose place a new program gets the default action.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep together what must not run beside each other.

    The groups of xdist's own `--dist loadgroup` hang on an attribute of items that pytest 9.2 does
    not have any more: with both, each test goes alone, and fixtures of a module are made anew in
    each process.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            path = nodeid.partition("::")[0]
            if ON_THE_MACHINE.match(path.rpartition("/")[2]):
                return "machine"
            return path

    return ByFile(config, log)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """Let no key or address of the machine into a test."""
    for name in (
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "OPENAI_ORG_ID",
        "OPENAI_PROJECT_ID",
        "LLM_OPTIMIZE_MODEL",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True, scope="module")
def nothing_left_open():
    """Let what a file of tests forgot to close fail in that file, and not in one that comes
    later."""
    yield
    gc.collect()


@pytest.fixture
def server():
    """Yield a scripted server on loopback."""
    server = Server()
    server.start()
    yield server
    server.stop()
