"""Hashes of what f is made of, by which a run that goes on notices a changed f.

What counts as part of f, each with a hash of its own:

- "f" (or "stage NAME"): the function, and of its own file the statements that it depends on,
  directly or through others. What else stands in that file, such as the call of `optimize.run`,
  does not count.
- each file of the user's own modules that these statements import, and that those import in turn,
  by its path; "own" are files in the folder tree of f's file. Installed packages do not count.
- each file of `limits.readable`, up to 10 MB; a larger one by its size only, a folder not at all.
- "examples": the data of `Examples`, where it can be written as JSON.

Sources are hashed as syntax trees without docstrings, so that comments, docstrings and the layout
do not count. A function without a file (a cell of a notebook, `python -c`) is hashed by its source,
else by its code object; then the functions and plain values of its globals stand for its file. Data
that f reads in another way, and attributes of a callable object, are not seen.
"""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import inspect
import json
import sys
import sysconfig
import textwrap
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..evaluate import Examples
from ..evaluate.stages import as_stages

_MAX_FILE_BYTES = 10_000_000  # of a readable file that is hashed by its content
_MAX_MODULES = 200  # of the user's own that are followed
_EXAMPLES = "examples"
_PLAIN = (int, float, complex, str, bytes, bool, types.NoneType)
_LOADS = ("LOAD_GLOBAL", "LOAD_NAME")
_UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, RecursionError)
_LIBRARY = Path(__file__).parents[1]  # our own functions are no part of a user's f
_PATHS = sysconfig.get_paths()
_FOLDERS = ("stdlib", "platstdlib", "purelib", "platlib")
_NOT_OWN = [_LIBRARY, *(Path(_PATHS[name]) for name in _FOLDERS)]
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def hashes_of(
    func: Any, readable: Sequence[str] = (), examples: Any = None
) -> dict[str, str]:
    """Return a hash for each part of f that can be seen, by its name.

    The same text has the same hashes in every process.

    Args:
        func: a function, or stages.
        readable: files that f may read besides its own.
        examples: that f is called on; an `Examples`, or None.

    >>> hashes_of(lambda x: 1) == hashes_of(lambda x: 1) != hashes_of(lambda x: 2)
    True
    """
    found: dict[str, str] = {}
    stages = as_stages(func)
    for stage in stages:
        collected = _Collector()
        collected.add(stage.func)
        part = f"stage {stage.title}"
        if len(stages) == 1:
            part = "f"
        found[part] = collected.hash
        found.update(collected.modules)
    for path in map(Path, readable):
        if path.is_file():
            found[path.name] = _hash_of_file(path)
    if isinstance(examples, Examples):
        data = [examples.train, examples.val, examples.test]
        try:
            text = json.dumps(data, sort_keys=True)
            found[_EXAMPLES] = _hash(text)
        except (TypeError, ValueError):
            return found  # they are no plain data: their changes are not seen
    return found


