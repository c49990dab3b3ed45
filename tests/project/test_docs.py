"""Every block of README and docs is run as it stands, and what the pages point to exists.

A Python block is a program of its own: it can be pasted. The commands of a page run one after the
other in one folder, with the files that the page shows; a scripted server answers as the model.
What a page shows as output is compared with what was printed.
"""

import configparser
import dataclasses
import doctest
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import typing
from pathlib import Path

import pytest
import typer

from blocks import PAGES, ROOT, Block, blocks_of, commands_of
from llm_optimize import optimize, records, task_file
from llm_optimize.cli import app
from server import Server

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
RUN = "amber-birch"  # the run that pages speak of; it is there where they do not make it themselves
FIRST_RUN = (
    "run -q --task t --func task.py:f --x0 '[5, 3]' --model mutation --steps 5 --seed 1"
)
DEFAULT_FILES = {
    "task.py": """\
def f(x):
    a, b = map(float, x.strip("[] \\n").split(","))
    return -(a**2 + b**2), f"f(x) = {a**2 + b**2}"
"""
}
SERVING = {
    "view",
    "mcp",
}  # commands that go on until they are stopped: only parsed here
OTHER_PROGRAMS = {"cd", "export", "git", "make", "optuna-dashboard", "pip", "python"}
OTHER_FLAGS = ("--help", "--api-key")  # Typer's own, and of vLLM
# Why a block is not run, and how many blocks there may be at the most for each reason.
NOT_RUN = {
    "a program of another library": 5,
    "needs MLflow": 2,
    "needs a cluster": 1,
    "needs a notebook": 1,
    "needs an account": 4,
    "changes this machine": 4,
    "tests/llm/test_providers.py runs it": 24,
}
# All blocks run while the first test waits: on a busy machine that takes its time.
pytestmark = pytest.mark.timeout(600)
LANGUAGES = {"console", "json", "python", "text", "toml"}


def name_of(block: Block) -> str:
    return re.sub(r"\W+", "_", block.id)


def reply_of(request):
    """Answer as a model that halves numbers, and knows one fast way to count primes."""
    prompt = request["messages"][-1]["content"]
    if "count_primes" in prompt:
        return f"A sieve.\n```python\n{SIEVE}```"
    pairs = re.findall(r"\[(-?\d+(?:\.\d+)?), (-?\d+(?:\.\d+)?)\]", prompt)
    if pairs:
        a, b = (int(float(number) / 2) for number in pairs[-1])
        return f"Nearer to zero.\n```\n[{a}, {b}]\n```"
    if found := re.findall(r'^\{.*"\w+": .*\}$', prompt, re.M):
        return f"```json\n{found[-1]}\n```"
    fenced = re.findall(r"^```\w*\n(.*?)^```", prompt, re.S | re.M)
    return f"```\n{fenced[-1] if fenced else '1'}```"


SIEVE = """\
def count_primes(n):
    sieve = bytearray([1]) * max(n, 2)
    sieve[:2] = b"\\0\\0"
    for k in range(2, int(n**0.5) + 1):
        if sieve[k]:
            sieve[k * k :: k] = bytes(len(range(k * k, len(sieve), k)))
    return sum(sieve[:n]) if n > 1 else 0
"""


def files_of(page):
    """Return the files that a page shows."""
    files = {b.file: b.text for b in BLOCKS if b.page == page and b.file}
    if any(b.page == page and b.language == "console" for b in BLOCKS):
        files = DEFAULT_FILES | files
    return files


def folder_with(files, folder):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def words_of(command):
    return shlex.split(command, comments=True)


def jobs_of(page, folder):
    """Return the chains of jobs of a page: its Python blocks, and all its commands."""
    files = files_of(page)
    commands = []
    for block in (b for b in BLOCKS if b.page == page and not b.not_run):
        if block.language == "python":
            inside = folder if RUN in block.text else folder / name_of(block)
            folder_with({**files, f"{name_of(block)}.py": block.text}, inside)
            job = {"id": name_of(block), "folder": str(inside)}
            job["script"] = str(inside / f"{name_of(block)}.py")
            if inside is folder:
                commands.append(job)
            else:
                yield [job]
        if block.language == "console":
            for place, (command, _) in enumerate(commands_of(block)):
                program, *arguments = words_of(command)
                if program == "llm-optimize" and arguments[0] not in SERVING:
                    job = {"id": f"{name_of(block)}-{place}", "arguments": arguments}
                    commands.append({**job, "folder": str(folder)})
    if commands:
        folder_with(files, folder)
        first = words_of(f"{FIRST_RUN} --name {RUN}")
        begun = {"id": "first", "folder": str(folder), "arguments": first}
        named = any(
            f"--name {RUN}" in " ".join(job.get("arguments", ())) for job in commands
        )
        yield commands if named else [begun, *commands]


