"""One small change of a Python program that keeps all of its formatting (libcst)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtra
from ._numbers import move
from ._sklearn import Catalogue, Estimator

if TYPE_CHECKING:
    import libcst as cst

_MAX_CHARS = 200_000
_MAX_DEPTH = 60  # of brackets and indentation: a parser of hostile text must not run out of stack
_WEIGHTS = {"number": 3.0, "boolean": 1.0, "keyword": 4.0, "swap": 1.5}
Change = Callable[[Random], "str | None"]
Spans = Sequence[tuple[int, int]]  # from and to, in characters


class PythonChanges:
    """Finds what can be changed in a program, and changes one thing."""

    def __init__(self) -> None:
        """Load libcst. Raises MissingExtra where it is not installed."""
        try:
            import libcst
        except ImportError as error:
            raise MissingExtra(
                'mutation needs libcst: pip install "llm_optimize[mutation]"'
            ) from error
        self._cst = libcst
        self._catalogue = Catalogue()

    def change(
        self, source: str, rng: Random, allowed: Spans | None = None
    ) -> str | None:
        """Return the program with one thing changed; None when it is no Python or has nothing to change.

        `allowed` are the places in characters, from and to, that may change; None: all of it.
        """
        sites = self._sites(source, allowed)
        if sites is None:
            return None
        kinds = [kind for kind in _WEIGHTS if sites.of(kind)]
        if not kinds:
            return None
        (kind,) = rng.choices(kinds, [_WEIGHTS[kind] for kind in kinds])
        return rng.choice(sites.of(kind))(rng)

    def can_change(self, source: str, allowed: Spans | None = None) -> bool:
        """Return whether this is Python with something to change in these places."""
        sites = self._sites(source, allowed)
        return sites is not None and any(sites.of(kind) for kind in _WEIGHTS)

    def _sites(self, source: str, allowed: Spans | None) -> _Sites | None:
        module = self._parse(source)
        if module is None:
            return None
        if allowed is None or list(allowed) == [(0, len(source))]:
            return _Sites(module, self._catalogue)
        return _Sites(module, self._catalogue, _inside(module, source, allowed))

    def _parse(self, source: str) -> cst.Module | None:
        if (
            len(source) > _MAX_CHARS
            or _depth(source) > _MAX_DEPTH
            or not source.strip()
        ):
            return None
        try:
            return self._cst.parse_module(source)
        except (self._cst.ParserSyntaxError, RecursionError, UnicodeError):
            return None


def _depth(source: str) -> int:
    """Return how deep brackets nest and how long a chain of operators or indentation may be, roughly."""
    depth = deepest = 0
    for char in source:
        if char in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in ")]}":
            depth -= 1
    operators = max(
        (sum(map(line.count, "+-*/.")) for line in source.splitlines()), default=0
    )
    return max(deepest, operators // 20)


def _inside(
    module: cst.Module, source: str, allowed: Spans
) -> Callable[[cst.CSTNode], bool]:
    """Return whether a node of a module lies wholly within one of these places."""
    from libcst.metadata import MetadataWrapper, PositionProvider

    lines = source.splitlines(keepends=True)
    starts = [0, *itertools.accumulate(map(len, lines))]
    positions = MetadataWrapper(module, unsafe_skip_copy=True).resolve(PositionProvider)

    def may_change(node: cst.CSTNode) -> bool:
        if node not in positions:
            return False
        span = positions[node]
        begin = starts[span.start.line - 1] + span.start.column
        end = starts[min(span.end.line, len(starts)) - 1] + span.end.column
        return any(low <= begin and end <= high for low, high in allowed)

    return may_change


class _Sites:
    """The places of a program where something can be changed, by kind of change."""

    def __init__(
        self,
        module: cst.Module,
        catalogue: Catalogue,
        may_change: Callable[[cst.CSTNode], bool] = lambda node: True,
    ) -> None:
        self._module = module
        self._catalogue = catalogue
        self._imports = _imports(module)
        self._changes: dict[str, list[Change]] = {kind: [] for kind in _WEIGHTS}
        for node in _walk(module):
            if may_change(node):
                self._collect(node)

    def of(self, kind: str) -> Sequence[Change]:
        """Return the changes of one kind."""
        return self._changes[kind]

    def _collect(self, node: cst.CSTNode) -> None:
        import libcst as cst

        if isinstance(node, cst.Integer | cst.Float):
            if (
                not node.value.lower().startswith(("0x", "0b", "0o"))
                and "_" not in node.value
            ):
                self._changes["number"].append(self._number(node))
        elif isinstance(node, cst.Name) and node.value in ("True", "False"):
            self._changes["boolean"].append(self._boolean(node))
        elif isinstance(node, cst.Call):
            self._collect_call(node)

    def _collect_call(self, call: cst.Call) -> None:
        estimator = self._estimator(call.func)
        if estimator is None or any(argument.star for argument in call.args):
            return
        if estimator.constraints:
            self._changes["keyword"].append(self._keyword(call, estimator))
        if self._catalogue.others(estimator):
            self._changes["swap"].append(self._swap(call, estimator))

    def _estimator(self, func: cst.BaseExpression) -> Estimator | None:
        """Return the estimator that is called, where its name comes from an import of scikit-learn."""
        import libcst as cst

        if isinstance(func, cst.Name):
            module, _, name = self._imports.get(func.value, "").rpartition(".")
        elif isinstance(func, cst.Attribute):
            prefix, name = self._module.code_for_node(func.value), func.attr.value
            head, _, tail = prefix.partition(".")
            module = ".".join(filter(None, [self._imports.get(head, ""), tail]))
        else:
            return None
        return (
            self._catalogue.get(name) if module.partition(".")[0] == "sklearn" else None
        )

    def _replace(self, old: cst.CSTNode, new: cst.CSTNode) -> str:
        changed: Any = self._module.deep_replace(old, new)
        return str(changed.code)

    def _number(self, node: Any) -> Change:
        def change(rng: Random) -> str:
            moved = move(node.value, rng)
            import libcst as cst

            new = cst.parse_expression(moved)
            return self._replace(node, new)

        return change

    def _boolean(self, node: cst.Name) -> Change:
        return lambda _rng: self._replace(
            node, node.with_changes(value=str(node.value == "False"))
        )

    def _keyword(self, call: cst.Call, estimator: Estimator) -> Change:
        def change(rng: Random) -> str | None:
            name = rng.choice(sorted(estimator.constraints))
            value = self._catalogue.value(estimator, name, rng)
            return (
                None
                if value is None
                else self._replace(call, _with_keyword(call, name, value))
            )

        return change

    def _swap(self, call: cst.Call, estimator: Estimator) -> Change:
        def change(rng: Random) -> str:
            import libcst as cst

            other = rng.choice(self._catalogue.others(estimator))
            new = cst.Call(func=cst.Name(other.name))
            return _with_import(self._replace(call, new), other)

        return change


def _with_keyword(call: cst.Call, name: str, value: str) -> cst.Call:
    """Return the call with this keyword argument set, changed or added at the end."""
    import libcst as cst

    expression = cst.parse_expression(value)
    for place, argument in enumerate(call.args):
        if argument.keyword is not None and argument.keyword.value == name:
            changed = argument.with_changes(value=expression)
            return call.with_changes(
                args=[*call.args[:place], changed, *call.args[place + 1 :]]
            )
    equal = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
    added = cst.Arg(expression, keyword=cst.Name(name), equal=equal)
    if not call.args:
        return call.with_changes(args=[added])
    *earlier, last = call.args
    comma = (
        last.comma
        if isinstance(last.comma, cst.Comma)
        else cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    )
    return call.with_changes(args=[*earlier, last.with_changes(comma=comma), added])


def _with_import(source: str, estimator: Estimator) -> str:
    """Return the program with an import of the estimator before its first import of scikit-learn."""
    line = f"from {estimator.module} import {estimator.name}"
    lines = source.splitlines(keepends=True)
    if any(known.strip() == line for known in lines):
        return source
    ending = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    starts = (
        number
        for number, known in enumerate(lines)
        if known.startswith(("from sklearn", "import sklearn"))
    )
    place = next(starts, 0)
    return "".join([*lines[:place], line + ending, *lines[place:]])


def _imports(module: cst.Module) -> dict[str, str]:
    """Return the names that imports define, each with what it stands for."""
    import libcst as cst

    found: dict[str, str] = {}
    for node in _walk(module):
        if isinstance(node, cst.Import):
            for alias in node.names:
                name = module.code_for_node(alias.name)
                if alias.asname is not None:
                    found[module.code_for_node(alias.asname.name)] = name
                else:
                    head = name.partition(".")[0]
                    found[head] = head
        elif (
            isinstance(node, cst.ImportFrom)
            and node.module is not None
            and not isinstance(node.names, cst.ImportStar)
        ):
            origin = module.code_for_node(node.module)
            for alias in node.names:
                name = module.code_for_node(alias.name)
                known_as = (
                    module.code_for_node(alias.asname.name)
                    if alias.asname is not None
                    else name
                )
                found[known_as] = f"{origin}.{name}"
    return found


def _walk(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(reversed(current.children))