def changed_parts(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the names of the parts of f that differ; of a module or file that both have.

    Code objects of different versions of Python cannot be compared, and count as equal.

    >>> changed_parts({"f": "source:1", "a.py": "source:2"}, {"f": "source:1", "b.py": "source:3"})
    []
    """
    if before and _functions(before) != _functions(now):
        return ["f"]
    found = []
    for part, old in before.items():
        new = now.get(part, old)
        if new == old:
            continue
        old_kind, _, _ = old.partition(":")
        new_kind, _, _ = new.partition(":")
        if old_kind == new_kind or "source" in (old_kind, new_kind):
            found.append(part)
    return found


def _functions(hashes: Mapping[str, str]) -> list[str]:
    return [part for part in hashes if part == "f" or part.startswith("stage ")]


def _hash(text: str | bytes, kind: str = "source") -> str:
    data = text
    if isinstance(text, str):
        data = text.encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(data, digest_size=12)  # type: ignore[arg-type]
    return f"{kind}:{digest.hexdigest()}"


def _hash_of_file(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > _MAX_FILE_BYTES:
            return _hash(f"{size} bytes")
        return _hash(path.read_bytes())
    except OSError:
        return _hash("unreadable")


class _Collector:
    """Collects what one function is made of.

    Attributes:
        modules: hashes of the files of the user's own modules, by path.
    """

    def __init__(self) -> None:
        self.modules: dict[str, str] = {}
        self._texts: list[str] = []
        self._has_code = False  # besides sources
        self._seen: set[object] = set()
        self._files: dict[Path, _Module | None] = {}

    @property
    def hash(self) -> str:
        """The hash of the function with all that it needs of its own file."""
        kind = "source"
        if self._has_code:
            kind = "code{}.{}".format(*sys.version_info)
        texts = list(self._texts)
        for module in filter(None, self._files.values()):
            texts += module.used_texts()
        return _hash("\0".join(texts), kind)

    def add(self, func: Any) -> None:
        """Add a callable of any kind."""
        if isinstance(func, functools.partial):
            self.add(func.func)
            for value in func.args:
                self._add_value("argument", value)
            for name, value in func.keywords.items():
                self._add_value(name, value)
        elif isinstance(func, types.MethodType):
            self._add_class(type(func.__self__))
            self.add(func.__func__)
        elif isinstance(func, types.FunctionType):
            self._add_function(func)
        elif isinstance(func, type):
            self._add_class(func)
        elif isinstance(func, types.BuiltinFunctionType):
            self._add_name(func)
        else:
            self._add_class(type(func))

    def _add_name(self, named: Any) -> None:
        """Add what has no source here by its name only."""
        module = named.__module__
        self._texts.append(f"{module}.{named.__qualname__}")

    def _add_class(self, kind: type) -> None:
        if kind in self._seen:
            return
        self._seen.add(kind)
        functions = types.FunctionType
        methods = []
        for one in vars(kind).values():
            if isinstance(one, functions):
                methods.append(one)
        if not methods:  # such as float
            self._add_name(kind)
        files = {method.__code__.co_filename for method in methods}
        for file in sorted(files):
            module = self._module(Path(file))
            if module is not None and module.has(kind.__qualname__):
                self._add_names(module, [kind.__qualname__])
                return
        for method in methods:
            self._add_function(method)

    def _add_function(self, func: types.FunctionType) -> None:
        code = func.__code__
        if code in self._seen:
            return
        self._seen.add(code)
        file = Path(code.co_filename)
        if file.exists() and not _is_own(file):
            self._add_name(func)
            return
        module = self._module(file)
        if module is not None and module.has(func.__qualname__):
            self._add_names(module, [func.__qualname__])
            return
        self._add_definition(func, module)
        names = sorted(set(_loaded(code)))
        if module is not None:
            self._add_names(module, names)
            return
        for name in names:
            if name in func.__globals__:
                self._add_value(name, func.__globals__[name])

    def _add_definition(self, func: types.FunctionType, module: _Module | None) -> None:
        """Add a function that is not a top-level one of a file: a lambda, a closure, a cell."""
        code = func.__code__
        tree = _tree_of(func)
        if tree is None:
            self._has_code = True
            self._texts.append(_text_of_code(code, func.__doc__))
        else:
            self._texts.append(_text_of(tree))
            if module is not None:
                self._follow(module, tree)
        cells = func.__closure__ or ()
        for name, cell in zip(code.co_freevars, cells, strict=True):
            try:
                value = cell.cell_contents
            except ValueError:  # it is empty
                continue
            self._add_value(name, value)

    def _add_value(self, name: str, value: Any) -> None:
        """Add the value of a name where it is plain, or code of the user's own."""
        if isinstance(value, types.ModuleType):
            file = Path(getattr(value, "__file__", None) or "")
            if _is_own(file):
                self._add_file(file, file.parent)
        elif _is_plain(value):
            self._texts.append(f"{name} = {_shown(value)}")
        elif isinstance(value, types.FunctionType | types.MethodType | type):
            self.add(value)

    # Files.

    def _module(self, file: Path) -> _Module | None:
        """Return a parsed file of the user's; None where it is none, or no Python."""
        if file not in self._files:
            self._files[file] = None
            if _is_own(file):
                self._files[file] = _Module.read(file)
        return self._files[file]

    def _add_names(self, module: _Module, names: Iterable[str]) -> None:
        for statement in module.use(names):
            self._follow(module, statement)

    def _follow(self, module: _Module, tree: ast.AST) -> None:
        """Add the files of the user's own modules that a part of a file imports."""
        for file in module.imported(tree):
            self._add_file(file, module.root)

    def _add_file(self, file: Path, root: Path) -> None:
        if file in self._seen:
            return
        if len(self.modules) >= _MAX_MODULES:
            return
        self._seen.add(file)
        module = _Module.read(file)
        if module is None:
            return
        name = file.name
        if file.is_relative_to(root):
            name = file.relative_to(root).as_posix()
        self.modules[name] = _hash(_text_of(module.tree))
        self._follow(module, module.tree)


class _Module:
    """A file of the user's: its statements, and which of them f depends on."""

    def __init__(self, file: Path, tree: ast.Module) -> None:
        self.tree = tree
        self._folder = file.parent
        self.root = file.parent
        for folder in file.parents:
            self.root = folder
            if not (folder / "__init__.py").exists():
                break
        self._binding: dict[str, list[ast.stmt]] = {}
        for statement in tree.body:
            for name in _bound(statement):
                self._binding.setdefault(name, []).append(statement)
        self._used: set[ast.stmt] = set()

    @classmethod
    def read(cls, file: Path) -> _Module | None:
        """Return a file; None where it cannot be read as Python."""
        try:
            tree = ast.parse(file.read_bytes())
            return cls(file.resolve(), tree)
        except _UNREADABLE:
            return None

    def has(self, name: str) -> bool:
        """Whether a statement at the top defines a function or class of this name."""
        statements = self._binding.get(name, ())
        return any(isinstance(one, _DEFINITIONS) for one in statements)

    def use(self, names: Iterable[str]) -> Iterator[ast.stmt]:
        """Note that f needs these names; yield the statements that it depends on for them."""
        waiting = [*names, "*"]
        while waiting:
            for statement in self._binding.get(waiting.pop(), ()):
                if statement not in self._used:
                    self._used.add(statement)
                    yield statement
                    for node in ast.walk(statement):
                        if isinstance(node, ast.Name):
                            waiting.append(node.id)

    def used_texts(self) -> list[str]:
        """Return the statements that f depends on, in their order."""
        texts = []
        for statement in self.tree.body:
            if statement in self._used:
                texts.append(_text_of(statement))
        return texts

    def imported(self, tree: ast.AST) -> Iterator[Path]:
        """Yield the files of this folder tree that a part of the file imports."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield from self._files_of(alias.name.split("."), 0)
            elif isinstance(node, ast.ImportFrom):
                base = node.module.split(".") if node.module else []
                yield from self._files_of(base, node.level)
                for alias in node.names:
                    yield from self._files_of([*base, alias.name], node.level)

    def _files_of(self, dotted: Sequence[str], level: int) -> Iterator[Path]:
        """Yield the file of a module, and those of the packages around it, where they exist."""
        folders = [self._folder, self.root]
        if level:
            above = [self._folder, *self._folder.parents]
            folders = [above[level - 1]]
        for folder in folders:
            for length in range(1, len(dotted) + 1):
                path = folder.joinpath(*dotted[:length])
                for file in (path.with_suffix(".py"), path / "__init__.py"):
                    if file.is_file() and _is_own(file):
                        yield file.resolve()


def _is_own(file: Path) -> bool:
    """Whether a file is the user's: neither installed nor of this library."""
    if file.suffix != ".py" or not file.is_file():
        return False
    path = file.resolve()
    for folder in _NOT_OWN:
        if path.is_relative_to(folder):
            return False
    return True


def _bound(statement: ast.stmt) -> set[str]:
    """Return the names that a statement at the top of a file binds or changes.

    What stands under `if __name__ == "__main__"` binds none: f does not see it in a sandbox.
    """
    if isinstance(statement, ast.If):
        condition = ast.unparse(statement.test)
        if "__main__" in condition:
            return set()
    names: set[str] = set()
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, _DEFINITIONS):
            names.add(node.name)
            continue  # what it binds inside is its own
        if isinstance(node, ast.alias):
            name, _, _ = (node.asname or node.name).partition(".")
            names.add(name)
        target = node
        while isinstance(target, ast.Subscript | ast.Attribute):
            target = target.value
        if isinstance(target, ast.Name):
            context = getattr(node, "ctx", None)
            if isinstance(context, ast.Store | ast.Del):
                names.add(target.id)
        waiting += ast.iter_child_nodes(node)
    return names


