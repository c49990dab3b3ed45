"""Credentials in addresses, and keys that an endpoint repeats: a run leaves them nowhere."""

import asyncio
import base64
import json
import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_optimize import optimize
from llm_optimize.errors import MissingKey, ModelRefused, UsageError
from llm_optimize.llm import Chat, Ensemble
from llm_optimize.redaction import Secrets, without_credentials
from llm_optimize.store import Store
from server import Raw, completion, error

ROOT = Path(__file__).parents[2]
KEY = "sk-proj-CANARY1key/With+Odd=chars-0123456789"
USER, PASSWORD, TOKEN = "CANARY2user", "CANARY3pass:w0rd+/", "CANARY4token%/+="

# One process: a run, and everything that shows or writes it, with all loggers at DEBUG.
PROGRAM = """
import asyncio, json, logging, sys, threading, traceback, urllib.request
logging.basicConfig(level=logging.DEBUG, filename="all.log")
for name in ("httpcore", "httpcore2"):  # it traces every byte, at DEBUG
    logging.getLogger(name).setLevel(logging.INFO)
import httpx
from llm_optimize import llm, optimize
from llm_optimize.llm import Ensemble
from llm_optimize.store import Store
from llm_optimize.watch.page import Page

NAMES = "runs facts trial story curves search"

def f(x):
    return float(len(x)), "longer"

chat = llm.Chat("m", base_url=sys.argv[1], max_wait_secs=0.01, deadline_secs=20)
print(chat, repr(chat), str(vars(chat)), Ensemble([chat]), chat.base_url)
result = optimize.run(
    "Say more.", "What is longer?", f, "a", 8, chat, sandbox="inline", name="amber", seed=1
)
print(repr(result), result.stop_reason, result.trials)
try:
    asyncio.run(chat.reply([{"role": "user", "content": "hello"}]))
except Exception as error:
    traceback.print_exception(error)
    while error is not None:  # what is hidden from a traceback, too
        print(type(error), error, repr(error))
        print(getattr(error, "doc", ""), getattr(error, "body", ""))
        error = error.__cause__ or error.__context__
store = Store("runs.db")
page = Page(store, port=0)
thread = threading.Thread(target=page.run)
thread.start()
client = httpx.Client(base_url=page.address.partition("?")[0].rstrip("/"), timeout=30)
one = "run=amber&number="
paths = [f"/api/{name}?{one}{number}" for name in NAMES.split() for number in (1, 2)]
for path in ("/", "/run/amber", *paths):
    answer = client.get(path)
    print(path, answer.status_code, answer.text)
page.stop()
thread.join()
store.close()
"""


class Echo:
    """Answers like an endpoint that repeats what it was sent, in all the ways it can."""

    def __init__(self, server):
        self.server = server
        self.count = 0
        server.answer = self

    def __call__(self, request):
        sent = self.server.requests[-1]
        authorization = sent["headers"]["authorization"]
        self.said = " ".join(
            map(repetitions, [authorization, authorization.split()[1], sent["path"]])
        )
        try:
            decoded = base64.b64decode(authorization.split()[1]).decode()
        except ValueError:
            decoded = authorization.split()[1]
        user, _, password = decoded.partition(":")
        self.said += " ".join(map(repetitions, filter(None, [decoded, user, password])))
        address = f"http://{decoded}@{sent['headers']['host']}/v1?token={TOKEN}"
        self.said += f" you called {sent['path']} of {address}"
        self.count += 1
        replies = [
            error(500, f"boom {self.said}"),
            error(400, f"withheld {self.said}", "content_policy_violation"),
            Raw(body=f"<html>{self.said}</html>"),
            Raw(body={"choices": [], "error": {"message": self.said, "code": 500}}),
            Raw(body=f"not JSON {self.said}"),
            Raw(
                status=307,
                headers={"Location": f"/v1/chat/completions?{quote(decoded)}"},
            ),
            completion(
                f"I was sent {self.said}\n```\n{'a' * self.count}\n```",
                reasoning=self.said,
            ),
            completion(f"```\n{self.said}\n{'a' * self.count}\n```"),
            completion("", finish_reason=self.said),
            completion(None, refusal=self.said),
        ]
        return (
            replies[self.count - 1]
            if self.count <= len(replies)
            else error(401, f"wrong key: {self.said}")
        )


