"""The house stays as drawn: sizes, floors, doors and manners, read off the source.

A rule is a function from a path and its syntax tree to complaints. Each is fed a bad snippet, too,
and must complain.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]
Rule = Callable[[str, ast.Module], Iterator[str]]
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
NAMED = (*FUNCTION, ast.ClassDef)

MAX_FILE, MAX_BODY, MAX_PARAMETERS = 500, 60, 8
MANY_PARAMETERS = {
    ("optimize/__init__.py", "acompare"),
    ("optimize/__init__.py", "arun"),  # ten of them since 2023
}

FLOORS = (
    # Within floor 0, earlier ones only.
    "shell errors checks redaction identity conversions text records option_types settings stop "
    "blocking ucb1 token_estimate",
    "llm store sandbox space",
    "compat_2023",
    "search propose evaluate eval_utils watch",
    "optimize testing",
    "automl adapters demo task_file loading",
    "mcp",
    "cli",  # which has the command that starts the server of `mcp`
    "__main__",
)
WORDS = FLOORS[0].split()
FLOOR = {
    room: number for number, rooms in enumerate(FLOORS) for room in rooms.split()
} | {"__init__": -1}

DOORS = {  # an outside thing, and the beginnings of the paths that may import it
    "cmaes": ("propose/",),
    "catboost": ("automl/",),
    "cloudpickle": ("sandbox/", "compat_2023.py"),
    "IPython": ("watch/notebook.py",),
    "jinja2": ("watch/report/",),
    "libcst": ("propose/", "automl/"),
    "matplotlib": ("watch/rendering.py", "records/", "automl/"),
    "mcp": ("mcp/",),
    "mlflow": ("watch/mlflow.py", "watch/_mlflow_run.py"),
    "openai": ("llm/",),
    "optuna": ("propose/", "adapters/", "automl/", "watch/export.py"),
    "lightgbm": ("automl/",),
    "pandas": ("watch/rendering.py", "records/", "automl/"),
    "plotly": ("watch/report/",),
    "psutil": ("sandbox/", "store/lock.py"),
    "pygments": ("watch/language.py", "watch/report/"),
    "rich": ("watch/console.py", "watch/_console"),
    "sklearn": ("automl/", "demo.py"),
    "sqlalchemy": ("store/",),
    "starlette": ("watch/page/",),
    "subprocess": (
        "mcp/jobs.py",
        "sandbox/",
        "errors.py",
        "llm/",
        "testing/_sandbox.py",
    ),
    "tenacity": ("llm/",),
    "typer": ("cli/",),
    "uvicorn": ("watch/page/",),
    "xgboost": ("automl/",),
}

MAY_SWALLOW = {  # where code of the user or of a candidate runs, which may raise anything
    (
        "mcp/server.py",
        "_answer",
    ),  # a tool of the server for agents: they read a sentence, and a human the log
    # A script in its child: what it raised travels to the caller.
    ("compat_2023.py", "_Script.__call__"),
    ("compat_2023.py", "_raisable"),  # its exception may not survive the journey
    (
        "eval_utils.py",
        "LlmScorer.__call__",
    ),  # error_score of get_llm_scorer, a contract of 2023
    ("evaluate/backends.py", "LocalSandbox._run_on_loop"),  # around an async f
    (
        "evaluate/evaluation.py",
        "_text",
    ),  # the __str__ of an object that f returned at `inline`
    ("optimize/watchers.py", "Watchers._call_all"),  # a watcher's callback, logged
    ("sandbox/child.py", "answer_call"),  # around f, in the child
    ("sandbox/child.py", "_describe"),  # a candidate's own __str__
    ("sandbox/inline.py", "InlineSandbox._call"),  # around f
    # The import of an installed package, which f repeats where it matters.
    ("sandbox/linux/fork_server.py", "_fork_script_broker"),
    ("sandbox/linux/fork_server.py", "_load"),  # the import of the user's module
    # The last moment of a process of ours: whoever waits for it is told.
    ("sandbox/linux/process_tree.py", "fork"),
    ("sandbox/linux/supervisor.py", "_reporting_trouble"),  # the same
    # Pickling runs the user's own __reduce__.
    ("sandbox/pickling.py", "_globals_by_name"),
    # The import of the user's modules, which f repeats where it matters.
    ("sandbox/pickling.py", "unpickle_function"),
    ("sandbox/portable.py", "main"),  # the import of the user's module, in the child
    (
        "store/writer.py",
        "_Queue._work",
    ),  # what ends a group of writes travels to all who wait for it
    ("watch/mlflow.py", "Tracker._work"),  # MLflow, its database and its server, logged
}


def walk(node: ast.AST, inside: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Yield all nodes below one, each with the dotted name of the class and function around it."""
    for child in ast.iter_child_nodes(node):
        yield inside, child
        yield from walk(
            child,
            f"{inside}.{child.name}".lstrip(".")
            if isinstance(child, NAMED)
            else inside,
        )


