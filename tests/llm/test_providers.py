"""Each line of docs/providers.md, and each provider at its strictest, against a simulated one."""

import asyncio
import re
import shlex
import sys

import pytest

from blocks import ROOT, blocks_of, commands_of
from llm_optimize.__main__ import main
from llm_optimize.errors import ContextTooLong, ModelRefused
from llm_optimize.llm import Chat
from providers import PROVIDERS, TEXT
from server import KEY, Raw

HELLO = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "hello"},
]
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "number"}},
    "required": ["a"],
    "additionalProperties": False,
}
PAGE = ROOT / "docs" / "providers.md"
SECTIONS = re.findall(r"^## (.*)$", PAGE.read_text(), re.M)
BLOCKS = blocks_of(PAGE)
each_provider = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda one: one.name)


@pytest.fixture
def outcomes(server):
    """Return the status of each answer that the server has sent so far."""
    statuses = []

    def serve(provider):
        provider.serve(server)
        answer = server.answer

        def noted(request):
            reply = answer(request)
            statuses.append(reply.status if isinstance(reply, Raw) else 200)
            return reply

        server.answer = noted
        return statuses

    return serve


def root_of(server):
    return server.url.removesuffix("/v1")


def make(server, provider, **options):
    options = {"api_key": KEY, "max_wait_secs": 0.02, **options}
    return Chat(
        options.pop("name", "m"), base_url=root_of(server) + provider.base, **options
    )


def answers(model, *asked):
    """Return the replies to several pairs of messages and schema, one after the other."""

    async def main():
        try:
            return [await model.reply(messages, schema) for messages, schema in asked]
        finally:
            await model.aclose()

    return asyncio.run(main())


def block_of(provider, language):
    """Return a block of the provider's section."""
    found = [block for block in BLOCKS if block.language == language]
    assert len(found) == len(SECTIONS)
    return found[SECTIONS.index(provider.name)]


def here(text, server):
    """Return a text in which the address of a provider is that of the simulated one."""
    return re.sub(r"https?://[\w.:-]+(?=[/\"])", root_of(server), text)


def test_the_page_has_each_provider():
    assert [provider.name for provider in PROVIDERS] == SECTIONS


@each_provider
def test_the_line_of_python_works(provider, server, outcomes, monkeypatch):
    statuses = outcomes(provider)
    text = block_of(provider, "python").text
    for name in re.findall(r'environ\["(\w+)"\]', text):
        monkeypatch.setenv(name, KEY)
    if provider.name == "OpenAI":
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    names = {}
    exec(here(text, server), names)
    first, second = answers(names["model"], (HELLO, None), (HELLO, None))
    assert (first.text, second.text) == (TEXT, TEXT)
    assert first.usage.prompt_tokens == 11
    assert statuses[-2:] == [200, 200]
    assert set(statuses[:-2]) <= {400, 422, 500}


@each_provider
def test_the_command_works(provider, server, outcomes, monkeypatch, tmp_path, capfd):
    statuses = outcomes(provider)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "task.py").write_text(
        "def f(x):\n    a, b = eval(x)\n    return -a * a - b * b\n"
    )
    ((command, _),) = commands_of(block_of(provider, "console"))
    words = shlex.split(here(command, server))
    if "=" in words[0]:
        assignment = words.pop(0)
        assert re.fullmatch(r"OPENAI_API_KEY=\$\w+_API_KEY", assignment)
    if provider.needs_key:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
    if provider.name == "OpenAI":
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    further = ["--steps", "1", "--temperature", "0.5", "--sandbox", "inline"]
    monkeypatch.setattr(sys, "argv", [*words, *further])
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capfd.readouterr()
    assert not ended.value.code, said.err
    assert "best -2 in trial 1" in said.out
    assert statuses[-1] == 200