@pytest.fixture(scope="module")
def outcomes(request, tmp_path_factory):
    """Run the pages of the tests that were chosen; return the outcomes by the ids of jobs."""
    server = Server()
    server.answer = reply_of
    server.start()
    chains = []
    asked = [getattr(item, "callspec", None) for item in request.session.items]
    blocks = [call.params.get("block") for call in asked if call]
    for page in dict.fromkeys(
        block.page for block in blocks if isinstance(block, Block)
    ):
        folder = tmp_path_factory.mktemp(re.sub(r"\W+", "_", page))
        chains += jobs_of(page, folder)
    # Long chains first: the last ones to end are then short.
    chains.sort(key=len, reverse=True)
    home = tmp_path_factory.mktemp("home")
    env = {
        **os.environ,
        "COLUMNS": "100",
        "HOME": str(home),
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_BASE_URL": server.url,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "tests" / "blocks.py")],
        input=json.dumps(chains),
        env=env,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    server.stop()
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def runs(language):
    chosen = [b for b in BLOCKS if b.language == language and not b.not_run]
    return [pytest.param(block, id=block.id) for block in chosen]


def same(shown, printed):
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    checker = doctest.OutputChecker()
    if checker.check_output(shown, printed, flags):
        return ""
    return f"shown:\n{shown}\nprinted:\n{printed}"


def output_after(block):
    """Return the output that the page shows for a block."""
    place = BLOCKS.index(block) + 1
    following = BLOCKS[place] if place < len(BLOCKS) else None
    if following and following.is_output and following.page == block.page:
        return following.text
    return None


@pytest.mark.parametrize("block", runs("python"))
def test_a_python_block_can_be_pasted(block, outcomes):
    outcome = outcomes[name_of(block)]
    assert outcome["code"] == 0, outcome["err"] + outcome["out"]
    if (shown := output_after(block)) is not None:
        assert not same(shown, outcome["out"]), same(shown, outcome["out"])


@pytest.mark.parametrize("block", runs("console"))
def test_the_commands_of_a_block_run(block, outcomes):
    for place, (command, shown) in enumerate(commands_of(block)):
        program, *arguments = words_of(command)
        if program != "llm-optimize":
            assert program in OTHER_PROGRAMS, command
            continue
        if arguments[0] in SERVING:
            parse(arguments)
            continue
        outcome = outcomes[f"{name_of(block)}-{place}"]
        assert outcome["code"] == 0, f"{command}\n{outcome['err']}{outcome['out']}"
        if shown.strip():
            assert not same(shown, outcome["out"]), same(shown, outcome["out"])


def parse(arguments):
    """Raise what is wrong with the arguments of a command."""
    group = typer.main.get_command(app)
    front = group.make_context("llm-optimize", [], resilient_parsing=True)
    name, *rest = arguments
    group.get_command(front, name).make_context(name, rest, parent=front)


@pytest.mark.parametrize("block", runs("toml"))
def test_a_toml_block_is_read(block, tmp_path):
    if "func" not in tomllib.loads(block.text):
        return
    folder_with(files_of(block.page), tmp_path)
    path = tmp_path / (block.file or "TASK.toml")
    path.parent.mkdir(exist_ok=True)
    path.write_text(block.text, encoding="utf-8")
    assert task_file.read(path)


@pytest.mark.parametrize("block", runs("json"))
def test_a_json_block_is_read(block, tmp_path, monkeypatch):
    folder_with(files_of(block.page), tmp_path)
    monkeypatch.chdir(tmp_path)
    found = json.loads(block.text)
    for server in found.get("mcpServers", {}).values():
        assert server["command"] == "llm-optimize"
        parse(server["args"])


def test_every_block_is_one_that_is_run_here():
    assert {block.language for block in BLOCKS} <= LANGUAGES
    for block in BLOCKS:
        assert block.language != "text" or not block.not_run, block.id
        assert re.fullmatch(r"|output|file: .+|not run: .+", block.marker), block.id


def test_few_blocks_are_not_run_and_each_says_why():
    reasons = [block.not_run for block in BLOCKS if block.not_run]
    for reason in reasons:
        assert reasons.count(reason) <= NOT_RUN[reason], reason


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_block_is_hidden_from_these_tests(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"^[ \t]+```|^~~~", text, re.M)
    assert len(re.findall(r"^```", text, re.M)) == 2 * len(blocks_of(page))


def extras():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return set(config["options.extras_require"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_extras_and_make_targets_that_are_named_exist(page):
    text = page.read_text(encoding="utf-8")
    for names in re.findall(r"(?:llm_optimize|\"\.)\[([\w, ]+)\]\"", text):
        assert set(re.split(r",\s*", names)) <= extras()
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    for target in re.findall(r"(?:`|^\$ )make ([\w-]+)", text, re.M):
        assert target in targets


def test_extras_that_the_program_names_exist():
    for path in (ROOT / "llm_optimize").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        named = re.findall(r"llm_optimize\[([a-z, ]+)\]", text)
        named += re.findall(r"extra=\"(\w+)\"", text)
        for names in named:
            assert set(re.split(r",\s*", names)) <= extras(), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_points_to_exists(page):
    text = re.sub(
        r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M
    )
    for target in re.findall(r"\]\(([^):]+)\)", text):
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), target
        if anchor and there.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), re.M)
            slugs = {
                re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-")
                for h in headings
            }
            assert anchor in slugs, target