def imports(path: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the absolute dotted name of all that is imported."""
    package = ["llm_optimize", *PurePosixPath(path).parent.parts]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            yield from (
                (node.lineno, ".".join([*base, *filter(None, [node.module]), a.name]))
                for a in node.names
            )


def room_of(dotted: str) -> str | None:
    """Return the room of ours that a dotted name is in, or None.

    >>> room_of("llm_optimize.store.rows.Call")
    'store'
    >>> room_of("llm_optimize.__version__"), room_of("json.loads")
    (None, None)
    """
    first, room, *_ = [*dotted.split("."), "", ""]
    if (
        first != "llm_optimize"
        or not room
        or (room.startswith("__") and room not in FLOOR)
    ):
        return None
    return room


def unchecked(tree: ast.Module) -> ast.Module:
    """Return a module without what stands at its top under `if TYPE_CHECKING`."""
    kept = [
        node
        for node in tree.body
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]
    return ast.Module(kept, [])


def long_files(path: str, tree: ast.Module) -> Iterator[str]:
    lines = max((getattr(node, "end_lineno", 0) for node in tree.body), default=0)
    if lines > MAX_FILE:
        yield f"{path}: {lines} lines"


def long_bodies(path: str, tree: ast.Module) -> Iterator[str]:
    for inside, node in walk(tree):
        if isinstance(node, FUNCTION):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            if lines > MAX_BODY:
                yield f"{path}:{node.lineno} {inside} {node.name}: a body of {lines} lines"


def many_parameters(path: str, tree: ast.Module) -> Iterator[str]:
    for inside, node in walk(tree):
        if isinstance(node, FUNCTION) and (path, node.name) not in MANY_PARAMETERS:
            names = [
                a.arg
                for a in (
                    *node.args.posonlyargs,
                    *node.args.args,
                    *node.args.kwonlyargs,
                )
            ]
            if len(names) - (names[:1] in (["self"], ["cls"])) > MAX_PARAMETERS:
                yield f"{path}:{node.lineno} {inside} {node.name}: {len(names)} parameters"


def wrong_floors(path: str, tree: ast.Module) -> Iterator[str]:
    room = room_of("llm_optimize." + path.removesuffix(".py").replace("/", "."))
    if room not in FLOOR:
        yield f"{path}: a room that is not in the table of floors"
        return
    for line, dotted in imports(
        path, unchecked(tree) if path.endswith("__init__.py") else tree
    ):
        other = room_of(dotted)
        if other in (None, room):
            continue
        earlier = room in WORDS and other in WORDS[: WORDS.index(room)]
        if other not in FLOOR or (FLOOR[other] >= FLOOR[room] and not earlier):
            yield f"{path}:{line} imports {dotted}, which is not on a lower floor"


def late_imports(path: str, tree: ast.Module) -> Iterator[str]:
    for _, node in walk(tree):
        if isinstance(node, FUNCTION):
            found = imports(path, node)
            yield from (
                f"{path}:{line} late import of {name}"
                for line, name in found
                if room_of(name)
            )


def wrong_doors(path: str, tree: ast.Module) -> Iterator[str]:
    for line, dotted in imports(path, tree):
        doors = DOORS.get(dotted.split(".")[0])
        if doors and not path.startswith(doors):
            yield f"{path}:{line} imports {dotted}, which only {', '.join(doors)} may"


def borrowed_privates(path: str, tree: ast.Module) -> Iterator[str]:
    """A private module is for its own package, and a name with an underscore for its own module."""
    package = ".".join(["llm_optimize", *PurePosixPath(path).parent.parts])
    for line, dotted in imports(path, tree):
        private = [
            part
            for part in dotted.split(".")
            if part.startswith("_") and not part.startswith("__")
        ]
        own_module = len(private) == 1 and dotted.startswith(f"{package}.{private[0]}")
        if dotted.startswith("llm_optimize.") and private and not own_module:
            yield f"{path}:{line} imports {dotted}, which is private"


def swallowed(path: str, tree: ast.Module) -> Iterator[tuple[str, str, int]]:
    """Yield path, function and line of each handler that takes any exception and raises none."""
    broad = {"Exception", "BaseException"}
    for inside, node in walk(tree):
        if isinstance(node, ast.ExceptHandler):
            caught = (
                {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)}
                if node.type
                else broad
            )
            if caught & broad and not any(
                isinstance(below, ast.Raise) for below in ast.walk(node)
            ):
                yield path, inside, node.lineno
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).endswith("suppress")
            and broad & set(map(ast.unparse, node.args))
        ):
            yield path, inside, node.lineno


def broad_excepts(path: str, tree: ast.Module) -> Iterator[str]:
    for where, inside, line in swallowed(path, tree):
        if (where, inside) not in MAY_SWALLOW:
            yield f"{where}:{line} {inside} swallows every exception"


def bad_manners(path: str, tree: ast.Module) -> Iterator[str]:
    """The library logs, raises and passes values."""
    for _, node in walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            yield f"{path}:{node.lineno} prints: log it, or tell the watchers"
        if isinstance(node, ast.Assert):
            yield f"{path}:{node.lineno} asserts, which -O removes: raise an error with a repair"
        if isinstance(node, ast.Global):
            yield f"{path}:{node.lineno} changes a global: pass the value"


def undocumented(path: str, tree: ast.Module) -> Iterator[str]:
    if ast.get_docstring(tree) is None:
        yield f"{path}: no docstring"
    inner: list[tuple[str, ast.AST]] = [("", tree)]
    for where, parent in inner:
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, NAMED) and not node.name.startswith("_"):
                overloaded = any(
                    ast.unparse(d).endswith("overload") for d in node.decorator_list
                )
                if ast.get_docstring(node) is None and not overloaded:
                    yield f"{path}:{node.lineno} {where}{node.name} has no docstring"
                if isinstance(node, ast.ClassDef):
                    inner.append((f"{where}{node.name}.", node))


SIZES: list[Rule] = [long_files, long_bodies, many_parameters]
OF_THE_LIBRARY: list[Rule] = [
    wrong_floors,
    late_imports,
    wrong_doors,
    borrowed_privates,
    broad_excepts,
    bad_manners,
]
RULES = [*SIZES, *OF_THE_LIBRARY, undocumented]


def sources(folder: str) -> Iterator[tuple[str, ast.Module]]:
    for file in sorted((ROOT / folder).rglob("*.py")):
        yield (
            file.relative_to(ROOT / folder).as_posix(),
            ast.parse(file.read_text(encoding="utf-8")),
        )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_library_keeps_the_rule(rule: Rule) -> None:
    assert (
        "\n".join(
            said for path, tree in sources("llm_optimize") for said in rule(path, tree)
        )
        == ""
    )


@pytest.mark.parametrize("folder", ["tests", "examples", "benchmarks"])
def test_all_code_keeps_the_sizes(folder: str) -> None:
    assert (
        "\n".join(
            said
            for path, tree in sources(folder)
            for rule in SIZES
            for said in rule(path, tree)
        )
        == ""
    )


def test_every_place_that_may_swallow_exceptions_still_does() -> None:
    found = {
        (where, inside)
        for path, tree in sources("llm_optimize")
        for where, inside, _ in swallowed(path, tree)
    }
    assert found >= MAY_SWALLOW


BAD: list[tuple[Rule, str, str]] = [
    (long_files, "store/x.py", "x = 1\n" * 501),
    (
        long_bodies,
        "store/x.py",
        "class C:\n    def f(self):\n        '''Do.'''\n" + "        x = 1\n" * 61,
    ),
    (
        many_parameters,
        "optimize/_x.py",
        "def run(a, b, c, d, /, e, *, f, g, h, i): ...",
    ),
    (
        many_parameters,
        "store/x.py",
        "class C:\n    async def f(self, a, b, c, d, e, f, g, h, i): ...",
    ),
    (wrong_floors, "store/rows.py", "from ..search import Best"),
    (wrong_floors, "store/rows.py", "from .. import search"),
    (wrong_floors, "search/best.py", "import llm_optimize.propose.model"),
    (
        wrong_floors,
        "search/best.py",
        "if TYPE_CHECKING:\n    from llm_optimize import propose",
    ),
    (wrong_floors, "records.py", "from .replies import clip"),
    (wrong_floors, "__init__.py", "from . import errors"),
    (wrong_floors, "attic.py", "x = 1"),
    (wrong_floors, "store/rows.py", "from ..attic import x"),
    (
        late_imports,
        "optimize/_loop.py",
        "class C:\n    def f(self):\n        from ..store import Run",
    ),
    (late_imports, "cli/run.py", "async def f():\n    import llm_optimize.store"),
    (wrong_doors, "optimize/_loop.py", "def f():\n    import openai.types"),
    (wrong_doors, "cli/run.py", "if TYPE_CHECKING:\n    from rich.table import Table"),
    (wrong_doors, "evaluate.py", "from subprocess import run"),
    (borrowed_privates, "search/best.py", "from ..store._rows import Call"),
    (borrowed_privates, "search/best.py", "from ..store import _rows"),
    (borrowed_privates, "store/x.py", "from ._rows import _secret"),
    (borrowed_privates, "store/x.py", "from ..records import _sum_costs"),
    (broad_excepts, "text.py", "def f():\n    try: ...\n    except: ..."),
    (broad_excepts, "text.py", "try: ...\nexcept (KeyError, BaseException): ..."),
    (
        broad_excepts,
        "evaluate.py",
        "def f():\n    try: ...\n    except Exception as error: print(error)",
    ),
    (broad_excepts, "text.py", "with contextlib.suppress(OSError, Exception): ..."),
    (bad_manners, "text.py", "print(1)"),
    (bad_manners, "text.py", "def f(x):\n    assert x"),
    (bad_manners, "text.py", "def f():\n    global x"),
    (undocumented, "text.py", "x = 1"),
    (undocumented, "text.py", "'''.'''\nclass C:\n    '''.'''\n    def f(self): ..."),
]

GOOD: list[tuple[Rule, str, str]] = [
    (long_files, "store/x.py", "x = 1\n" * 500),
    (
        long_bodies,
        "store/x.py",
        f"def f():\n    '''{'line' + chr(10) * 50}'''\n" + "    x = 1\n" * 40,
    ),
    (
        many_parameters,
        "optimize/__init__.py",
        "def arun(a, b, c, d, e, f, g, h, i): ...",
    ),
    (
        many_parameters,
        "store/x.py",
        "class C:\n    def f(self, a, b, c, d, e, f, g, h): ...",
    ),
    (
        wrong_floors,
        "store/rows.py",
        "from .. import errors, records\nfrom . import _database",
    ),
    (wrong_floors, "stop.py", "from .text import clip"),
    (wrong_floors, "__init__.py", "if TYPE_CHECKING:\n    from . import errors"),
    (wrong_floors, "cli/run.py", "from .. import __version__, mcp, optimize"),
    (
        late_imports,
        "llm/chat.py",
        "from ..errors import E\ndef f():\n    import openai",
    ),
    (wrong_doors, "llm/chat.py", "def f():\n    import openai, tenacity, subprocess"),
    (
        borrowed_privates,
        "store/__init__.py",
        "from . import _rows\nfrom ._rows import Call\nfrom os import _exit",
    ),
    (
        borrowed_privates,
        "watch/x.py",
        "from .. import __version__\nfrom . import _lines",
    ),
    (
        broad_excepts,
        "text.py",
        "try: ...\nexcept OSError: ...\ntry: ...\nexcept Exception as e:\n    raise E from e",
    ),
    (bad_manners, "text.py", "log.info('print')"),
    (
        undocumented,
        "text.py",
        "'''.'''\nclass _C:\n    def f(self): ...\ndef _g(): ...",
    ),
]


@pytest.mark.parametrize(("rule", "path", "source"), BAD)
def test_a_rule_complains_of_a_bad_snippet(rule: Rule, path: str, source: str) -> None:
    (complaint,) = rule(path, ast.parse(source))
    assert complaint.startswith(path)


@pytest.mark.parametrize(("rule", "path", "source"), GOOD)
def test_a_rule_is_content_with_a_good_snippet(
    rule: Rule, path: str, source: str
) -> None:
    assert list(rule(path, ast.parse(source))) == []
