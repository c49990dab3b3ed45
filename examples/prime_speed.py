"""Speed that must stay correct: count the primes below n, as fast as possible.

x is the text of a script with a function `count_primes(n)`. f runs it in a sandbox together with a
timer, checks its answers first (a wrong one is no score at all, however fast) and returns how many
times faster it is than x0, measured in the same process, so that a busy machine slows both.

    python examples/prime_speed.py --model gpt-5-mini
"""

import argparse
import sys

from llm_optimize import eval_utils, optimize
from llm_optimize.errors import LlmOptimizeError

X0 = """\
def count_primes(n):
    count = 0
    for k in range(2, n):
        if all(k % d for d in range(2, int(k**0.5) + 1)):
            count += 1
    return count
"""

# What runs there after the candidate: the best of three, each time both.
_TIMER = """
import time

def seconds(function):
    begun = time.perf_counter()
    answer = function(20_000)
    return time.perf_counter() - begun, answer

candidate = count_primes
exec(reference)
answers = [candidate(n) for n in cases]
pairs = [(seconds(candidate), seconds(count_primes)) for _ in range(3)]
ratio = max(theirs / max(mine, 1e-9) for (mine, _), (theirs, _) in pairs)
answers += [answer for (_, answer), _ in pairs]
"""
CASES = {0: 0, 1: 0, 2: 0, 3: 1, 4: 2, 10: 4, 100: 25, 1000: 168, 7920: 1000}
EXPECTED = [*CASES.values(), *[2262] * 3]  # and below 20,000


def f(x: str) -> tuple[float, str]:
    """Return how many times faster than x0 the candidate is.

    Raises ValueError when it counts wrong.
    """
    inputs = {"cases": list(CASES), "reference": X0}
    outputs = ["answers", "ratio"]
    found = eval_utils.run_script(x + _TIMER, inputs, outputs, timeout_secs=20)
    asked = [*CASES, 20_000, 20_000, 20_000]
    for n, answer, expected in zip(asked, found["answers"], EXPECTED, strict=True):
        if answer != expected:
            raise ValueError(f"count_primes({n}) is {answer!r}, it must be {expected}")
    ratio = float(found["ratio"])
    return ratio, f"correct, and {ratio:.1f} times as fast as the first version"


def main() -> None:
    """Optimize, and show the fastest script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="a model's name")
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    best_score, _, best_x = optimize.run(
        "Write Python with a function count_primes(n) that returns how many primes are less "
        "than n. Only the standard library is installed.",
        "How can it be made faster and stay correct?",
        f,
        x0=X0,
        max_steps=arguments.steps,
        model=arguments.model,
        timeout_secs=60,
    )
    print(f"\n{best_x}\n{best_score:.1f} times as fast as the first version")


if __name__ == "__main__":
    try:
        main()
    except LlmOptimizeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
