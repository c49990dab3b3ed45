"""Comparisons as they are run: equal budgets, one store, gone on with after an interruption; and
the command."""

import asyncio
import json
import sqlite3
import threading

import pytest

from llm_optimize import cli, optimize
from llm_optimize.errors import MissingKey, UnknownName, UsageError
from llm_optimize.propose import gates
from llm_optimize.propose.policy_gradient import PolicyGradient
from llm_optimize.records import Budget, Plan, Proposal, RunEnded
from llm_optimize.search import Best
from llm_optimize.space import Float, Space
from llm_optimize.store import Store
from llm_optimize.testing import ScriptedChat

SPACE = {"a": Float(0, 1), "b": Float(0, 1)}
X0 = {"a": 0.0, "b": 1.0}


def f(x):
    return 1 - (x["a"] - 0.3) ** 2 - (x["b"] - 0.7) ** 2


@pytest.fixture
def compare(tmp_path):
    """Return `optimize.compare` with a store and a sandbox that are quick."""

    def compare(contenders, func=f, x0=X0, **options):
        known = {
            "store": str(tmp_path / "runs.db"),
            "sandbox": "inline",
            "name": "amber",
            "space": SPACE,
            "seeds": 2,
        }
        return optimize.compare(
            "d",
            "q",
            func,
            x0,
            contenders=contenders,
            **{"budget": 8, **known, **options},
        )

    return compare


def runs_of(tmp_path):
    store = Store(str(tmp_path / "runs.db"))
    found = {run.name: store.run(run.name) for run in store.runs()}
    store.close()
    return found


def by_name(found):
    return {standing.name: standing for standing in found.standings}


def test_every_contender_has_the_same_budget_the_same_seeds_and_its_own_runs(
    compare, tmp_path
):
    found = compare(
        {
            "none": {"search": "best_of_n", "model": "mutation"},
            "learner": "policy_gradient",
        },
        seeds=[3, 5],
    )
    assert (found.name, found.scorings, found.seeds) == ("amber", 8, (3, 5))
    assert by_name(found)["learner"].runs == ("amber/learner/3", "amber/learner/5")
    stored = runs_of(tmp_path)
    assert list(stored) == [
        "amber/none/3",
        "amber/learner/3",
        "amber/none/5",
        "amber/learner/5",
    ]
    assert [run.settings["seed"] for run in stored.values()] == [3, 3, 5, 5]
    assert {len(story.curve) for one in found.standings for story in one.outcomes} == {
        8
    }
    assert {story.curve[0] for one in found.standings for story in one.outcomes} == {
        f(X0)
    }
    assert {trial.parent for trial in stored["amber/none/3"].trials()} == {None, 0}
    assert [one.calls for one in found.standings] == [0, 0]


def test_duplicates_and_replies_without_an_x_take_none_of_the_budget(compare):
    replies = iter(range(1000))

    def model(messages):
        count = next(replies)
        return (
            "no idea"
            if count % 5 == 4
            else f'```json\n{{"a": 0.{count % 7}, "b": 0.{count % 10}}}\n```'
        )

    (standing,) = compare({"chat": "chat"}, model=model, seeds=1, budget=12).standings
    assert len(standing.outcomes[0].curve) == 12
    assert standing.calls > 12
    assert standing.tokens > 0
    assert standing.cost_usd is None


def test_the_same_call_again_scores_nothing_again_and_finds_the_same(compare):
    calls = []

    def counted(x):
        calls.append(x)
        return f(x)

    contenders = {
        "learner": PolicyGradient(Space(SPACE)),
        "gate": gates.fixed_alpha("mutation", alpha=0.5),
    }
    first = compare(contenders, counted)
    scored = len(calls)
    assert scored == 2 * 2 * 8
    assert compare(contenders, counted) == first
    assert len(calls) == scored


def test_an_interrupted_comparison_goes_on_where_it_was(compare, tmp_path):
    contenders = {
        "learner": "policy_gradient",
        "none": {"search": "best_of_n", "model": "mutation"},
    }
    whole = compare(contenders, name="birch")
    calls = []

    async def dies(x):
        calls.append(x)
        if len(calls) == 21:
            raise KeyboardInterrupt
        return f(x)

    with pytest.raises(KeyboardInterrupt):
        compare(contenders, dies)
    assert list(runs_of(tmp_path))[4:] == [
        "amber/learner/0",
        "amber/none/0",
        "amber/learner/1",
    ]
    found = compare(contenders, dies)  # from here on it lives
    assert len(calls) == 4 * 8 + 1
    curves = [
        [[story.curve for story in one.outcomes] for one in each.standings]
        for each in (found, whole)
    ]
    assert curves[0] == curves[1]
    assert found.sentence == whole.sentence


