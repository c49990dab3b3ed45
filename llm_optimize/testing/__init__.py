"""For tests, ours and yours: a model whose replies are known, and what every plug-in of a kind must do."""

from ._sandbox import SandboxContract
from ._scripted import ScriptedChat
from ._search import SearchContract

__all__ = ["SandboxContract", "ScriptedChat", "SearchContract"]
