"""The wheel is whole, needs little, and works with its core; `make` sets itself up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
MAX_PACKAGES = 25


def run(*command: str | Path, folder: Path) -> str:
    """Return what a command prints, without this environment's own way to the package."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON")
    }
    done = subprocess.run(
        command,
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel as a release does, by an sdist.

    From a copy, since an old build folder would hide missing files.
    """
    tree = tmp_path_factory.mktemp("tree")
    shutil.copytree(
        ROOT / "llm_optimize",
        tree / "llm_optimize",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for name in ("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    run(
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        "dist",
        ".",
        folder=tree,
    )
    (built,) = (tree / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def core(wheel: Path) -> dict[str, metadata.Distribution]:
    """Return all distributions that the wheel needs without any extra."""
    with zipfile.ZipFile(wheel) as archive:
        (info,) = (
            path
            for path in zipfile.Path(archive).iterdir()
            if path.name.endswith(".dist-info")
        )
        return needed_by(metadata.PathDistribution(info))


def needed_by(root: metadata.Distribution) -> dict[str, metadata.Distribution]:
    """Return by name what a distribution requires on this machine, directly or not."""
    found: dict[str, metadata.Distribution] = {}
    seen: set[tuple[str, str]] = set()
    todo = [(root, "")]
    while todo:
        distribution, extra = todo.pop()
        for requirement in map(Requirement, distribution.requires or ()):
            name = canonicalize_name(requirement.name)
            if requirement.marker is None or requirement.marker.evaluate(
                {"extra": extra}
            ):
                found[name] = metadata.distribution(name)
                new = {
                    (str(name), wanted) for wanted in {"", *requirement.extras}
                } - seen
                todo += [(found[name], wanted) for _, wanted in new]
                seen |= new
    return found


@pytest.fixture(scope="module")
def home(
    wheel: Path,
    core: dict[str, metadata.Distribution],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Return the folder of an environment with the wheel and links to its core dependencies."""
    folder = tmp_path_factory.mktemp("home")
    venv.create(folder / "venv", with_pip=False, symlinks=os.name != "nt")
    python = script(folder, "python")
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-deps",
        "--no-index",
        wheel,
        folder=folder,
    )
    site = Path(
        run(
            python,
            "-c",
            "import sysconfig; print(sysconfig.get_path('purelib'))",
            folder=folder,
        ).strip()
    )
    for distribution in core.values():
        for top in {file.parts[0] for file in distribution.files or ()} - {
            "..",
            "__pycache__",
        }:
            show(Path(str(distribution.locate_file(top))), site / top)
    return folder


def script(home: Path, name: str) -> Path:
    variables = {"base": str(home / "venv"), "platbase": str(home / "venv")}
    return Path(sysconfig.get_path("scripts", "venv", variables)) / (
        name + (".exe" if os.name == "nt" else "")
    )


def show(source: Path, target: Path) -> None:
    """Let `target` be `source`: a link, or a copy where links need special rights."""
    if target.exists():
        return
    if os.name != "nt":
        target.symlink_to(source, target_is_directory=source.is_dir())
    elif source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    inside = {
        name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name
    }
    files = (file for file in (ROOT / "llm_optimize").rglob("*") if file.is_file())
    assert inside == {
        file.relative_to(ROOT).as_posix()
        for file in files
        if "__pycache__" not in file.parts
    }
    assert {"llm_optimize/py.typed", "llm_optimize/__main__.py"} <= inside


def test_the_wheel_holds_the_licence(wheel: Path) -> None:
    assert any(name.endswith("/LICENSE") for name in zipfile.ZipFile(wheel).namelist())


def test_the_core_is_few_packages(core: dict[str, metadata.Distribution]) -> None:
    assert {"openai", "tenacity", "rich", "typer", "sqlalchemy", "cloudpickle"} <= set(
        core
    )
    assert "scikit-learn" not in core
    assert len(core) <= MAX_PACKAGES, sorted(core)


def test_the_installed_package_is_the_one_of_the_wheel(home: Path) -> None:
    where = run(
        script(home, "python"),
        "-c",
        "import llm_optimize; print(llm_optimize.__file__)",
        folder=home,
    )
    assert Path(where.strip()).is_relative_to(home / "venv")


def test_the_installed_environment_shows_the_core_only(home: Path) -> None:
    names = ("openai", "numpy", "pytest", "pip")
    code = (
        f"from importlib.util import find_spec; print(list(filter(find_spec, {names})))"
    )
    assert run(script(home, "python"), "-c", code, folder=home) == "['openai']\n"


def test_the_installed_command_and_the_module_are_one(home: Path) -> None:
    command = run(script(home, "llm-optimize"), "--help", folder=home)
    module = run(script(home, "python"), "-m", "llm_optimize", "--help", folder=home)
    assert all(
        word in command for word in ("run", "resume", "list", "show", "best", "demo")
    )
    assert command.splitlines()[1:] == module.splitlines()[1:]


RUN = """
from llm_optimize import optimize

def f(x):
    return -abs(float(x) - 3), "how far from 3"

if __name__ == "__main__":
    def model(messages):
        return "```\\n3.5\\n```"

    print(optimize.run("Come near.", "Nearer?", f, "5", 4, model, verbose={verbose}))
"""


@pytest.mark.parametrize("verbose", [False, True])
def test_the_core_is_enough_for_a_run(
    home: Path, tmp_path: Path, verbose: bool
) -> None:
    (tmp_path / "task.py").write_text(RUN.format(verbose=verbose))
    assert "best_score=-0.5" in run(script(home, "python"), "task.py", folder=tmp_path)
    assert (tmp_path / "runs.db").exists()


def test_the_core_is_enough_for_both_commands_of_the_advisor(
    home: Path, tmp_path: Path
) -> None:
    command = script(home, "llm-optimize")
    words = ["--task", "churn", "--llm-model", "portfolio"]
    assert "10 support" in run(command, "generate-models", *words, folder=tmp_path)
    assert (tmp_path / "models.json").exists()
    words = ["--model", "mean", "-N", "2", "--k-grid", "1"]
    table = run(command, "ridge-exp", *words, folder=tmp_path)
    assert "oracle" in table
    module = ["-m", "llm_optimize.automl.ridge", *words]
    assert run(script(home, "python"), *module, folder=tmp_path) == table


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    if shutil.which("make") is None:
        pytest.skip("there is no make on this machine")
    for name in ("Makefile", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_make_says_what_to_do_where_every_python_is_too_old(clone: Path) -> None:
    done = subprocess.run(
        ["make", "test", "PYTHON=false missing"],
        cwd=clone,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "No Python 3.11 or newer" in done.stderr
    assert "make test PYTHON=" in done.stderr
    assert not (clone / ".venv").exists()


@pytest.mark.skipif(
    os.name == "nt",
    reason="the programs of a virtual environment are elsewhere on Windows",
)
def test_make_passes_over_a_python_that_is_too_old(clone: Path) -> None:
    python = ".venv/bin/python"
    assert "Making .venv" in run(
        "make", python, f"PYTHON=false {sys.executable}", folder=clone
    )
    assert run(
        clone / python, "-c", "import pip, sys; print(sys.prefix)", folder=clone
    ).strip() == str(clone / ".venv")
    assert "up to date" in run("make", python, folder=clone)
