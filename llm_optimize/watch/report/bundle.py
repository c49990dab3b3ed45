"""Assets of all pages: our script as one file, the style sheet, plotly, and the policy.

Our JavaScript is written as ES modules, which a file that is opened from disk cannot import. So
`script` joins the modules, each as a function of its own, for the report and for the served page
alike; no bundler need be installed.
"""

from __future__ import annotations

import base64
import hashlib
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from ...errors import require

_IMPORT = re.compile(r'^import \{([^}]*)\} from "([\w./-]+)\.js";\n', re.M)
_EXPORT = re.compile(r"^export (async function|function|const|class) (\w+)", re.M)
_WATCH = __package__.rpartition(".")[0]
_STYLES = ("base.css", "parts.css", "lists.css", "code.css", "print.css")
# The hash of "", since plotly fills empty style elements by rules.
NO_TEXT = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"


def script(entry: str) -> str:
    """Return a module of ours, such as "report/static/report", and all its imports as one script.

    Each module becomes a function of its own, so that modules may use the same names, and returns
    its exports.
    """
    sources: dict[str, str] = {}
    _collect(entry, sources)
    return '(() => {\n"use strict";\n' + "\n".join(sources.values()) + "\n})();\n"


def _collect(
    name: str,
    sources: dict[str, str],
) -> None:
    """Add a module after those that it imports."""
    file = files(_WATCH) / f"{name}.js"
    text = file.read_text(encoding="utf-8")
    folder = posixpath.dirname(name)
    for _, path in _IMPORT.findall(text):
        other = posixpath.normpath(posixpath.join(folder, path))
        if other not in sources:
            _collect(other, sources)

    def as_constant(found: re.Match[str]) -> str:
        module = _variable(posixpath.join(folder, found[2]))
        return f"const {{{found[1]}}} = {module};\n"

    body = _IMPORT.sub(as_constant, text)
    exports = ", ".join(exported for _, exported in _EXPORT.findall(body))
    body = _EXPORT.sub(r"\1 \2", body)  # without the word "export"
    function = f"(() => {{\n{body}\nreturn {{ {exports} }};\n}})()"
    sources[name] = f"const {_variable(name)} = {function};"


def _variable(path: str) -> str:
    """Return the variable that holds what a module exports."""
    return "module_" + re.sub(r"\W", "_", posixpath.normpath(path))


def style() -> str:
    """Return the style sheet."""
    folder = files(_WATCH) / "report" / "static"
    sheets = [(folder / name).read_text(encoding="utf-8") for name in _STYLES]
    return "\n".join(sheets)


def plotly_source() -> str:
    """Return plotly's JavaScript, from the installed package. Raises MissingExtra."""
    require("plotly", needed_by="a chart")
    file = files("plotly") / "package_data" / "plotly.min.js"
    return file.read_text(encoding="utf-8")


def plotly_styles() -> list[str]:
    """Return the ids of the style elements that plotly would make for maps.

    It makes none where an element of that id exists. We draw no map, and our policy would refuse
    the element, so the page has empty ones.
    """
    ids = re.findall(r'getElementById\("([0-9a-f]{64})"\)', plotly_source())
    return sorted(set(ids))


def plotly_version() -> str:
    """Return the version of the installed package."""
    return version("plotly")


def template(room: str, name: str) -> Any:
    """Return a Jinja2 template of `report` or `page`, which escapes its values.

    Raises MissingExtra.
    """
    require("jinja2", needed_by="a page")
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader(f"{_WATCH}.{room}", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return environment.get_template(name)


def markup(text: str) -> Any:
    """Return our own script or style sheet as a value that a template does not escape."""
    from markupsafe import Markup

    return Markup(text)


def hash_of(text: str) -> str:
    """Return the source of a policy that admits exactly this script or style sheet.

    >>> hash_of("") == NO_TEXT
    True
    """
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def policy(
    scripts: Sequence[str],
    styles: Sequence[str],
    more: Mapping[str, Iterable[str]],
) -> str:
    """Return a Content-Security-Policy that admits these scripts and styles, and nothing else.

    `more` has further directives.

    >>> policy(["'self'"], [], {"img-src": ["data:"]})
    "default-src 'none'; script-src 'self'; base-uri 'none'; form-action 'none'; img-src data:"
    """
    directives: dict[str, Iterable[str]] = {
        "default-src": ["'none'"],
        "script-src": scripts,
        "style-src": styles,
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        **more,
    }
    parts = []
    for name, sources in directives.items():
        if sources:
            parts.append(" ".join([name, *sources]))
    return "; ".join(parts)
