"""Two numbers: the smallest task there is, to see the loop at work.

The model sees two numbers and how far they are from the best ones; it proposes others. f is plain
arithmetic.

    python examples/two_numbers.py --steps 10
"""

import argparse
import sys

from llm_optimize import optimize
from llm_optimize.errors import LlmOptimizeError


def f(x: str) -> tuple[float, str]:
    """Return how good two numbers are, and what to tell the model."""
    a, b = map(float, x.strip("[] \n").split(","))
    distance = a**2 + b**2
    return -distance, f"f(x) = {distance:g}"


def main() -> None:
    """Optimize, and say what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model",
        help='a model\'s name, or "mutation" for random changes without a model',
    )
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    best_score, _, best_x = optimize.run(
        "Decrease the value of f(x). x is two numbers in [-10, 10], written as [a, b].",
        "What x makes f(x) smaller?",
        f,
        x0="[5, 3]",
        max_steps=arguments.steps,
        model=arguments.model,
        stop_score=0.0,
    )
    print(f"best x: {best_x} with f(x) = {-best_score:g}")


if __name__ == "__main__":
    try:
        main()
    except LlmOptimizeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
