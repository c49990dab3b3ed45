"""Public names: those of today, those of 2023 with their parameters, and what importing costs."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import llm_optimize
from llm_optimize import eval_utils, llm, optimize, records

ROOT = Path(__file__).parents[2]
MODULES = [
    module.name
    for module in pkgutil.walk_packages(llm_optimize.__path__, "llm_optimize.")
]
PUBLIC = ["llm_optimize", *(name for name in MODULES if "._" not in name)]
HEAVY = ["cloudpickle", "libcst", "numpy", "openai", "pandas", "sklearn", "sqlalchemy"]
NAMES_OF_2023: list[tuple[Callable[..., Any], str]] = [
    (eval_utils.exec_unsafe, "script globals_dict locals_dict"),
    (
        eval_utils.exec_with_timeout_unsafe,
        "script local_vars return_local_vars timeout_secs",
    ),
    (eval_utils.exec_temp_script_unsafe, "script timeout"),
    (eval_utils.get_llm_scorer, "prompt parse_score model error_score"),
    (llm.get_default_llm, ""),
]


def python(code: str, *arguments: str) -> str:
    """Return what a fresh interpreter prints that finds the package in this tree."""
    begin = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); before = set(sys.modules)\n"
    )
    command = [sys.executable, "-I", "-c", begin + code, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def roots_loaded_by(code: str) -> set[str]:
    """Return the top-level names of the modules that some code loads in a fresh interpreter."""
    return set(
        python(
            f"{code}\nprint(*sorted({{m.split('.')[0] for m in set(sys.modules) - before}}))"
        ).split()
    )


def fastest_secs(code: str) -> float:
    """Return the wall clock of a fresh interpreter that runs some code, the shortest of seven."""
    taken = []
    for _ in range(7):
        begun = time.perf_counter()
        python(code)
        taken.append(time.perf_counter() - begun)
    return min(taken)


@pytest.mark.parametrize("name", PUBLIC)
def test_the_public_list_of_each_module_resolves_and_names_nothing_private(
    name: str,
) -> None:
    module = importlib.import_module(name)
    public = getattr(module, "__all__", [])
    assert len(set(public)) == len(public)
    assert [
        word for word in public if word.startswith("_") or not hasattr(module, word)
    ] == []


def test_the_first_list_is_sorted_and_holds_the_modules_of_2023() -> None:
    assert llm_optimize.__all__ == sorted(llm_optimize.__all__)
    assert (
        {"eval_utils", "llm", "optimize"}
        <= set(llm_optimize.__all__)
        <= set(dir(llm_optimize))
    )


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="optimise"):
        llm_optimize.optimise  # noqa: B018


@pytest.mark.parametrize("function", [optimize.run, optimize.arun])
def test_run_begins_with_the_ten_parameters_of_2023(
    function: Callable[..., Any],
) -> None:
    parameters = list(inspect.signature(function).parameters.values())
    first = "task_description task_question func x0 max_steps model verbose"
    further = "system_prompt human_prompt stop_score"
    assert [p.name for p in parameters[:10]] == [*first.split(), *further.split()]
    assert {p.kind for p in parameters[:10]} == {
        inspect.Parameter.POSITIONAL_OR_KEYWORD
    }
    assert {p.kind for p in parameters[10:]} == {inspect.Parameter.KEYWORD_ONLY}
    assert [p.default for p in parameters[4:7]] == [10, None, True]
    assert parameters[9].default is None
    for prompt in parameters[7:9]:
        assert any(
            place in prompt.default
            for place in ("{task_description}", "{task_question}", "{x}", "{fx}")
        )


@pytest.mark.parametrize(("function", "names"), NAMES_OF_2023)
def test_the_other_functions_of_2023_keep_their_parameters(
    function: Callable[..., Any], names: str
) -> None:
    assert list(inspect.signature(function).parameters) == names.split()


def test_the_defaults_of_2023_stand() -> None:
    scorer = inspect.signature(eval_utils.get_llm_scorer).parameters
    assert (scorer["model"].default, scorer["error_score"].default) == (None, 0.0)
    assert isinstance(llm.default_llm_options, dict)
    assert isinstance(llm.default_llm_options["model_name"], str)
    assert inspect.isclass(llm.LLMModel)


def dataclasses_of_records() -> list[type]:
    return [
        cls
        for cls in vars(records).values()
        if inspect.isclass(cls) and dataclasses.is_dataclass(cls)
    ]


def test_records_are_frozen() -> None:
    found = dataclasses_of_records()
    assert {records.Trial, records.Score, records.Plan, records.Usage} <= set(found)
    for cls in found:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(object.__new__(cls), dataclasses.fields(cls)[0].name, None)


def test_importing_the_package_loads_the_standard_library_only() -> None:
    loaded = roots_loaded_by("import llm_optimize")
    assert "llm_optimize" in loaded
    assert loaded - set(sys.stdlib_module_names) == {"llm_optimize"}


@pytest.mark.parametrize("name", llm_optimize.__all__)
def test_importing_a_public_module_loads_nothing_heavy(name: str) -> None:
    loaded = roots_loaded_by(f"from llm_optimize import {name}")
    assert "llm_optimize" in loaded
    assert loaded & set(HEAVY) == set()


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    loaded = roots_loaded_by("import llm_optimize.cli")
    assert "typer" in loaded
    assert loaded & set(HEAVY) == set()


def test_what_is_heavy_is_seen_where_it_is_loaded() -> None:
    assert roots_loaded_by("import llm_optimize, sqlalchemy") & set(HEAVY) == {
        "sqlalchemy"
    }


def test_importing_the_package_is_quick_beside_the_start_of_python() -> None:
    assert fastest_secs("import llm_optimize") < 3 * fastest_secs(
        ""
    )  # 1.2 on a quiet machine
