"""A run ends early where f itself is broken, or where all candidates fail alike."""

import pytest

from llm_optimize import optimize
from llm_optimize.errors import UnknownName, UsageError
from llm_optimize.evaluate import Examples
from llm_optimize.optimize.fail_fast import FailFast
from llm_optimize.records import Status, Trial, Usage
from llm_optimize.space import Float

SANDBOXES = ("inline", "process")


def nothing():
    return 1.0


def two(x, y):
    return 1.0


def importing(x):
    import nonexistent_package

    return nonexistent_package.score(x)


def executing(x):
    names = {}
    exec(x, names)
    return float(names["y"])


def executing_here(x):
    exec(x)
    return 1.0


def raising_deep(x):
    def g(a, b):
        return a

    return g(x)


def sized(x):
    return [1.0] * 3


def typed(x):
    return object()


class Scorer:
    """An f that is an object."""

    def __call__(self):
        return 1.0


async def awaited():
    return 1.0


def counted(replies=("4",) * 20):
    """Return a model, and the list of what it was asked."""
    asked = []

    def model(messages):
        asked.append(messages)
        return f"```\n{replies[(len(asked) - 1) % len(replies)]}\n```"

    return model, asked


def go(tmp_path, func, x0="5", replies=("4",) * 20, **options):
    """Return the result of a run of 15 steps, and how often the model was asked."""
    model, asked = counted(replies)
    words = {"store": str(tmp_path / "runs.db"), "verbose": False, "name": "a"}
    words |= {"sandbox": "inline", "max_steps": 15, **options}
    return optimize.run("d", "q", func, x0, model=model, **words), len(asked)


# f itself is broken: the run ends at x0, and no model is asked.


@pytest.mark.parametrize("sandbox", SANDBOXES)
@pytest.mark.parametrize(
    ("func", "sentence"),
    [
        (nothing, "nothing() takes 0 positional arguments but 1 was given: define it as f(x)"),
        (two, "missing 1 required positional argument: 'y'"),
        (importing, "No module named 'nonexistent_package': install it"),
        (lambda x: None, "the score is None, "),
        (lambda x: True, "the score is True"),
        (lambda x: "0.5", "the score is '0.5'"),
        (lambda x: {"value": 1.0}, "f returned a dict with 'value': it needs a 'score'"),
        (sized, "f returned 3 values: return a number, or (score, feedback)"),
    ],
)  # fmt: skip
def test_a_broken_f_ends_the_run_at_x0_with_the_repair(
    tmp_path, sandbox, func, sentence
):
    result, asked = go(tmp_path, func, sandbox=sandbox)
    assert asked == 0
    assert len(result.trials) == 1
    assert result.stop_reason.startswith("error: ")
    assert sentence in result.stop_reason
    assert result.stop_reason.endswith("or go on all the same with the option catch")
    assert "\n" not in result.stop_reason


@pytest.mark.parametrize(
    ("func", "sandbox"), [(Scorer(), "inline"), (awaited, "inline"), (typed, "process")]
)
def test_so_do_objects_coroutines_and_what_is_not_plain_data(tmp_path, func, sandbox):
    result, asked = go(tmp_path, func, sandbox=sandbox)
    assert (asked, len(result.trials)) == (0, 1)
    assert result.stop_reason.startswith("error: f ")


def test_a_stage_and_an_f_of_examples_that_are_broken_end_the_run(tmp_path):
    result, asked = go(tmp_path, [nothing, float])
    assert (asked, result.stop_reason.startswith("error: f does not take")) == (0, True)
    (tmp_path / "b").mkdir()
    examples = Examples([1, 2, 3, 4], minibatch=None)
    result, asked = go(tmp_path / "b", float, examples=examples)
    assert asked == 0
    assert "or as f(x, example)" in result.stop_reason


def test_a_first_x_by_the_model_ends_the_run_as_well(tmp_path):
    result, asked = go(tmp_path, importing, x0=None)
    assert (asked, len(result.trials)) == (1, 1)


