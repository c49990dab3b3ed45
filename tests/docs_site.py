"""Hooks of the docs site (mkdocs.yml): generated parts of the reference, and a check of the site.

Where a page has the line `<!-- commands -->`, `<!-- options -->` or `<!-- errors -->`, the flags of
every command, the options of a run, or the tree of exceptions are written in its place, from the
program itself. What is built loads nothing from other hosts: a page that would is an error.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.exceptions import PluginError

from llm_optimize import errors
from llm_optimize.cli import app
from llm_optimize.settings import options

# What a browser fetches by itself: links that a reader follows are not among them.
LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=["']?(?:https?:)?//[^"'>\s]+"""
    r"""|<link\b[^>]*\brel=["']?(?:stylesheet|preconnect|preload|icon)\b[^>]*"""
    r"""\bhref=["']?(?:https?:)?//[^>]+"""
    r"""|url\(["']?(?:https?:)?//[^)]+"""
)


def cell(text: str) -> str:
    """Return a text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def commands() -> Iterator[str]:
    """Yield the sections of the reference of the command line."""
    group = typer.main.get_command(app)
    front = group.make_context("llm-optimize", [], resilient_parsing=True)
    for name in group.list_commands(front):
        command = group.get_command(front, name)
        inner = command.make_context(name, [], parent=front, resilient_parsing=True)
        records = [
            option.get_help_record(inner) for option in command.get_params(inner)
        ]
        rows = [row(*record) for record in records if record]
        yield f"## `{name}`"
        yield inspect.cleandoc(command.help or "").replace("\b\n", "")
        yield f"```text\n{command.get_usage(inner).removeprefix('Usage: ')}\n```"
        yield "\n".join(["| option | |", "|---|---|", *rows])


def row(written: str, text: str) -> str:
    """Return the row of one option, as it is written and what it says."""
    return f"| `{cell(written)}` | {cell(text)} |"


def run_options() -> Iterator[str]:
    """Yield the table of all options of a run."""
    yield "| in Python | on the command line | |"
    yield "|---|---|---|"
    for name, option in options().items():
        flag = f"`{option.flag}`" if option.flag else ""
        text = f"{option.help} {option.python}"
        yield f"| `{name}` | {flag} | {cell(text)} |"


def exceptions() -> Iterator[str]:
    """Yield the tree of exceptions, and the reference of each."""
    _, _, tree = inspect.cleandoc(errors.__doc__ or "").partition("\n\n")
    yield f"```text\n{tree}\n```"
    for name in re.findall(r"^[│├└─ ]*(\w+)", tree, re.M):
        yield f"::: llm_optimize.errors.{name}"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Write the generated parts of a page."""
    if "<!-- commands -->" in markdown:
        markdown = markdown.replace("<!-- commands -->", "\n\n".join(commands()))
    if "<!-- errors -->" in markdown:
        markdown = markdown.replace("<!-- errors -->", "\n\n".join(exceptions()))
    if "<!-- options -->" in markdown:
        markdown = markdown.replace("<!-- options -->", "\n".join(run_options()))
    return markdown


def on_page_content(html: str, **_: Any) -> str:
    """Mark flags, which a line must not break after their dashes."""
    return re.sub(r"<code>(--[^<]{1,28}</code>)", r'<code class="flag">\1', html)


def outside(site: Path) -> Iterator[str]:
    """Yield what a page or a style sheet of a built site would load from other hosts."""
    for path in sorted([*site.rglob("*.html"), *site.rglob("*.css")]):
        for found in LOADED.findall(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)}: {found[:200]}"


def on_post_build(config: Any, **_: Any) -> None:
    """Refuse a site that loads anything from other hosts."""
    found = list(outside(Path(config.site_dir)))
    if found:
        raise PluginError("the site loads from other hosts:\n" + "\n".join(found))
