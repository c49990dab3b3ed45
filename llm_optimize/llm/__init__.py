"""Chat models: any OpenAI-compatible endpoint, any program, any callable, or several of these.

    models, chat, ensemble    what answers messages
    call                      one call of an endpoint: attempts, retries, deadline
    dialect, responses        how an endpoint wants to be asked: learned from what it refuses
    endpoint, wire, address   where it goes: connections, circuit breaker, HTTP within bounds
    listing                   what an endpoint has, asked before the first call
    answer, problem, refusal, faults   what came back, and what it means
    price, bandit             what it costs, and which model earns most for that

This is the only room that opens a connection. Nothing that comes back is trusted.
"""

from __future__ import annotations

from .chat import Chat, LLMModel, default_llm_options, get_default_llm
from .ensemble import (
    Ensemble,
    Priced,
    Seen,
    as_model,
    changes_of,
    expected_usage,
    price_of,
)
from .models import Command, Function, Model, reply_of
from .price import Price

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
    "changes_of",
    "default_llm_options",
    "expected_usage",
    "get_default_llm",
    "price_of",
    "reply_of",
]