def repetitions(secret):
    """Return a secret in the spellings in which endpoints repeat it."""
    encoded = secret.encode()
    return " ".join(
        [
            secret,
            f"({secret[:3]}***{secret[-2:]} is {secret})",
            f"{secret[:30]}************",
            quote(secret, safe=""),
            json.dumps(secret),
            base64.b64encode(encoded).decode(),
            base64.b64encode(b"Bearer " + encoded).decode(),
            base64.urlsafe_b64encode(b"-" + encoded).decode(),
            encoded.hex(),
            "." * 230 + secret,  # what is cut at 300 characters
        ]
    )


def canaries(*secrets):
    """Return what must be nowhere: the telling part of each secret, in several spellings."""
    for secret in secrets:
        yield from (secret, quote(secret, safe=""), secret.encode().hex())
        for before in (b"", b"-", b"--"):
            yield base64.b64encode(before + secret.encode()).decode()[4:-4]
    yield from re.findall(r"CANARY\d\w+", " ".join(secrets))


class Scene:
    """A folder in which programs run, and all that they say is kept."""

    def __init__(self, folder):
        self.folder = folder
        self.env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "OPENAI_API_KEY": KEY,
            "COLUMNS": "400",
        }
        (folder / "task.py").write_text("def f(x):\n    return float(len(x))\n")

    def program(self, *arguments, code=0, **env):
        """Run one; return what it said."""
        command, env = [sys.executable, *arguments], {**self.env, **env}
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=env,
            capture_output=True,
            timeout=100,
            check=False,
        )
        (self.folder / f"said-{len(list(self.folder.glob('said-*')))}").write_bytes(
            done.stdout + done.stderr
        )
        assert done.returncode == code, done.stderr.decode()[-3000:]
        return (done.stdout + done.stderr).decode()

    def command(self, *arguments, code=0, **env):
        """Run llm-optimize; return what it said."""
        return self.program("-m", "llm_optimize", *arguments, code=code, **env)

    def contents(self):
        """Return all bytes of all files by name, and what the store holds compressed."""
        files = [
            path
            for path in self.folder.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        ]
        with closing(Store(str(self.folder / "runs.db"), create=False)) as store:
            runs = [store.run(name) for name in store.names()]
            held = "".join(repr((run.calls(), run.settings)) for run in runs)
        return {
            **{path.name: path.read_bytes() for path in files},
            "calls": held.encode(),
        }


@pytest.mark.parametrize("way", ["key", "address"])
def test_no_credential_is_in_any_byte_that_a_run_leaves(way, server, tmp_path):
    pytest.importorskip(
        "starlette", reason='needs the page: pip install "llm_optimize[view]"'
    )
    user = f"{quote(USER)}:{quote(PASSWORD, safe='')}@" if way == "address" else ""
    address = (
        server.url.replace("//", f"//{user}")
        + f"?api-version=2&token={quote(TOKEN, safe='')}"
    )
    echo, scene = Echo(server), Scene(tmp_path)

    said = scene.program("-c", PROGRAM, address)
    assert "answered 401" in said
    assert "the key is wrong" in said
    sent = server.requests[0]
    assert sent["path"].endswith(
        f"/chat/completions?api-version=2&token={quote(TOKEN, safe='')}"
    )
    basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert sent["headers"]["authorization"] == (
        f"Basic {basic}" if user else f"Bearer {KEY}"
    )

    options = [
        "--task",
        "t",
        "--question",
        "q",
        "--x0",
        "a",
        "--func",
        "task.py:f",
        "--name",
        "birch",
    ]
    scene.command("run", *options, "--base-url", address, "--model", "m", code=1)
    for words in (
        ["list"],
        ["show", "amber"],
        ["show", "amber", "1"],
        ["show", "amber", "2"],
        ["report", "amber"],
    ):
        scene.command(*words)
    assert "stored without its credentials" in scene.command(
        "resume", "birch", "--steps", "20", code=2
    )
    scene.command("run", *options, "--base-url", address.replace("http", "htp"), code=2)
    server.replies("```\naaaaaaaaaa\n```", for_ever=True)
    assert "10" in scene.command(
        "resume", "birch", "--steps", "3", OPENAI_BASE_URL=address
    )
    assert echo.count > 12

    contents = scene.contents()
    assert {"runs.db", "all.log", "report.html"} <= set(contents)
    found = [TOKEN, USER, PASSWORD] if user else [KEY, TOKEN]
    assert places_of(found, contents) == []


def places_of(secrets, contents):
    """Return where spellings of the secrets stand in some contents, by name."""
    found = []
    for canary in canaries(*secrets):
        for name, content in contents.items():
            place = content.find(canary.encode())
            if place >= 0:
                around = content[max(0, place - 60) : place + 60]
                found.append(f"{canary} in {name}: {around!r}")
    return found


