"""The one record of a run's options: checked, stored, documented, and reached from everywhere."""

from __future__ import annotations

import inspect
import json
import re
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest
from typer.main import get_command

from llm_optimize import optimize, settings, task_file
from llm_optimize.cli import app
from llm_optimize.cli.options import flags_of
from llm_optimize.errors import NotAllowed, UnknownName, UsageError
from llm_optimize.evaluate import Examples, Repeats
from llm_optimize.mcp.parameters import TOOLS, arguments_of
from llm_optimize.records import Budget, Limits, Task
from llm_optimize.search import Best
from llm_optimize.settings import RunSettings
from llm_optimize.stop import stale
from llm_optimize.store import Store

ROOT = Path(__file__).parents[2]
TASK = Task("d", "q", "sys", "human")
OF_THE_CALL = {
    *("func", "verbose", "store", "name", "callbacks"),
    *("load_if_exists", "func_changed"),
}
FOUND_OUT = {
    "func",
    "is_chat",
    "func_hashes",
    "known_trials",
    "old_scores",
}  # fields that nobody gives as options
OTHERS = {  # for each option of a run another value than the usual
    "system_prompt": "Be brief.",
    "human_prompt": "{x}\n{task_question}",
    "model": "other",
    "base_url": "http://localhost:9/v1",
    "temperature": 0.5,
    "reasoning_effort": "low",
    "max_steps": 3,
    "workers": 2,
    "model_slots": 2,
    "timeout_secs": 9.0,
    "stop_score": 5.0,
    "max_score": 9.0,
    "budget": {"calls": 3},
    "search": "chat",
    "proposer": "mutation",
    "repeats": 2,
    "reflect": True,
    "tune": 2,
    "max_prompt_tokens": 500,
    "func_version": "v1",
    "catch": True,
    "sandbox": "inline",
    "limits": {"memory_mb": 512},
    "executor": None,
    "stop": stale(3),
    "examples": Examples([1]),
}
TASK_FILE_KEYS = {"task_description": "task", "task_question": "question"}


def flags(command: str) -> set[str]:
    """Return all that may be typed after a command."""
    found = get_command(app).commands[command]  # type: ignore[attr-defined]
    return {
        word
        for parameter in found.params
        for word in (*parameter.opts, *parameter.secondary_opts)
    }


def words_of(text: str) -> str:
    """Return a text with single spaces."""
    return " ".join(text.split())


# Each option is reached from everywhere, or says why not.


def test_every_field_is_an_option_or_found_out():
    names = {one.name for one in fields(RunSettings)} - {"task"} - FOUND_OUT
    words = {one.name for one in fields(Task)} - {"description", "question"}
    assert set(settings.options()) == names | words | {
        "task_description",
        "task_question",
    }


@pytest.mark.parametrize("name", settings.options())
def test_an_option_is_an_argument_of_run_with_its_default_and_its_words(name):
    parameter = inspect.signature(optimize.run).parameters[name]
    option = settings.option_of(name)
    assert words_of(f"{name}: {option.help} {option.python}") in words_of(
        inspect.getdoc(optimize.run)
    )
    if not option.in_task:
        assert parameter.default == (
            None if name == "x0" else settings.default_of(name)
        )


def test_run_takes_the_options_and_what_is_of_the_call():
    parameters = inspect.signature(optimize.run).parameters
    assert set(parameters) == {*settings.options(), *OF_THE_CALL}
    assert inspect.signature(optimize.arun).parameters == parameters


@pytest.mark.parametrize("name", settings.options())
def test_an_option_can_change_when_a_run_goes_on_or_says_why_not(name):
    option = settings.option_of(name)
    stored = RunSettings(TASK, seed=7)
    if option.no_resume:
        with pytest.raises(
            UsageError,
            match=re.escape(
                f"{name} cannot change when a run goes on: {option.no_resume}"
            ),
        ):
            stored.changed({name: "x"})
        return
    changed = stored.changed({name: OTHERS[name]})
    given = getattr(changed.task if option.in_task else changed, name)
    assert given == OTHERS[name] or given in (Budget(calls=3), Limits(memory_mb=512))


