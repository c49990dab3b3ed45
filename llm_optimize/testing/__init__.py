"""For tests, ours and yours: a model whose replies are known, and what every plug-in of a kind must do."""

from ._sandbox import SandboxContract
from ._scripted import ScriptedChat

__all__ = ["SandboxContract", "ScriptedChat"]
