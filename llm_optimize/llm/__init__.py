"""The door to chat models: any OpenAI-compatible endpoint, any program, any callable."""

from __future__ import annotations

from ._chat import Chat, LLMModel, default_llm_options, get_default_llm
from ._others import Command, Ensemble, Function, Model, as_model

__all__ = [
    "Chat",
    "Command",
    "Ensemble",
    "Function",
    "LLMModel",
    "Model",
    "as_model",
    "default_llm_options",
    "get_default_llm",
]