def test_the_changes_that_type_checkers_know_are_those_that_resume_takes():
    known = set(get_type_hints(settings.Changes))
    changeable = {
        name for name, option in settings.options().items() if not option.no_resume
    }
    assert changeable <= known <= set(settings.options())


@pytest.mark.parametrize("name", settings.options())
def test_an_option_has_a_flag_or_says_why_not(name):
    option = settings.option_of(name)
    assert bool(option.flag) != bool(option.no_flag)
    if option.no_flag:
        return
    assert option.flag in flags("run")
    assert (option.flag in flags("resume")) == (not option.no_resume)
    assert (option.flag in flags("replay")) == (
        not option.no_resume and not option.of_model
    )
    assert (option.flag in flags("compare")) == (
        name not in ("max_steps", "budget", "seed")
    )


def test_every_cap_and_every_limit_has_a_flag():
    assert {flag.name for flag in flags_of("budget")} == {
        one.name for one in fields(Budget)
    }
    numbers = {
        name
        for name, kind in task_file.kinds_of(Limits).items()
        if kind in ("int", "float")
    }
    assert {flag.name for flag in flags_of("limits")} | numbers == {
        "limit",
        *(one.name for one in fields(Limits)),
    }


@pytest.mark.parametrize("name", settings.options())
def test_an_option_is_a_key_of_task_files_or_says_why_not(name):
    known = {*task_file.KEYS, *task_file.TABLES}
    assert (TASK_FILE_KEYS.get(name, name) in known) == (
        not settings.option_of(name).no_flag
    )


@pytest.mark.parametrize("name", settings.options())
def test_an_agent_may_set_an_option_where_the_task_says_so_or_reads_that_a_human_does(
    name,
):
    if name in task_file.MAY_SET:
        assert name in TOOLS["start_run"].parameters
        return
    with pytest.raises(NotAllowed, match=f"{name} is for a human to decide"):
        arguments_of("start_run", {"task": "t", name: 1})


def test_an_option_is_named_in_few_files():
    files = [
        file
        for file in (ROOT / "llm_optimize").rglob("*.py")
        if "max_prompt_tokens" in file.read_text("utf-8")
    ]
    names = {file.relative_to(ROOT / "llm_optimize").as_posix() for file in files}
    assert names == {
        *("settings.py", "option_types.py"),
        "automl/advisor/recommendation.py",
        "conversions.py",  # checks it
        "optimize/prompt_size.py",  # compares x0 with it
        "optimize/dry_run.py",  # estimates by it
        "optimize/build.py",  # hands it on
        *("propose/model.py", "propose/language/prompt.py"),  # use it
    }


