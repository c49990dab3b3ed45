"""What all pages are made of: one script from our modules, one style sheet, plotly, and the policy that admits them."""

from __future__ import annotations

import base64
import hashlib
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

from ...errors import MissingExtra

_IMPORT = re.compile(r'^import \{([^}]*)\} from "([\w./-]+)\.js";\n', re.M)
_EXPORT = re.compile(r"^export (async function|function|const|class) (\w+)", re.M)
_WATCH = __package__.rpartition(".")[0]
_STYLES = ("base.css", "parts.css", "lists.css", "code.css")
NO_TEXT = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"  # of "": plotly fills empty style elements by rules


def require(*modules: str) -> None:
    """Raise MissingExtra when one of the modules is not installed."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise MissingExtra(
            f'{" and ".join(missing)} missing: pip install "llm_optimize[view]"'
        )


def script(entry: str) -> str:
    """Return one of our modules, such as "report/static/report", and those that it imports as one script.

    Each module is a function of its own, so that names may be used again; each import names its exports.
    """
    sources: dict[str, str] = {}
    _collect(entry, sources)
    return '(() => {\n"use strict";\n' + "\n".join(sources.values()) + "\n})();\n"


def _collect(name: str, sources: dict[str, str]) -> None:
    """Add a module after those that it imports."""
    text = (files(_WATCH) / f"{name}.js").read_text(encoding="utf-8")
    folder = posixpath.dirname(name)
    for _, path in _IMPORT.findall(text):
        other = posixpath.normpath(posixpath.join(folder, path))
        if other not in sources:
            _collect(other, sources)
    body = _IMPORT.sub(
        lambda found: (
            f"const {{{found[1]}}} = {_scope(posixpath.join(folder, found[2]))};\n"
        ),
        text,
    )
    exports = ", ".join(name for _, name in _EXPORT.findall(body))
    sources[name] = (
        f"const {_scope(name)} = (() => {{\n{_EXPORT.sub(_bare, body)}\nreturn {{ {exports} }};\n}})();"
    )


def _scope(path: str) -> str:
    """Return the variable that holds what a module exports."""
    return "module_" + re.sub(r"\W", "_", posixpath.normpath(path))


def _bare(found: re.Match[str]) -> str:
    return f"{found[1]} {found[2]}"


def style() -> str:
    """Return the style sheet."""
    return "\n".join(
        (files(_WATCH) / "report" / "static" / name).read_text(encoding="utf-8")
        for name in _STYLES
    )


def plotly_source() -> str:
    """Return plotly's JavaScript, from the installed package. Raises MissingExtra."""
    require("plotly")
    return (files("plotly") / "package_data" / "plotly.min.js").read_text(
        encoding="utf-8"
    )


def plotly_styles() -> list[str]:
    """Return the ids of the style elements that plotly makes for maps unless there is an element of that id.

    No map is drawn here, and no policy of ours would admit them.
    """
    return sorted(
        set(re.findall(r'getElementById\("([0-9a-f]{64})"\)', plotly_source()))
    )


def plotly_version() -> str:
    """Return the version of the installed package."""
    return version("plotly")


def template(room: str, name: str) -> Any:
    """Return a Jinja2 template of `report` or `page` that escapes whatever it is given. Raises MissingExtra."""
    require("jinja2")
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader(f"{_WATCH}.{room}", "templates")
    return Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined
    ).get_template(name)


def markup(text: str) -> Any:
    """Return our own script or style sheet as what a template need not escape."""
    from markupsafe import Markup

    return Markup(text)


def hash_of(text: str) -> str:
    """Return what a policy calls this very script or style sheet.

    >>> hash_of("") == NO_TEXT
    True
    """
    return (
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    )


def policy(
    scripts: Sequence[str], styles: Sequence[str], more: Mapping[str, Iterable[str]]
) -> str:
    """Return a Content-Security-Policy that admits these scripts and styles, and no other thing from anywhere.

    >>> policy(["'self'"], [], {"connect-src": ["'self'"]})
    "default-src 'none'; script-src 'self'; base-uri 'none'; form-action 'none'; connect-src 'self'"
    """
    rules = {
        "script-src": scripts,
        "style-src": styles,
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        **more,
    }
    return "; ".join(
        [
            "default-src 'none'",
            *(" ".join([name, *words]) for name, words in rules.items() if words),
        ]
    )