def test_so_many_runs_go_on_at_once_and_no_more(compare):
    flying, most = [0], [0]
    full = asyncio.Event()

    async def counted(x):
        flying[0] += 1
        most[0] = max(most[0], flying[0])
        if flying[0] == 3:
            full.set()
        await asyncio.wait_for(full.wait(), 20)
        flying[0] -= 1
        return f(x)

    compare({"learner": "policy_gradient"}, counted, seeds=5, at_a_time=3, budget=4)
    assert most[0] == 3


def test_strategies_that_are_given_as_objects_are_fresh_in_every_run(compare):
    class Counting:
        def __init__(self):
            self.told = 0

        def ask(self, rng, pending):
            return Plan(None, hint=str(self.told))

        def observe(self, trial):
            self.told += 1

    class Hinted:
        async def propose(self, plan, ask, rng):
            return Proposal({"a": rng.random(), "b": int(plan.hint) / 100}, "hinted")

        def observe(self, trial):
            pass

    seen = []

    def scored(x):
        seen.append(x["b"])
        return 0.0

    for search in (Counting(), Counting):
        seen.clear()
        options = {"search": search, "proposer": Hinted()}
        compare(
            {"own": options},
            scored,
            model=ScriptedChat(),
            budget=3,
            name=str(search),
            x0=None,
        )
        assert seen == [0.0, 0.01, 0.02] * 2


@pytest.mark.parametrize(
    ("contender", "stored"),
    [
        ("chat", {"search": "chat", "proposer": "model", "model": "writer"}),
        ("mutation", {"search": "best", "proposer": "mutation", "model": ""}),
        (
            "adaptive(mutation, policy_gradient)",
            {"proposer": "adaptive(mutation, policy_gradient)", "model": ""},
        ),
        (
            gates.adaptive("model", "mutation"),
            {"proposer": "adaptive(model, mutation)", "model": "writer"},
        ),
        (None, {"search": "best_of_n", "proposer": "model"}),
        (Best(), {"search": "Best", "proposer": "model"}),
        (
            ScriptedChat(*['{"a": 1, "b": 1}'] * 20, name="other"),
            {"search": "best", "model": "other"},
        ),
        (
            {"search": "chat", "model": "mutation"},
            {"search": "chat", "proposer": "mutation"},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_contender_is_whatever_names_or_is_one(compare, tmp_path, contender, stored):
    def writer(messages):
        return '```json\n{"a": 0.5, "b": 0.5}\n```'

    compare({"one": contender}, seeds=1, budget=2, model=writer)
    settings = runs_of(tmp_path)["amber/one/0"].settings
    assert {word: settings[word] for word in stored} == stored


def test_a_model_is_named_with_a_prefix(compare):
    with pytest.raises(MissingKey, match="gpt-x"):
        compare({"one": "model:gpt-x"}, seeds=1, budget=2)


def test_a_strategy_that_cannot_be_copied_is_refused(compare):
    search = Best()
    search.lock = threading.Lock()
    with pytest.raises(
        UsageError, match=r"cannot be copied for each run .*: give its class"
    ):
        compare({"one": search}, model="mutation")


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"contenders": {}}, UsageError, "no contenders"),
        (
            {"contenders": {"a": "bset"}},
            UnknownName,
            "unknown contender 'bset': did you mean 'best'",
        ),
        ({"contenders": {"a": "mutatoin"}}, UnknownName, "did you mean 'mutation'"),
        (
            {"contenders": {"a": {"serach": "best"}}},
            UnknownName,
            "did you mean 'search'",
        ),
        ({"contenders": {"a": 3}}, UsageError, "3 is not a contender"),
        ({"budget": Budget(calls=3)}, UsageError, "counts scorings"),
        ({"budget": 0}, UsageError, "scorings is 0"),
        ({"seeds": 0}, UsageError, "seeds is 0"),
        ({"seeds": [1, 1]}, UsageError, "seeds is"),
        ({"at_a_time": 0}, UsageError, "at_a_time is 0"),
        ({"serach": "chat"}, UnknownName, "did you mean 'search'"),
        ({"max_steps": 3}, UnknownName, "max_steps"),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_runs(
    compare, tmp_path, change, error, said
):
    with pytest.raises(error, match=said):
        compare(**{"contenders": {"a": "policy_gradient"}, **change})
    assert not (tmp_path / "runs.db").exists() or runs_of(tmp_path) == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x0": {"a": 0.1, "b": 0.1}}, "x0"),
        ({"budget": 9}, "budget of scorings 2, not 9"),
        (
            {"contenders": {"a": "mutation"}},
            "proposer 'policy_gradient', not 'mutation'",
        ),
    ],
)
def test_a_name_that_stands_for_another_comparison_is_refused(compare, change, said):
    same = {"contenders": {"a": "policy_gradient"}, "budget": 2}
    compare(**same)
    with pytest.raises(UsageError, match=said):
        compare(**{**same, **change})


