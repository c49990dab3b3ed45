"""For tests, ours and yours: a model whose replies are known, and what every plug-in of a kind must do."""

from ._sandbox import SandboxContract
from ._scripted import ScriptedChat
from ._search import SearchContract
from ._trials import changed

__all__ = ["SandboxContract", "ScriptedChat", "SearchContract", "changed"]
