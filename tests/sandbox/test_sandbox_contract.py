"""The contract of sandboxes, kept by every one of ours, and broken by one that is none."""

import pytest

from levels import need_namespaces
from llm_optimize.sandbox import (
    InlineSandbox,
    Outcome,
    OutcomeStatus,
    PortableSandbox,
    open_sandbox,
)
from llm_optimize.testing import SandboxContract


class TestInline(SandboxContract):
    isolates = False

    def open(self, func, limits):
        return open_sandbox("inline", func, limits)


class TestProcess(SandboxContract):
    def open(self, func, limits):
        return open_sandbox("process", func, limits)


class TestNamespace(SandboxContract):
    def open(self, func, limits):
        need_namespaces()
        return open_sandbox("namespace", func, limits)


class TestPortable(SandboxContract):
    def open(self, func, limits):
        return PortableSandbox(func, limits)


class Credulous(InlineSandbox):
    """Takes everything for a success, at once."""

    def run(self, call):
        return Outcome(OutcomeStatus.OK, value=1.0, output="x" * (2 << 20))


TESTS = sorted(name for name in dir(SandboxContract) if name.startswith("test_"))


@pytest.mark.parametrize("name", TESTS)
def test_a_sandbox_that_believes_everything_keeps_no_part_of_the_contract(name):
    class Broken(SandboxContract):
        def open(self, func, limits):
            return Credulous(func)

    with pytest.raises((AssertionError, TypeError)):
        getattr(Broken(), name)()


def test_open_must_be_defined():
    with pytest.raises(NotImplementedError, match="define open"):
        SandboxContract().test_plain_data_comes_back()