def test_runs_that_end_with_an_error_are_said_and_tried_again(compare):
    contenders = {"chat": "chat"}
    found = compare(contenders, model=ScriptedChat(), seeds=1, budget=3)
    assert found.standings[0].problems == (
        "error: the scripted model has no reply left at call 1: give it more",
    )
    assert found.standings[0].problems[0] in str(found)
    replies = [f'```json\n{{"a": 0.{n}, "b": 0.5}}\n```' for n in range(1, 9)]
    again = compare(contenders, model=ScriptedChat(*replies), seeds=1, budget=3)
    assert again.standings[0].problems == ()
    assert len(again.standings[0].outcomes[0].curve) == 3


def test_without_a_name_one_is_made_up_and_watchers_see_every_run(compare):
    ended = []

    def watch(event):
        if isinstance(event, RunEnded):
            ended.append(event.result.name)

    found = compare({"a": "policy_gradient"}, name=None, budget=2, callbacks=[watch])
    assert ended == [f"{found.name}/a/0", f"{found.name}/a/1"]
    assert compare({"a": "policy_gradient"}, name=None, budget=2).name != found.name


# The command.

TASK = "def f(x):\n    return -abs(float(x) - 30)\n"


def command(*arguments, code=0):
    with pytest.raises(SystemExit) as left:
        cli.main(
            [
                "compare",
                "--func",
                "task.py:f",
                "--task",
                "Come near 30.",
                "--x0",
                "1",
                *arguments,
            ]
        )
    assert left.value.code == code


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Go to a folder with a task."""
    (tmp_path / "task.py").write_text(TASK)
    monkeypatch.chdir(tmp_path)
    return tmp_path


SHORT = ["--model", "mutation", "--budget", "5", "--seeds", "2", "--sandbox", "inline"]


def test_the_command_prints_a_line_a_run_and_a_table(folder, capsys):
    command(
        "--contender",
        "best",
        "--contender",
        "none=best_of_n",
        *SHORT,
        "--name",
        "amber",
    )
    out, err = capsys.readouterr()
    runs = [line.split(":")[0] for line in err.splitlines() if ":" in line]
    assert runs == [
        f"amber/{name}/{seed}" for seed in (0, 1) for name in ("best", "none")
    ]
    assert out.splitlines()[0].split()[:4] == ["after", "1", "after", "2"]
    assert {line.split()[0] for line in out.splitlines()[1:3]} == {"best", "none"}
    assert "take at least 4 seeds" in out
    command(
        "--contender",
        "best",
        "--contender",
        "none=best_of_n",
        *SHORT,
        "--name",
        "amber",
        "--json",
    )
    out, err = capsys.readouterr()
    assert ":" not in err
    assert {one["name"] for one in json.loads(out)["standings"]} == {"best", "none"}


def test_the_command_refuses_what_it_does_not_know(folder, capsys):
    command("--contender", "bset", "--contender", "best", *SHORT, code=2)
    command("--contender", "best", "--contender", "best", *SHORT, code=2)
    assert capsys.readouterr().err == (
        "error: unknown contender 'bset': did you mean 'best'?\n"
        "error: the contender 'best' is given twice: rename one, as OTHER=best\n"
    )


def test_the_command_fails_when_a_run_does(folder, capsys, server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    command(
        "--contender",
        "chat",
        "--contender",
        "tree",
        *SHORT[2:],
        "--base-url",
        server.url,
        "--model",
        "m",
        code=1,
    )
    assert (
        "4 runs ended early, the first one by this error: " in capsys.readouterr().err
    )


def test_the_command_says_how_to_go_on(folder, capsys):
    (folder / "task.py").write_text("async def f(x):\n    raise KeyboardInterrupt\n")
    both = ("--contender", "best", "--contender", "chat")
    command(*both, *SHORT, "--name", "amber", code=130)
    assert capsys.readouterr().err.endswith(
        "stopped; everything is stored. To continue: the same command with --name amber\n"
    )
    with sqlite3.connect("runs.db") as connection:
        assert connection.execute("select name from run").fetchall() == [
            ("amber/best/0",)
        ]
    connection.close()