# A wrong value is refused in one sentence.


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("bugdet", {}, "unknown argument of run 'bugdet': did you mean 'budget'?"),
        ("is_chat", True, "unknown argument of run 'is_chat'"),
        ("max_steps", "ten", "max_steps is 'ten': give 0"),
        ("max_steps", True, "max_steps is True: give 0"),
        ("tune", -1, "tune is -1: give how many scorings"),
        ("workers", 1.5, "workers is 1.5: give how many scorings"),
        ("workers", None, "workers is None: give how many scorings"),
        ("model_slots", 0, "model_slots is 0: give how many candidates"),
        ("max_prompt_tokens", 0, "max_prompt_tokens is 0: give how many tokens"),
        ("seed", "x", "seed is 'x': give a whole number"),
        ("timeout_secs", "1", "timeout_secs is '1': a scoring needs more than 0 s"),
        (
            "timeout_secs",
            float("nan"),
            "timeout_secs is nan: a scoring needs more than 0 s",
        ),
        ("stop_score", "1", "stop_score is '1': give a number"),
        ("max_score", [1], r"max_score is \[1\]: give a number"),
        ("sandbox", 1, "sandbox is 1: give a name"),
        ("sandbox", "proces", "did you mean 'process'"),
        ("reflect", "yes", "reflect is 'yes': give True or False"),
        ("base_url", 1, "base_url is 1: give a text"),
        ("temperature", "1", "temperature is '1': give a number"),
        ("reasoning_effort", 1, "reasoning_effort is 1: give a text"),
        ("func_version", 1, "func_version is 1: give a text"),
        ("budget", 5, r"budget is 5: give records.Budget\(...\), or a dict"),
        ("budget", {"dollars": 5}, "unknown field of budget 'dollars'"),
        ("budget", {"usd": "5"}, "budget.usd is '5', it must be more than 0"),
        (
            "limits",
            {"memory": 5},
            "unknown field of limits 'memory': did you mean 'memory_mb'",
        ),
        (
            "limits",
            {"memory_mb": "5"},
            "limits.memory_mb is '5', it must be at least 1",
        ),
        ("limits", {"readable": 5}, "limits.readable is 5: give a tuple of texts"),
        (
            "search",
            5,
            "search is 5: give a name, or an object with `ask` and `observe`",
        ),
        ("search", "bset", "did you mean 'best'"),
        (
            "proposer",
            5,
            "proposer is 5: give a name, or an object with `propose` and `observe`",
        ),
        ("repeats", "3", "repeats is '3': give how often"),
        ("repeats", 1, "repeats is 1"),
        ("executor", 5, "executor is 5: give a concurrent.futures.Executor"),
        ("examples", [1, 2], "examples is a list: give optimize.Examples"),
        ("stop", 5, "stop is 5: give a rule"),
        ("space", 5, "the space is 5: give a dict"),
        ("model", 5, "5"),
        ("callbacks", print, "callbacks is <built-in function print>: give a list"),
        ("callbacks", [5], r"callbacks is \[5\]: give a list of callables"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_stored(
    tmp_path, option, value, message
):
    store = tmp_path / "runs.db"
    given = {
        "x0": "1",
        "model": "mutation",
        "max_steps": 1,
        "store": store,
        "sandbox": "inline",
        option: value,
    }
    with pytest.raises(UsageError, match=message):
        optimize.run("d", "q", float, verbose=False, **given)
    with closing(Store(store)) as opened:
        assert opened.names() == []


def test_a_proposer_is_not_ignored_beside_the_model_that_stands_for_another(tmp_path):
    with pytest.raises(UsageError, match="proposer is 'tpe': give one of the two"):
        optimize.run(
            "d",
            "q",
            float,
            model="mutation",
            proposer="tpe",
            store=tmp_path / "runs.db",
            verbose=False,
        )


@pytest.mark.parametrize("name", settings.OF_CHAT)
def test_what_a_chat_is_made_of_goes_with_models_that_are_given_by_a_name(
    tmp_path, name
):
    with pytest.raises(
        UsageError, match=rf"model is an object: give it to llm\.Chat\(..., {name}="
    ):
        optimize.run(
            "d",
            "q",
            float,
            "1",
            1,
            print,
            store=tmp_path / "r.db",
            **{name: OTHERS[name]},
        )
    of_model = {name for name, one in settings.options().items() if one.of_model}
    assert of_model == {"model", *settings.OF_CHAT}


def test_dicts_paths_and_classes_stand_for_what_they_describe(tmp_path):
    result = optimize.run(
        "d",
        "q",
        float,
        "1",
        model="mutation",
        verbose=False,
        store=tmp_path / "runs.db",
        budget={"scorings": 3},
        limits={"memory_mb": 512},
        search=Best,
        seed=1,
        sandbox="inline",
    )
    assert len(result.scores) == 3
    assert "scorings" in result.stop_reason
    with closing(Store(tmp_path / "runs.db")) as store:
        stored = store.run(result.name).settings
    assert (
        stored["budget"]["scorings"],
        stored["limits"]["memory_mb"],
        stored["search"],
    ) == (3, 512, "Best")


def test_a_misspelt_change_names_the_function_that_was_called(tmp_path):
    url = tmp_path / "runs.db"
    optimize.run(
        "d",
        "q",
        float,
        "1",
        0,
        "mutation",
        False,
        store=url,
        name="amber",
        sandbox="inline",
    )
    for call, name in [(optimize.resume, "resume"), (optimize.replay, "replay")]:
        with pytest.raises(
            UnknownName,
            match=f"unknown argument of {name} 'reflct': did you mean 'reflect'",
        ):
            call("amber", float, store=url, reflct=True)
    with pytest.raises(
        UsageError,
        match="seed cannot change when a run goes on: a run goes on with the seed",
    ):
        optimize.resume("amber", float, store=url, seed=8)
    with pytest.raises(UsageError, match="model cannot change in a replay"):
        optimize.replay("amber", float, store=url, model="other")
    with pytest.raises(UsageError, match="workers says how f is called"):
        optimize.Optimizer("d", "q", "1", model="mutation", store=url, workers=2)


def test_arguments_that_do_not_fit_name_the_function_that_was_called():
    with pytest.raises(
        TypeError, match=r"^run\(\) missing 1 required positional argument: 'func'"
    ):
        optimize.run("d", "q")
    with pytest.raises(
        TypeError, match=r"^resume\(\) missing 1 required positional argument: 'func'"
    ):
        optimize.resume("amber")


@pytest.mark.parametrize("budget", ["5", {"usd": 1}, {"scoring": 5}, None])
def test_the_budget_of_a_comparison_counts_scorings(tmp_path, budget):
    with pytest.raises(UsageError, match="budget"):
        optimize.compare(
            "d",
            "q",
            float,
            "1",
            contenders={"a": "best"},
            budget=budget,
            store=tmp_path / "r.db",
        )


# In the store and out of it.


def test_settings_are_plain_data_and_come_back():
    first = RunSettings(
        TASK,
        x0=["1", {"a": "b"}],
        max_steps=4,
        budget={"usd": 1},
        limits={"readable": ["data"]},
        repeats={"n": 3, "champion": False},
        max_prompt_tokens=99,
        seed=5,
    )
    data = json.loads(json.dumps(first.to_json()))
    again = RunSettings.from_json({**data, "of_a_later_version": 1})
    assert again == first
    assert again.to_json() == first.to_json()


def test_what_is_not_given_again_is_as_it_was(tmp_path):
    url = tmp_path / "runs.db"
    noisy = iter(range(100))
    common = {"store": url, "verbose": False}
    given = {
        "name": "a",
        "sandbox": "inline",
        "repeats": Repeats(3, champion=False),
        **common,
    }
    first = optimize.run("d", "q", lambda x: next(noisy), "1", 0, "mutation", **given)
    assert first.trials[0].evaluation.scorings == 3
    more = optimize.resume("a", lambda x: next(noisy), max_steps=1, **common)
    assert [trial.evaluation.scorings for trial in more.trials] == [3, 3]


def test_another_model_is_not_asked_at_the_address_of_the_old_one():
    of_chat = {name: OTHERS[name] for name in settings.OF_CHAT}
    stored = RunSettings(TASK, model="local", **of_chat)
    for changes, expected in [
        ({"model": "gpt"}, dict.fromkeys(of_chat)),
        ({"max_steps": 3}, of_chat),
    ]:
        changed = stored.changed(changes)
        assert {name: getattr(changed, name) for name in of_chat} == expected


def test_a_resumed_run_asks_for_lessons_with_another_prompt_and_a_shorter_one(tmp_path):
    url, asked = tmp_path / "runs.db", []

    def model(messages):
        asked.append(str(messages))
        return "worse:\n```\n0\n```"

    long = "1" + " " * 30_000 + "#"
    common = {"store": url, "verbose": False, "sandbox": "inline"}
    optimize.run("d", "q", lambda x: len(x), long, 1, model, name="a", **common)
    before = len(asked)
    optimize.resume(
        "a",
        lambda x: len(x),
        model=lambda messages: model(messages).replace("0", str(len(asked))),
        max_steps=3,
        reflect=True,
        system_prompt="Answer in Latin.",
        **common,
    )
    assert before == 1
    assert any("Answer in Latin." in prompt for prompt in asked[before:])
    assert (
        len(asked) - before > 2
    )  # more calls than steps: the further ones asked for lessons


def test_what_only_a_model_has_is_refused_without_one():
    with pytest.raises(UsageError, match=r"temperature is 0\.5, and mutation"):
        optimize.run("t", "q", float, "1", 1, "mutation", False, temperature=0.5)


def test_the_front_door_shows_only_what_is_public():
    assert dir(optimize) == sorted(optimize.__all__)