def _tree_of(func: types.FunctionType) -> ast.AST | None:
    """Return the syntax tree of a function's own source; None where it has none of its own."""
    if func.__name__ == "<lambda>":
        return None  # its source is the whole statement around it
    try:
        source = textwrap.dedent(inspect.getsource(func))
        return ast.parse(source)
    except _UNREADABLE:
        return None


def _text_of(tree: ast.AST) -> str:
    """Return a syntax tree as text, without docstrings; the tree is left as it is."""
    copied = ast.parse(ast.unparse(tree))
    for node in ast.walk(copied):
        if not isinstance(node, (*_DEFINITIONS, ast.Module)):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            node.body[0] = ast.Pass()
    return ast.unparse(copied)


def _text_of_code(code: types.CodeType, docstring: str | None = None) -> str:
    """Return what a code object does, as text: without lines, files and docstring."""
    constants = []
    for place, constant in enumerate(code.co_consts):
        if place == 0 and constant == docstring:
            constants.append("None")
        elif isinstance(constant, types.CodeType):
            constants.append(_text_of_code(constant))
        else:
            constants.append(_shown(constant))
    names = (code.co_names, code.co_varnames, code.co_freevars)
    instructions = code.co_code.hex()
    return f"{instructions} {names} {constants}"


def _loaded(code: types.CodeType) -> Iterator[str]:
    """Yield the global names that a function uses, those of functions inside it as well.

    A name that it assigns to is left out: its value is state and not part of f.
    """
    instructions = list(dis.get_instructions(code))
    assigned = set()
    for one in instructions:
        if one.opname == "STORE_GLOBAL":
            assigned.add(one.argval)
    for one in instructions:
        if one.opname in _LOADS and one.argval not in assigned:
            yield one.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _loaded(constant)


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | frozenset):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


def _shown(value: Any) -> str:
    """Return a constant as text; sets in a fixed order."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))})"
    if isinstance(value, frozenset):
        parts = sorted(map(_shown, value))
        return f"frozenset {parts}"
    return repr(value)
