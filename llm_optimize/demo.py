"""The demo: a plain scikit-learn script gets better on the digits data, without any model.

The candidate is the text of a script that fits `clf` on the training images. f scores it on the validation images. The
test images, by which nothing is chosen, are looked at once, at the end, for the first script and for the best one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from .eval_utils import run_script
from .optimize import run as optimize_run
from .records import Result, Watcher
from .store import option_of

TASK = "Write a Python script that fits a scikit-learn classifier clf on X_train and y_train: 8x8 images of digits."
QUESTION = "Which script reaches a higher accuracy on images that it has not seen?"
INTRODUCTION = """\
Demo: a scikit-learn script is improved by the `mutation` proposer, small random changes without any language model.
It is the baseline that a model has to beat. To try one on a task of your own: llm-optimize run --help"""
X0 = """\
from sklearn.svm import SVC

clf = SVC()
clf.fit(X_train, y_train)
"""
_FIT_SECS = 5.0


class Digits:
    """f and its data: 350 images to learn from, and two halves of the others."""

    def __init__(self) -> None:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        X, y = load_digits(return_X_y=True)
        # With these 350 images a plain SVC() is right on 0.961 of all others; which of them score or test is left to 0.
        X_train, X_rest, y_train, y_rest = train_test_split(
            X, y, train_size=350, stratify=y, random_state=2
        )
        X_valid, X_test, y_valid, y_test = train_test_split(
            X_rest, y_rest, test_size=0.5, stratify=y_rest, random_state=4
        )
        self.seen = {"X_train": X_train, "y_train": y_train}
        self.validation = X_valid, y_valid
        self.test = X_test, y_test

    def __call__(self, script: str) -> tuple[float, str]:
        """Be f: return the accuracy on the validation images, and which digits are confused."""
        said, true = self._predicted(script, self.validation)
        pairs = Counter(
            f"{one} taken for {other}"
            for one, other in zip(true, said, strict=True)
            if one != other
        )
        often = ", ".join(f"{pair} ({count})" for pair, count in pairs.most_common(3))
        return float((said == true).mean()), f"mistakes: {often or 'none'}"

    def test_score(self, script: str) -> float:
        """Return the accuracy on the test images."""
        said, true = self._predicted(script, self.test)
        return float((said == true).mean())

    def _predicted(self, script: str, part: tuple[Any, Any]) -> tuple[Any, Any]:
        """Let a script that gets no labels but those to learn from predict; return its predictions and the truth."""
        inputs = {**self.seen, "X_new": part[0]}
        said = run_script(
            script + "\ny_new = clf.predict(X_new)\n", inputs, ["y_new"], _FIT_SECS
        )["y_new"]
        if getattr(said, "shape", None) != part[1].shape:
            raise ValueError(
                f"clf.predict gave {said!r:.80}: it must give one digit for each image"
            )
        return said, part[1]


def run(steps: int, store: str, seed: int, callbacks: Sequence[Watcher] = ()) -> Result:
    """Run the demo and return its result."""
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
    where = option_of(store)
    return (
        f"\nThe best script:\n\n{script}\n"
        f"test score {before:.4f} -> {after:.4f}: accuracy on {len(digits.test[1])} images that chose nothing\n"
        f"run {result.name}: llm-optimize show {result.name}{where}   |   llm-optimize best {result.name}{where}"
    )
