"""The door to chat models: any OpenAI-compatible endpoint, any program, any callable."""

from __future__ import annotations

from ._chat import Chat, LLMModel, default_llm_options, get_default_llm
from ._ensemble import Ensemble, Priced, as_model, expected_cost, price_of
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
    "as_model",
    "default_llm_options",
    "expected_cost",
    "get_default_llm",
    "price_of",
    "reply_of",
]