def test_f_may_be_broken_when_a_run_goes_on(tmp_path):
    assert go(tmp_path, importing, max_steps=1, catch=True)[1] == 1
    model, asked = counted(["6", "7", "8"])
    common = {"store": str(tmp_path / "runs.db"), "verbose": False, "model": model}
    result = optimize.resume("a", importing, max_steps=9, catch=False, **common)
    assert (len(asked), len(result.trials)) == (1, 3)
    assert result.stop_reason.startswith("error: f imports")
    # It was mended: what happened before does not count.
    result = optimize.resume("a", float, max_steps=4, **common)
    assert result.stop_reason == "max_steps"


@pytest.mark.parametrize("func", [nothing, importing, lambda x: None])
def test_a_run_goes_on_whatever_f_does_where_the_user_says_so(tmp_path, func):
    result, asked = go(tmp_path, func, catch=True, replies=[str(n) for n in range(15)])
    assert (asked, len(result.trials)) == (15, 16)
    assert result.stop_reason == "max_steps"


# x is broken, or may be: the run goes on.


@pytest.mark.parametrize("sandbox", SANDBOXES)
@pytest.mark.parametrize(
    ("func", "x0"),
    [
        (executing, "import nonexistent_package"),
        (executing_here, "import nonexistent_package"),
        (executing, "def g(): pass\ng(1)"),
        (executing, "raise TypeError('f() takes 1 positional argument but 2 were given')"),
        (raising_deep, "5"),
        (lambda x: float("nan"), "5"),
        (lambda x: (None, "x does not compile"), "5"),
        (lambda x: __import__(x), "nonexistent_package"),
        (lambda x: 1 / 0, "5"),
    ],
)  # fmt: skip
def test_an_x0_that_may_be_broken_ends_nothing(tmp_path, sandbox, func, x0):
    result, asked = go(tmp_path, func, x0, sandbox=sandbox, max_steps=1)
    assert result.trials[0].score is None
    assert (asked > 0, result.stop_reason) == (True, "max_steps")


# Ten failures in a row.


def test_ten_failures_of_one_kind_in_a_row_end_the_run(tmp_path):
    def f(x):
        raise ConnectionError(f"no answer in {x} s")

    result, asked = go(tmp_path, f, "99", replies=[str(n) for n in range(15)])
    assert (asked, len(result.trials)) == (9, 10)
    assert result.stop_reason == (
        "error: the last 10 trials failed in the same way, failed: ConnectionError: no answer "
        "in 8 s; mend f, or go on all the same with the option catch"
    )


def test_ten_replies_in_a_row_without_an_x_end_the_run(tmp_path):
    model = {"model": lambda messages: "I would rather not."}
    result = optimize.run(
        *("d", "q", float, "1", 20),
        **model,
        verbose=False,
        sandbox="inline",
        store=str(tmp_path / "runs.db"),
    )
    assert len(result.trials) == 11
    assert "take another model" in result.stop_reason


def failed(number, why, usage=Usage(calls=1), **more):
    return Trial.of(
        number, f"x{number}", Status.FAILED, "m", feedback=why, usage=usage, **more
    )


def observed(trials, has_scores=True, **options):
    fail_fast = FailFast(**options)
    for trial in trials:
        fail_fast.observe(trial, has_scores)
    return fail_fast.reason


def test_failures_that_cost_no_call_count_while_nothing_has_a_score():
    free = [failed(n, "E", Usage()) for n in range(10)]
    assert observed(free, has_scores=True) == ""
    assert observed(free, has_scores=False).startswith("error: ")


def test_a_learner_may_meet_an_x_for_which_f_returns_nothing(tmp_path):
    result = optimize.run(
        *("d", "q", lambda x: None if x["a"] < 2 else x["a"]),
        space={"a": Float(0, 3)},
        proposer="random",
        seed=1,
        sandbox="inline",
        verbose=False,
        store=str(tmp_path / "runs.db"),
    )
    assert result.trials[0].score is None
    assert (len(result.trials), result.stop_reason) == (10, "max_steps")


