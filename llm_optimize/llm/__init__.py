"""The door to chat models: any OpenAI-compatible endpoint, any program, any callable."""

from __future__ import annotations

from ._chat import Chat, LLMModel, default_llm_options, get_default_llm
from ._ensemble import Ensemble, Priced, Seen, as_model, expected_usage, price_of
from ._others import Command, Function, Model, reply_of
from ._price import Price

__all__ = [
    "Chat",
    "Command",
    "Ensemble",
    "Function",
    "LLMModel",
    "Model",
    "Price",
    "Priced",
    "Seen",
    "as_model",
    "default_llm_options",
    "expected_usage",
    "get_default_llm",
    "price_of",
    "reply_of",
]
