"""The demo: a scikit-learn script reads digits better and better, without any language model.

A candidate is the text of a script that fits `clf` on the training images. f scores it on the
validation images. The test images, which choose nothing, are used once: at the end, for the first
script and for the best one. Candidates get no labels but those of the training images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from .errors import require
from .eval_utils import run_script
from .optimize import run as optimize_run
from .records import Result, Watcher
from .store import command_line

TASK = (
    "Write a Python script that fits a scikit-learn classifier clf on X_train and y_train: "
    "8x8 images of digits."
)
QUESTION = "Which script reaches a higher accuracy on images that it has not seen?"
INTRODUCTION = """\
Demo: the `mutation` proposer improves a scikit-learn script by small random changes, without any
language model: the baseline that a model has to beat. Your own task: llm-optimize init"""
X0 = """\
from sklearn.svm import SVC

clf = SVC()
clf.fit(X_train, y_train)
"""
_FIT_SECS = 5.0


class Digits:
    """f and its data: 350 images to learn from, and two halves of the others.

    A call with a script returns its score on the validation images, as f does.
    """

    def __init__(self) -> None:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        X, y = load_digits(return_X_y=True)
        # These seeds are chosen: with these 350 images a plain SVC() has an accuracy of 0.961,
        # which leaves something to improve.
        X_train, X_rest, y_train, y_rest = train_test_split(
            X, y, train_size=350, stratify=y, random_state=2
        )
        X_valid, X_test, y_valid, y_test = train_test_split(
            X_rest, y_rest, test_size=0.5, stratify=y_rest, random_state=4
        )
        self.training = {"X_train": X_train, "y_train": y_train}
        self.validation = X_valid, y_valid
        self.test = X_test, y_test

    def __call__(self, script: str) -> tuple[float, str]:
        """Return the accuracy on the validation images, and which digits are confused."""
        predicted, true = self._predict(script, self.validation)
        confused: Counter[str] = Counter()
        for one, other in zip(true, predicted, strict=True):
            if one != other:
                confused[f"{one} taken for {other}"] += 1
        most = [f"{pair} ({count})" for pair, count in confused.most_common(3)]
        return _accuracy(predicted, true), f"mistakes: {', '.join(most) or 'none'}"

    def test_score(self, script: str) -> float:
        """Return the accuracy on the test images."""
        predicted, true = self._predict(script, self.test)
        return _accuracy(predicted, true)

    def _predict(self, script: str, part: tuple[Any, Any]) -> tuple[Any, Any]:
        """Run the script in a sandbox of its own; return its predictions and the true labels."""
        images, true = part
        inputs = {**self.training, "X_new": images}
        code = script + "\ny_new = clf.predict(X_new)\n"
        predicted = run_script(code, inputs, ["y_new"], _FIT_SECS)["y_new"]
        if getattr(predicted, "shape", None) != true.shape:
            raise ValueError(
                f"clf.predict gave {predicted!r:.80}: it must give one digit for each image"
            )
        return predicted, true


def _accuracy(predicted: Any, true: Any) -> float:
    return float((predicted == true).mean())


def run(steps: int, store: str, seed: int, callbacks: Sequence[Watcher] = ()) -> Result:
    """Run the demo and return its result.

    Raises MissingExtra where scikit-learn or libcst is not installed.
    """
    require("sklearn", "libcst", needed_by="the demo")
    return optimize_run(
        TASK,
        QUESTION,
        Digits(),
        X0,
        steps,
        "mutation",
        timeout_secs=2 * _FIT_SECS,
        store=store,
        seed=seed,
        callbacks=callbacks,
    )


def report(result: Result, store: str) -> str:
    """Return what the demo found, measured on the test images."""
    digits, script = Digits(), str(result.best_x)
    before, after = digits.test_score(X0), digits.test_score(script)
    count = len(digits.test[1])
    show = command_line("show", result.name, store=store)
    best = command_line("best", result.name, store=store)
    return (
        f"\nThe best script:\n\n{script}\n"
        f"test score {before:.4f} -> {after:.4f}: accuracy on {count} images that chose nothing\n"
        f"look at its trials: {show}\n"
        f"print its best x: {best}"
    )
