"""The docs site, built as `make docs` builds it and opened from disk in a browser at two widths."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from blocks import ROOT
from llm_optimize import errors
from llm_optimize.cli import app
from llm_optimize.settings import options
from pages import Seen, browsing

PAGES = ("index", "start", "search", "reference/optimize", "reference/command_line")
WIDTHS = (1280, 390)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return the folder of the built site."""
    if importlib.util.find_spec("mkdocs") is None:
        if os.environ.get("REQUIRE_DOCS"):
            pytest.fail("mkdocs is missing, though REQUIRE_DOCS is set: make docs")
        pytest.skip('mkdocs is missing: pip install "llm_optimize[docs]"')
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "--quiet", "build", "--strict", "-d", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.timeout(300)
def test_pages_open_from_disk_without_other_hosts_and_fit(site):
    with browsing() as browser:
        for width in WIDTHS:
            page = browser.new_page(viewport={"width": width, "height": 844})
            seen = Seen()
            seen.watch(page)
            for name in PAGES:
                page.goto((site / f"{name}.html").as_uri())
                assert page.locator("h1").count() == 1
                wide = page.evaluate("document.documentElement.scrollWidth")
                assert wide == width, f"{name} is {wide} wide"
            assert seen.trouble == []
            assert seen.left("file://") == []
            page.close()


@pytest.mark.timeout(300)
def test_the_search_works_from_disk(site):
    with browsing() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 844})
        page.goto((site / "reference" / "index.html").as_uri())
        page.locator("input[name=query]").press_sequentially("landlock")
        found = page.locator(".md-search-result__item a").first
        found.wait_for()
        assert "sandbox.html" in found.get_attribute("href")


def test_the_reference_has_every_command_and_every_option(site):
    commands = (site / "reference" / "command_line.html").read_text(encoding="utf-8")
    for command in app.registered_commands:
        assert f'id="{command.name}"' in commands
    listed = (site / "reference" / "optimize.html").read_text(encoding="utf-8")
    for name in options():
        assert f"<code>{name}</code>" in listed


def test_the_reference_has_every_error_and_nothing_private(site):
    listed = (site / "reference" / "errors.html").read_text(encoding="utf-8")
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.LlmOptimizeError):
            assert f'id="llm_optimize.errors.{name}"' in listed
    for path in (site / "reference").glob("*.html"):
        assert not re.search(r'id="llm_optimize\.[\w.]*\._', path.read_text("utf-8")), (
            path
        )
