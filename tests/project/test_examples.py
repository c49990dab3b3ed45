"""The examples, run as a user would type them; a scripted server answers as the model."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAST = """\
def count_primes(n):
    sieve = bytearray([1]) * max(n, 2)
    sieve[:2] = b"\\0\\0"
    for k in range(2, int(n**0.5) + 1):
        if sieve[k]:
            sieve[k * k :: k] = bytes(len(range(k * k, len(sieve), k)))
    return sum(sieve[:n]) if n > 1 else 0
"""
WRONG = "def count_primes(n):\n    return n // 2\n"
FACTORY = """\
def call(path, **order):
    data = json.dumps(order).encode()
    question = urllib.request.Request(URL + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(question, timeout=5) as answer:
        return json.load(answer)

for day in range(30):
    call("/day", wire=12, service=day % 3 == 2)
"""


def block(x):
    return f"I think so.\n```\n{x}\n```"


@pytest.fixture
def example(server, tmp_path):
    """Return a function that runs an example and returns what it printed."""

    def run(name, *arguments, replies=(), key="sk-test", code=0):
        if callable(replies):
            server.answer = replies
        else:
            server.replies(*replies)
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        if key:
            env |= {"OPENAI_API_KEY": key, "OPENAI_BASE_URL": server.url}
        command = [sys.executable, str(ROOT / "examples" / name), *arguments]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    return run


def test_two_numbers(example):
    assert "best x: [0, 0] with f(x) = 0" in example(
        "two_numbers.py", replies=[block("[4, 1]"), block("[0, 0]")]
    )


def test_automl_without_a_model(example):
    out = example(
        "automl_digits.py",
        "--model",
        "mutation",
        "--steps",
        "8",
        "--seed",
        "4",
        key=None,
    )
    before, after = out.split("test accuracy ")[1].split(" on ")[0].split(" -> ")
    assert float(after) > float(before) > 0.9


def test_prime_speed_scores_speed_and_refuses_wrong_counts(example):
    out = example("prime_speed.py", "--steps", "2", replies=[block(WRONG), block(FAST)])
    assert "count_primes(0) is" in out or "it must be" in out
    assert "sieve" in out
    assert (
        float(out.splitlines()[-1].split()[0]) > 2
    )  # "N times as fast as the first version"


def test_the_first_version_is_about_as_fast_as_itself():
    source = runpy.run_path(
        str(ROOT / "examples" / "prime_speed.py"), run_name="example"
    )
    ratio, said = source["f"](source["X0"])
    assert 0.7 < ratio < 1.4
    assert said.startswith("correct, and ")


def test_prime_speed_says_when_nothing_is_faster(example):
    out = example("prime_speed.py", "--steps", "1", replies=[block(WRONG)])
    assert out.endswith("\nno script was faster than the first one\n")


@pytest.mark.parametrize(
    ("name", "missing"), [("automl_digits", "sklearn"), ("paperclips", "flask")]
)
def test_a_missing_package_is_one_sentence(name, missing, tmp_path):
    code = (
        f"import runpy, sys\nsys.modules[{missing!r}] = None\n"
        f"runpy.run_path({str(ROOT / 'examples' / name)!r} + '.py', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: this example needs [\w-]+: pip install \S+\n", done.stderr
    )


def test_a_rubric_judges_the_text_in_a_session_of_its_own(example, server):
    def reply(request):
        last = request["messages"][-1]["content"]
        if "final_score=7.5 {and nothing else}" in last:
            assert len(request["messages"]) == 1
            return (
                "Concrete.\nfinal_score=10"
                if "fibreglass" in last
                else "Vague.\nfinal_score=2"
            )
        return block("Eight fibreglass ribs hold in wind.")

    out = example("rubric_text.py", "--steps", "3", replies=reply)
    assert out.endswith("Eight fibreglass ribs hold in wind.\n\ngraded 10 of 10\n")


def test_the_factory_is_run_and_the_server_keeps_the_books(example):
    cheat = 'print({"clips": 10**9})'
    out = example(
        "paperclips.py", "--steps", "2", replies=[block(cheat), block(FACTORY)]
    )
    assert out.rstrip().endswith("330 clips")  # 11, 10 and 12 a day


@pytest.mark.parametrize(
    "name", ["two_numbers", "automl_digits", "prime_speed", "rubric_text", "paperclips"]
)
def test_without_a_key_one_sentence_says_how_to_give_one(example, name):
    said = example(f"{name}.py", key=None, code=2)
    assert said.startswith("error: no key for the model")
    assert "export OPENAI_API_KEY=" in said
    assert len(said.strip().splitlines()) == 1


def test_every_example_is_tested_here():
    names = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert all(name in Path(__file__).read_text() for name in names)
