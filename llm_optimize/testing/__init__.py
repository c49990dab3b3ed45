"""Tools for tests, ours and yours: a scripted model, the reply parser, and contract suites."""

from ._replies import read_reply
from ._sandbox import SandboxContract
from ._scripted import ScriptedChat
from ._search import SearchContract
from ._trials import changed

__all__ = ["SandboxContract", "ScriptedChat", "SearchContract", "changed", "read_reply"]
