"""AutoML by rewriting a script: which scikit-learn program reads handwritten digits best?

x is the text of a script that fits `clf` on X_train and y_train. f runs it in a sandbox of its own,
which gets the training images and those to predict, and returns the predictions. The labels of the
validation images stay with f. It needs scikit-learn.

    python examples/automl_digits.py --model gpt-5-mini
    python examples/automl_digits.py --model mutation      # random changes, no key needed
"""

import argparse
import sys
from collections import Counter
from typing import Any

from llm_optimize import eval_utils, optimize
from llm_optimize.errors import LlmOptimizeError

try:
    from numpy.typing import NDArray
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
except ImportError:
    sys.exit(
        'error: this example needs scikit-learn: pip install "llm_optimize[automl]"'
    )

X0 = """\
from sklearn.svm import SVC

clf = SVC()
clf.fit(X_train, y_train)
"""

X, y = load_digits(return_X_y=True)
X_train, X_rest, y_train, y_rest = train_test_split(
    X, y, train_size=350, stratify=y, random_state=2
)
X_valid, X_test, y_valid, y_test = train_test_split(
    X_rest, y_rest, test_size=0.5, stratify=y_rest, random_state=0
)


def predict(script: str, X_new: NDArray[Any]) -> NDArray[Any]:
    """Return what a script's classifier predicts, in a sandbox with ten seconds and no labels."""
    inputs = {"X_train": X_train, "y_train": y_train, "X_new": X_new}
    code = script + "\ny_new = clf.predict(X_new)\n"
    y_new = eval_utils.run_script(code, inputs, ["y_new"], timeout_secs=60)["y_new"]
    if getattr(y_new, "shape", None) != (len(X_new),):
        raise ValueError(
            f"clf.predict gave {y_new!r:.80}: it must give one digit for each image"
        )
    return y_new  # type: ignore[no-any-return]


def f(script: str) -> tuple[float, str]:
    """Return the accuracy on validation images, and which digits are taken for which."""
    predicted = predict(script, X_valid)
    confused: Counter[str] = Counter()
    for true, digit in zip(y_valid, predicted, strict=True):
        if true != digit:
            confused[f"{true} taken for {digit}"] += 1
    most = [f"{pair} ({count} times)" for pair, count in confused.most_common(5)]
    accuracy = float((predicted == y_valid).mean())
    return accuracy, f"most frequent mistakes: {', '.join(most) or 'none'}"


def main() -> None:
    """Optimize, then test the first and the best script on images that chose nothing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model",
        help='a model\'s name, or "mutation" for random changes without a model',
    )
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int)
    arguments = parser.parse_args()
    result = optimize.run(
        "Write a Python script that fits a scikit-learn classifier clf on X_train, y_train: "
        "350 images of digits.",
        "Which script reaches a higher accuracy on images that it has not seen?",
        f,
        x0=X0,
        max_steps=arguments.steps,
        model=arguments.model,
        timeout_secs=30,
        seed=arguments.seed,
    )
    best = str(result.best_x)
    before = float((predict(X0, X_test) == y_test).mean())
    after = float((predict(best, X_test) == y_test).mean())
    print(
        f"\n{best}\ntest accuracy {before:.4f} -> {after:.4f} on {len(y_test)} images"
    )


if __name__ == "__main__":
    try:
        main()
    except LlmOptimizeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
