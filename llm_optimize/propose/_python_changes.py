"""Small changes of a Python program that keep all of its formatting, by libcst.

Four kinds: a number moves, a boolean flips, an argument of a scikit-learn estimator gets another
value, an estimator is replaced by another one of its kind. Libcst is optional: it is imported
inside of functions.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import require
from ._estimators import Estimator, alternatives, estimator_named, other_value
from ._number_changes import move

if TYPE_CHECKING:
    import libcst as cst

_MAX_CHARS = 200_000
# Of brackets or operators: a parser must not run out of stack on hostile text.
_MAX_DEPTH = 60
# Of a chain such as 1+1+1, which count like one level of brackets.
_OPERATORS_PER_LEVEL = 20
_WEIGHTS = {"number": 3.0, "boolean": 1.0, "argument": 4.0, "swap": 1.5}

Change: TypeAlias = Callable[[Random], str]
Spans: TypeAlias = Sequence[tuple[int, int]]  # begin and end, in characters


class PythonChanges:
    """Changes one thing in a program. Raises MissingExtra where libcst is not installed."""

    def __init__(self) -> None:
        require("libcst", needed_by="mutation of a Python program")
        import libcst

        self._cst = libcst

    def change(
        self,
        source: str,
        rng: Random,
        allowed: Spans | None = None,
    ) -> str | None:
        """Return the program with one thing changed; None where there is nothing to change.

        `allowed` are the spans that may change; None for all of it.
        """
        changes = self._changes(source, allowed)
        kinds = [kind for kind in _WEIGHTS if changes[kind]]
        if not kinds:
            return None
        weights = [_WEIGHTS[kind] for kind in kinds]
        (kind,) = rng.choices(kinds, weights)
        change = rng.choice(changes[kind])
        return change(rng)

    def can_change(
        self,
        source: str,
        allowed: Spans | None = None,
    ) -> bool:
        """Return whether this is Python with something to change in these spans."""
        return any(self._changes(source, allowed).values())

    def _changes(
        self,
        source: str,
        allowed: Spans | None,
    ) -> dict[str, list[Change]]:
        """Return all changes that are possible, by their kind."""
        module = self._parsed(source)
        if module is None:
            return _no_changes()
        sites = _Sites(module)
        if allowed is None or list(allowed) == [(0, len(source))]:
            sites.collect(lambda node: True)
        else:
            sites.collect(_is_inside(module, source, allowed))
        return sites.changes

    def _parsed(self, source: str) -> cst.Module | None:
        if (
            len(source) > _MAX_CHARS
            or not source.strip()
            or _depth(source) > _MAX_DEPTH
        ):
            return None
        try:
            return self._cst.parse_module(source)
        except (self._cst.ParserSyntaxError, RecursionError, UnicodeError):
            return None


def _no_changes() -> dict[str, list[Change]]:
    return {kind: [] for kind in _WEIGHTS}


def _depth(source: str) -> int:
    """Return roughly how deep the syntax tree is, by brackets and chains of operators."""
    depth = 0
    deepest = 0
    for char in source:
        if char in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in ")]}":
            depth -= 1
    operators = 0
    for line in source.splitlines():
        in_line = sum(line.count(operator) for operator in "+-*/.")
        operators = max(operators, in_line)
    return max(deepest, operators // _OPERATORS_PER_LEVEL)


def _is_inside(
    module: cst.Module, source: str, allowed: Spans
) -> Callable[[cst.CSTNode], bool]:
    """Return a function that tells whether a node lies wholly within one of the spans."""
    from libcst.metadata import MetadataWrapper, PositionProvider

    lines = source.splitlines(keepends=True)
    starts = [0, *itertools.accumulate(map(len, lines))]
    positions = MetadataWrapper(module, unsafe_skip_copy=True).resolve(PositionProvider)

    def position_of(place: Any) -> int:
        # A node that ends the file may end in a line after the last one.
        line = min(place.line, len(starts))
        position: int = starts[line - 1] + place.column
        return position

    def is_inside(node: cst.CSTNode) -> bool:
        if node not in positions:
            return False
        span = positions[node]
        begin = position_of(span.start)
        end = position_of(span.end)
        for low, high in allowed:
            if low <= begin and end <= high:
                return True
        return False

    return is_inside


class _Sites:
    """The places of a program where something can be changed."""

    def __init__(self, module: cst.Module) -> None:
        self._module = module
        self._imports = _imports(module)
        self.changes = _no_changes()

    def collect(self, may_change: Callable[[cst.CSTNode], bool]) -> None:
        """Find the changes of all nodes that may change."""
        import libcst as cst

        for node in _walk(self._module):
            if not may_change(node):
                continue
            if isinstance(node, cst.Integer | cst.Float):
                literal = node.value.lower()
                if "_" not in literal and not literal.startswith(("0x", "0b", "0o")):
                    self.changes["number"].append(self._number(node))
            elif isinstance(node, cst.Name):
                if node.value in ("True", "False"):
                    self.changes["boolean"].append(self._boolean(node))
            elif isinstance(node, cst.Call):
                self._collect_call(node)

    def _collect_call(self, call: cst.Call) -> None:
        estimator = self._estimator(call.func)
        if estimator is None:
            return
        if any(argument.star for argument in call.args):
            return
        argument = self._argument(call, estimator)
        self.changes["argument"].append(argument)
        swap = self._swap(call, estimator)
        self.changes["swap"].append(swap)

    def _estimator(self, func: cst.BaseExpression) -> Estimator | None:
        """Return the estimator that is called, if its name comes from an import of scikit-learn."""
        import libcst as cst

        if isinstance(func, cst.Name):
            origin = self._imports.get(func.value, "")
            module, _, name = origin.rpartition(".")
        elif isinstance(func, cst.Attribute):
            prefix = self._module.code_for_node(func.value)
            head, _, tail = prefix.partition(".")
            origin = self._imports.get(head, "")
            module = f"{origin}.{tail}" if tail else origin
            name = func.attr.value
        else:
            return None
        if module.partition(".")[0] != "sklearn":
            return None
        return estimator_named(name)

    def _replace(self, old: cst.CSTNode, new: cst.CSTNode) -> str:
        changed: Any = self._module.deep_replace(old, new)
        return str(changed.code)

    def _number(self, node: cst.Integer | cst.Float) -> Change:
        import libcst as cst

        def change(rng: Random) -> str:
            # By parsing, because a negative number is an expression and no literal.
            moved = cst.parse_expression(move(node.value, rng))
            return self._replace(node, moved)

        return change

    def _boolean(self, node: cst.Name) -> Change:
        opposite = node.with_changes(value=str(node.value == "False"))
        return lambda rng: self._replace(node, opposite)

    def _argument(self, call: cst.Call, estimator: Estimator) -> Change:
        def change(rng: Random) -> str:
            name = rng.choice(sorted(estimator.arguments))
            value = other_value(estimator.arguments[name], rng)
            return self._replace(call, _with_argument(call, name, value))

        return change

    def _swap(self, call: cst.Call, estimator: Estimator) -> Change:
        import libcst as cst

        def change(rng: Random) -> str:
            other = rng.choice(alternatives(estimator))
            name = cst.Name(other.name)
            new = cst.Call(func=name)
            return _with_import(self._replace(call, new), other)

        return change


def _with_argument(
    call: cst.Call,
    name: str,
    value: str,
) -> cst.Call:
    """Return the call with this keyword argument: changed in its place, or added at the end."""
    import libcst as cst

    expression = cst.parse_expression(value)
    for i, argument in enumerate(call.args):
        if argument.keyword is not None and argument.keyword.value == name:
            changed = argument.with_changes(value=expression)
            args = list(call.args)
            args[i] = changed
            return call.with_changes(args=args)
    no_space = cst.SimpleWhitespace("")
    equal = cst.AssignEqual(no_space, no_space)
    keyword = cst.Name(name)
    added = cst.Arg(expression, keyword=keyword, equal=equal)
    if not call.args:
        return call.with_changes(args=[added])
    *earlier, last = call.args
    if not isinstance(last.comma, cst.Comma):
        comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
        last = last.with_changes(comma=comma)
    return call.with_changes(args=[*earlier, last, added])


def _with_import(source: str, estimator: Estimator) -> str:
    """Return the program with an import of the estimator before its first one of sklearn."""
    statement = f"from {estimator.module} import {estimator.name}"
    lines = source.splitlines(keepends=True)
    if any(line.strip() == statement for line in lines):
        return source
    ending = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    position = 0
    for number, line in enumerate(lines):
        if line.startswith(("from sklearn", "import sklearn")):
            position = number
            break
    lines.insert(position, statement + ending)
    return "".join(lines)


def _imports(module: cst.Module) -> dict[str, str]:
    """Return the names that imports define, each with the dotted name that it stands for."""
    import libcst as cst

    found: dict[str, str] = {}

    def add(alias: cst.ImportAlias, name: str, known_as: str) -> None:
        if alias.asname is not None:
            known_as = module.code_for_node(alias.asname.name)
        found[known_as] = name

    for node in _walk(module):
        if isinstance(node, cst.Import):
            for alias in node.names:
                name = module.code_for_node(alias.name)
                if alias.asname is None:
                    name = name.partition(".")[0]  # import a.b defines a
                add(alias, name, name)
        elif isinstance(node, cst.ImportFrom):
            if node.module is None or isinstance(node.names, cst.ImportStar):
                continue
            origin = module.code_for_node(node.module)
            for alias in node.names:
                name = module.code_for_node(alias.name)
                add(alias, f"{origin}.{name}", name)
    return found


def _walk(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """Yield a node and all below it, in the order of the text; without recursion."""
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(reversed(current.children))