@each_provider
def test_everything_that_can_be_asked_is_answered_and_learned_once(
    provider, server, outcomes
):
    """All options at once, far out of range: what is refused is changed, and never sent again."""
    statuses = outcomes(provider)
    model = make(
        server,
        provider,
        temperature=2.5,
        top_p=0.5,
        seed=1,
        stop=["END"],
        reasoning_effort="minimal",
        max_completion_tokens=100_000,
    )
    (first,) = answers(model, (HELLO, SCHEMA))
    assert first.text == '{"a": 1}'
    assert first.incomplete == ""
    refused = len(statuses) - 1
    assert refused <= 8
    assert len(model.changes) == refused
    replies = answers(model, (HELLO, None), (HELLO, SCHEMA))
    assert [reply.text for reply in replies] == [TEXT, '{"a": 1}']
    assert statuses[-2:] == [200, 200]
    assert len(statuses) == refused + 3
    prompt = "\n".join(one["content"] for one in server.requests[-1]["messages"])
    assert "Be brief." in prompt
    assert "hello" in prompt


@each_provider
def test_max_tokens_is_kept_under_the_name_that_is_taken(provider, server, outcomes):
    outcomes(provider)
    model = make(server, provider, max_tokens=50)
    answers(model, (HELLO, None))
    last = server.requests[-1]
    assert last.get("max_tokens", last.get("max_completion_tokens")) == 50
    assert model.max_tokens == 50


@each_provider
def test_what_is_no_question_of_parameters_ends_at_once(provider, server, outcomes):
    statuses = outcomes(provider)
    names = {"name": "nothing"}
    with pytest.raises(ModelRefused, match="there is no model 'nothing'") as caught:
        answers(make(server, provider, temperature=1, **names), (HELLO, None))
    assert KEY not in str(caught.value)
    assert statuses == [404]
    if provider.needs_key:
        with pytest.raises(ModelRefused, match="the key is wrong"):
            answers(make(server, provider, api_key="sk-other-key"), (HELLO, None))
        assert statuses == [404, 401]
    statuses.clear()
    long = [{"role": "user", "content": "too long"}]
    with pytest.raises(ContextTooLong):
        answers(make(server, provider, temperature=1), (long, None))
    assert len(statuses) == 1


@pytest.mark.parametrize(
    ("name", "model_name"), [("OpenAI", "gpt-5-pro"), ("Azure OpenAI", "gpt-5-codex")]
)
def test_a_model_that_is_only_in_the_responses_api_is_asked_there(
    name, model_name, server, outcomes
):
    (provider,) = (one for one in PROVIDERS if one.name == name)
    statuses = outcomes(provider)
    model = make(
        server, provider, name=model_name, temperature=0.5, max_tokens=9, seed=3
    )
    text, thing = answers(model, (HELLO, None), (HELLO, SCHEMA))
    assert (text.text, text.reasoning, text.finish_reason) == (
        TEXT,
        "Let me think.",
        "stop",
    )
    assert (text.usage.prompt_tokens, text.usage.cached_tokens) == (11, 5)
    assert (text.usage.completion_tokens, text.usage.reasoning_tokens) == (7, 3)
    assert thing.text == '{"a": 1}'
    assert statuses[-2:] == [200, 200]
    last = server.requests[-1]
    assert last["path"].endswith("/responses")
    assert last["instructions"] == "Be brief."
    assert last["input"] == HELLO[1:]
    assert last["max_output_tokens"] == 16
    assert last["store"] is False
    assert last["text"]["format"] == {
        "type": "json_schema",
        "name": "x",
        "schema": SCHEMA,
        "strict": True,
    }
    assert any("Responses API" in change for change in model.changes)


def test_a_header_that_carries_the_key_is_the_only_one_that_does(
    server, outcomes, monkeypatch
):
    """A key for another provider must not reach this one."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    (provider,) = (one for one in PROVIDERS if one.name == "Azure OpenAI")
    outcomes(provider)
    model = make(server, provider, api_key=None, extra_headers={"api-key": KEY})
    assert answers(model, (HELLO, None))[0].text == TEXT
    sent = server.requests[-1]["headers"]
    assert "authorization" not in sent
    assert sent["api-key"] == KEY
    server.replies(Raw(401, {"error": {"code": "401", "message": f"no {KEY} here"}}))
    with pytest.raises(ModelRefused) as caught:
        answers(model, (HELLO, None))
    assert KEY not in str(caught.value)
