"""A text, graded by a rubric: one model writes, the same or another one grades, in its own session.

The judge sees the rubric and the text and nothing else: not who wrote it, not what was tried
before. Its whole answer is the feedback for the writer. The rubric has braces of its own; only {x}
is filled in.

    python examples/rubric_text.py --model gpt-5-mini --judge gpt-5
"""

import argparse
import re
import sys

from llm_optimize import eval_utils, optimize
from llm_optimize.errors import LlmOptimizeError

X0 = "Our umbrella is good. It is made of materials. You can use it when it rains. Buy it."
RUBRIC = """\
Grade this product text for an umbrella from 0 to 10. Two points each: it is concrete (numbers,
materials), it answers what a buyer asks (wind, weight, size), it has no empty praise, it has a
rhythm when read aloud, it is at most 80 words.

The text:
{x}

First one sentence for each of the five. Then close with a line such as
final_score=7.5 {and nothing else}."""


def parse_score(answer: str) -> float:
    """Return the last final_score of a judge's answer. Raises ValueError when there is none."""
    found = re.findall(r"final_score=([\d.]+)", answer)
    if not found:
        raise ValueError("the judge gave no final_score")
    return float(found[-1])


def main() -> None:
    """Optimize the text, and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="who writes: a model's name")
    parser.add_argument(
        "--judge", help="who judges: a model's name; the writer's where it is left out"
    )
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    best_score, _, best_x = optimize.run(
        "Write a product text for an umbrella, in at most 80 words, that makes careful buyers "
        "want it.",
        "Which text would the judge grade higher?",
        eval_utils.get_llm_scorer(
            RUBRIC, parse_score, arguments.judge or arguments.model
        ),
        x0=X0,
        max_steps=arguments.steps,
        model=arguments.model,
        stop_score=10.0,
    )
    print(f"\n{best_x}\n\ngraded {best_score:g} of 10")


if __name__ == "__main__":
    try:
        main()
    except LlmOptimizeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
