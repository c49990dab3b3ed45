"""Examples in docstrings run in an empty folder, so that their stores go with them."""

import pytest


@pytest.fixture(autouse=True)
def empty_folder(request, tmp_path, monkeypatch):
    """Go to an empty folder where the test is a docstring's."""
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch.chdir(tmp_path)
