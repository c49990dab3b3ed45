"""What many tests share: a clean environment, and a scripted OpenAI-compatible server."""

import pytest

from server import Server


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """Let no key or address of the machine into a test."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "LLM_OPTIMIZE_MODEL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server():
    """Yield a scripted server on loopback."""
    server = Server()
    server.start()
    yield server
    server.stop()