def test_failures_are_alike_but_for_numbers_and_addresses():
    alike = [failed(n, f"E: line {n} at 0x{n}f") for n in range(10)]
    assert observed(alike[:9]) == ""
    assert observed(alike).startswith("error: the last 10 trials")
    assert observed(alike, catch=True) == ""
    others = [failed(n, f"E: name {'ab'[n % 2]!r}") for n in range(30)]
    assert observed(others) == ""


def test_a_score_between_them_begins_a_new_row_and_a_duplicate_does_not():
    alike = [failed(n, "E") for n in range(9)]
    scored = Trial.of(9, "y", Status.COMPLETE, "m", 1.0)
    again = Trial.of(9, "x1", Status.DUPLICATE, "m", feedback="E")
    assert observed([*alike, scored, failed(10, "E")]) == ""
    assert observed([*alike, again, failed(10, "E")]) != ""


def test_what_is_not_good_enough_for_a_stage_is_no_failure_of_f(tmp_path):
    result, asked = go(
        tmp_path, [(lambda x: 0.5, 1.0), float], replies=[str(n) for n in range(15)]
    )
    assert (asked, result.stop_reason) == (15, "max_steps")
    rejected = [
        failed(n, "worse than its parent", stage="minibatch") for n in range(20)
    ]
    assert observed(rejected) == ""


# Ten candidates in a row that were known.


def test_a_model_that_repeats_itself_ends_the_run_without_an_error(tmp_path):
    result, asked = go(tmp_path, float, max_steps=40)
    assert (asked, len(result.trials)) == (11, 12)
    assert result.stop_reason.startswith(
        "nothing left to propose: the last 10 candidates"
    )
    assert result.best_score == 5.0


def test_repetitions_that_cost_nothing_end_nothing():
    usage = Usage(calls=1)
    same = [
        Trial.of(n, "x", Status.DUPLICATE, "m", 1.0, usage=usage) for n in range(10)
    ]
    assert observed(same) != ""
    free = [Trial.of(n, "x", Status.DUPLICATE, "mutation", 1.0) for n in range(30)]
    assert observed(free) == ""


def test_an_optimizer_goes_on_whatever_it_is_told(tmp_path):
    words = {"store": str(tmp_path / "runs.db"), "model": "mutation", "seed": 1}
    with optimize.Optimizer("d", "q", "a = 1\nb = 2\nc = 3", **words) as opt:
        for _ in range(12):
            opt.tell(opt.ask(), None)
        assert len(opt.result.trials) >= 12


# The user's own model, and wrong arguments.


def test_a_model_of_the_user_that_fails_ends_the_run_with_its_best(tmp_path):
    def raising(messages):
        raise ZeroDivisionError("by zero")

    words = {"verbose": False, "sandbox": "inline", "store": str(tmp_path / "runs.db")}
    for model, sentence in [
        (raising, "the model raising raised ZeroDivisionError: by zero"),
        (lambda messages: 5, "the model <lambda> returned 5: return the reply as text"),
    ]:
        result = optimize.run("d", "q", float, "1", 5, model, **words)
        assert result.stop_reason == f"error: {sentence}"
        assert result.best_score == 1.0


def test_a_word_that_is_nearly_an_argument_is_refused_with_it():
    with pytest.raises(UnknownName, match="did you mean 'max_steps'"):
        optimize.run("d", "q", float, "1", max_step=3)


@pytest.mark.parametrize("word", ["task_description", "task_question", "human_prompt"])
def test_words_of_a_task_are_texts(word):
    given = {"task_description": "d", "task_question": "q", word: 5}
    with pytest.raises(UsageError, match=f"{word} is 5: give a text"):
        optimize.run(**given, func=float, x0="1")