# The address.


def test_the_address_without_credentials_is_what_is_shown_and_the_whole_one_what_is_used():
    password = PASSWORD.replace("/", "%2F")
    query = "key=secret&api-version=2#x"
    chat = Chat("m", base_url=f"https://ada:{password}@host:81/v1?{query}")
    assert chat.base_url == "https://***@host:81/v1?key=***&api-version=2"
    chat.check()  # what stands in the address is enough
    assert "w0rd" not in repr(Ensemble([chat, chat])) + repr(chat)


@pytest.mark.parametrize(
    "url",
    [
        "https://host/v1",
        "http://127.0.0.1:8000/v1/",
        "https://host/v1?api-version=2024-10",
    ],
)
def test_an_address_without_credentials_stays_as_it_is(url):
    assert Chat("m", base_url=url).base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "htp://ada:secret@host",
        "http://ada:se/cret@host/v1",
        "ada:secret@host",
        "http://a:secret@",
    ],
)
def test_an_address_that_is_none_is_refused_without_its_password(url):
    with pytest.raises(UsageError, match="give the full URL") as refused:
        Chat("m", base_url=url)
    assert "cret" not in str(refused.value)


def test_an_address_that_was_stored_finds_its_credentials_in_the_environment(
    server, monkeypatch, tmp_path
):
    options = {
        "sandbox": "inline",
        "verbose": False,
        "store": f"{tmp_path}/runs.db",
        "name": "amber",
    }
    whole = server.url.replace("//", "//ada:secret-word@")
    server.replies("```\naaa\n```", "```\naaaa\n```")
    monkeypatch.setenv("OPENAI_BASE_URL", whole)
    optimize.run("Longer.", "Longer?", len, "a", 1, "m", **options)
    resumed = {"store": options["store"], "verbose": False, "max_steps": 2}
    monkeypatch.delenv("OPENAI_BASE_URL")
    with pytest.raises(
        MissingKey,
        match=r"http://\*\*\*@127.* stored without its credentials.*OPENAI_BASE_URL",
    ):
        optimize.resume("amber", len, **resumed)
    monkeypatch.setenv("OPENAI_BASE_URL", whole.replace("/v1", "/v2"))
    with pytest.raises(
        MissingKey, match="stored without its credentials"
    ):  # another place gets neither prompt nor key
        optimize.resume("amber", len, **resumed)
    monkeypatch.setenv("OPENAI_BASE_URL", whole)
    assert optimize.resume("amber", len, **resumed).best_score == 4
    assert len(server.requests) == 2


def test_a_short_key_does_not_blot_out_words_of_replies(server):
    server.replies("ollama is fine", error(401, "ollama? no"))
    chat = Chat("m", base_url=server.url, api_key="ollama")

    async def both():
        reply = await chat.reply([{"role": "user", "content": "hello"}])
        with pytest.raises(ModelRefused, match=r"\*\*\*\? no"):
            await chat.reply([{"role": "user", "content": "hello"}])
        await chat.aclose()
        return reply

    assert asyncio.run(both()).text == "ollama is fine"


# The helper.


@given(
    st.text(
        st.characters(min_codepoint=33, max_codepoint=126), min_size=16, max_size=80
    ),
    st.binary(max_size=4),
)
def test_no_spelling_of_a_secret_stays(secret, before):
    hide = Secrets([secret]).hide
    encoded = base64.b64encode(before + secret.encode() + b"tail").decode()
    start = -(-len(before) * 4 // 3) + 1
    for spelling in (
        secret,
        quote(secret, safe=""),
        json.dumps(secret)[1:-1],
        secret.encode().hex(),
        encoded,
    ):
        hidden = hide(f"<{spelling}>")
        assert secret not in hidden
        assert spelling[start + 2 : start + 14] not in hidden


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("postgresql://ada:p/w?d@host/db", "postgresql://***@host/db"),
        (
            "postgresql://host/db?password=secret&user=ada",
            "postgresql://host/db?password=***&user=***",
        ),
        (
            "see https://KEY@host/v1, or http://b:c@d",
            "see https://***@host/v1, or http://***@d",
        ),
        ("sqlite:////data/ada@work/runs.db", "sqlite:////data/ada@work/runs.db"),
        ("mail ada@host: why? a=b", "mail ada@host: why? a=b"),
        ("sqlite:////x/q?mark/runs.db", "sqlite:////x/q?mark/runs.db"),
    ],
)
def test_addresses_in_a_text_are_shown_without_credentials(told, shown):
    assert without_credentials(told) == shown
    assert without_credentials(shown) == shown
