"""What doctests need: a store that goes with the test."""

import pytest


@pytest.fixture
def store(tmp_path):
    """Return the URL of a fresh store."""
    return f"sqlite:///{tmp_path / 'runs.db'}"
