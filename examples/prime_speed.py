"""Speed that must stay correct: count the primes below n, as fast as possible.

x is the text of a script with a function `count_primes(n)`. f runs it in a sandbox together with a
timer and checks its answers first: a wrong one is a failed trial, however fast. The score says how
many times faster it is than x0. Both are timed in turns in the same process, so that a busy machine
slows both, and a new best is timed three times before it counts.

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

# What runs there after the candidate: both in turns, and the fastest time of each.
_TURNS = 7
_TIMER = f"""
import time

def seconds(function):
    begun = time.perf_counter()
    answers.append(function(20_000))
    return max(time.perf_counter() - begun, 1e-9)

candidate = count_primes
exec(reference)
answers = [candidate(n) for n in cases]
turns = [(seconds(candidate), seconds(count_primes)) for _ in range({_TURNS})]
mine, theirs = map(min, zip(*turns))
ratio = theirs / mine
"""
CASES = {0: 0, 1: 0, 2: 0, 3: 1, 4: 2, 10: 4, 100: 25, 1000: 168, 7920: 1000}
_ASKED = [*CASES, *[20_000] * (2 * _TURNS)]
_EXPECTED = [*CASES.values(), *[2262] * (2 * _TURNS)]


def f(x: str) -> tuple[float, str]:
    """Return how many times faster than x0 the candidate is.

    Raises ValueError when it counts wrong.
    """
    inputs = {"cases": list(CASES), "reference": X0}
    outputs = ["answers", "ratio"]
    found = eval_utils.run_script(x + _TIMER, inputs, outputs, timeout_secs=20)
    for n, answer, expected in zip(_ASKED, found["answers"], _EXPECTED, strict=True):
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
    result = optimize.run(
        "Write Python with a function count_primes(n) that returns how many primes are less "
        "than n. Only the standard library is installed.",
        "How can it be made faster and stay correct?",
        f,
        x0=X0,
        max_steps=arguments.steps,
        model=arguments.model,
        timeout_secs=60,
        repeats=3,
    )
    if result.best is None or result.best.number == 0:
        print("\nno script was faster than the first one")
        return
    print(
        f"\n{result.best_x}\n{result.best_score:.1f} times as fast as the first version"
    )


if __name__ == "__main__":
    try:
        main()
    except LlmOptimizeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