def test_every_page_is_in_the_navigation():
    listed = re.findall(
        r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    )
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:]]
    assert sorted(listed) == sorted(pages)


def test_flags_that_are_named_exist():
    group = typer.main.get_command(app)
    known = set(OTHER_FLAGS)
    for command in [group, *group.commands.values()]:
        for option in command.params:
            known |= {*option.opts, *option.secondary_opts}
    for page in PAGES:
        text = re.sub(
            r"^<!-- not run.*?^```$",
            "",
            page.read_text(encoding="utf-8"),
            flags=re.S | re.M,
        )
        if page.parent.name == "coming_from":  # what the other library says
            text = re.sub(r"^\|[^|]*\|", "", text, flags=re.M)
        for code in re.findall(r"`((?:llm-optimize |--)[^`\n]+)`", text):
            for flag in re.findall(r"(?:^| )(--[a-z][a-z-]+)", code):
                assert flag in known, f"{page.name}: {flag}"


def test_examples_that_are_named_exist():
    for page in PAGES:
        for name in re.findall(r"examples/(\w+\.py)", page.read_text(encoding="utf-8")):
            assert Path(ROOT / "examples" / name).exists(), f"{page.name}: {name}"


def test_the_page_on_the_sandbox_has_every_limit_with_its_default():
    page = (ROOT / "docs" / "sandbox.md").read_text(encoding="utf-8")
    for limit in dataclasses.fields(records.Limits):
        (row,) = re.findall(rf"^\|[^|\n]*`{limit.name}`[^|\n]*\|[^\n]*", page, re.M)
        if isinstance(limit.default, int):
            assert re.search(rf"\b{limit.default}\b", row.split("|")[2]), row


def table_of(page):
    """Return the rows of the measured table of a page, as cells."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    _, _, rest = text.partition("<!-- table -->")
    table, _, _ = rest.partition("<!-- end of table -->")
    rows = [line.strip("|").split("|") for line in table.splitlines() if "|" in line]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_what_the_readme_says_of_hostile_programs_is_in_the_table():
    hostile = [row for row in table_of("sandbox.md") if row[1] != "works"]
    held = [row for row in hostile if "not promised" not in " ".join(row)]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"of {len(hostile)} programs that" in readme
    assert f"{len(held)} were stopped or contained" in readme
    assert f"what the other {len(hostile) - len(held)} can do" in readme


def test_what_the_readme_says_of_searches_is_in_the_table():
    rows = table_of("search.md")
    for name, best, chat, *_ in rows:
        after_100_calls = float(best.split(",")[2])
        after_200_calls = float(chat.split(",")[3])
        assert after_100_calls > after_200_calls, name
    assert f"on {len(rows)} of {len(rows)} problems" in (ROOT / "README.md").read_text()


def test_the_reference_has_every_event():
    page = (ROOT / "docs" / "reference" / "events.md").read_text(encoding="utf-8")
    for event in typing.get_args(records.Event):
        assert f"::: llm_optimize.records.{event.__name__}\n" in page


def test_the_reference_has_every_public_name_of_optimize():
    page = (ROOT / "docs" / "reference" / "optimize.md").read_text(encoding="utf-8")
    elsewhere = {"Changes", "Examples", "Repeats", "Stage"}
    for name in set(optimize.__all__) - elsewhere:
        twins = (name, f"a{name}", name.removeprefix("a"))
        shown = [f"::: llm_optimize.optimize.{twin}\n" for twin in twins]
        shown.append(f"## `{name}`")
        assert any(one in page for one in shown), name
