"""Three programs whose numbers and switches matter, for searches with the mutation proposer."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

CURVE = '''\
def curve(t):
    """Follow a measured curve, from 0 to 6."""
    base = 1.0 + 0.5 * t - 0.05 * t * t
    swing = 0.5 * sin(1.0 * t + 0.3)
    fade = exp(-0.1 * t)
    bump = 0.2 / (1.0 + (t - 1.0) * (t - 1.0) / 0.5)
    return base * fade + swing + bump
'''

PACKING = '''\
def priority(item, room, count):
    """Say how gladly a box with so much room and so many things takes an item; the highest does."""
    left = room - item
    tight = 1.0 / (left + 0.5)
    waste = -1.0 if left < 0.05 else 0.0
    large = 0.1 * item * left
    crowded = -0.2 * count
    fresh = -0.5 if room > 0.95 else 0.1
    return tight + waste + large + crowded + fresh
'''

BALANCE = '''\
def push(angle, turning, place, speed):
    """Return the force that keeps a pole upright on a cart, and the cart in its place."""
    force = 5.0 * angle + 0.5 * turning + 0.1 * place + 0.1 * speed
    calm = abs(angle) < 0.02
    if calm:
        force = force * 0.5
    limit = 3.0
    return max(-limit, min(limit, force))
'''


def curve_score(f: Callable[..., float], seed: int) -> float:
    """Return how near f comes to a curve: the negative root of the mean square."""
    rng = Random(f"curve/{seed}")
    a, b, c = rng.uniform(0.3, 0.9), rng.uniform(1.5, 3.0), rng.uniform(2.0, 5.0)
    gaps = []
    for step in range(61):
        t = step / 10
        wanted = (
            (2 - 0.2 * t) * math.exp(-a * t / 2)
            + 0.8 * math.sin(b * t)
            + 0.6 * math.exp(-((t - c) ** 2))
        )
        gaps.append((f(t) - wanted) ** 2)
    return -math.sqrt(math.fsum(gaps) / len(gaps))


def packing_score(f: Callable[..., float], seed: int) -> float:
    """Return the negative share of wasted room when items come one by one; a box holds 1."""
    rng = Random(f"packing/{seed}")
    boxes: list[list[float]] = []
    total = 0.0
    for _ in range(150):
        item = rng.choice([rng.uniform(0.05, 0.7), rng.gauss(0.35, 0.03)])
        total += item
        fitting = [box for box in boxes if 1 - math.fsum(box) >= item] + [[]]
        best = max(fitting, key=lambda box: f(item, 1 - math.fsum(box), len(box)))
        if not best:
            boxes.append(best)
        best.append(item)
    return -math.fsum((1 - math.fsum(box)) ** 2 for box in boxes) - (len(boxes) - total)


def balance_score(f: Callable[..., float], seed: int) -> float:
    """Return the negative mean distance of pole and cart from where they should be, over starts."""
    rng = Random(f"balance/{seed}")
    return (
        -math.fsum(
            _fall(f, rng.uniform(-0.3, 0.3), rng.uniform(-0.5, 0.5)) for _ in range(3)
        )
        / 3
    )


def _fall(f: Callable[..., float], angle: float, place: float) -> float:
    turning = speed = cost = 0.0
    for step in range(150):
        force = f(angle, turning, place, speed)
        pull = 9.8 * math.sin(angle) - force * math.cos(angle)
        turning += 0.04 * pull
        angle += 0.04 * turning
        speed += 0.04 * force
        place += 0.04 * speed
        cost += angle * angle * 10 + place * place + 0.01 * force * force
        if abs(angle) > 1 or abs(place) > 5:
            return (cost + 12.0 * (150 - step)) / 150
    return cost / 150


PROGRAMS: dict[str, tuple[str, Callable[[Callable[..., float], int], float]]] = {
    "program: curve": (CURVE, curve_score),
    "program: packing": (PACKING, packing_score),
    "program: balance": (BALANCE, balance_score),
}


def run_program(name: str, x: str, seed: int) -> float:
    """Return the score of a program in which numbers were changed; what it raises propagates."""
    names: dict[str, Any] = {"sin": math.sin, "exp": math.exp}
    exec(x, names)  # noqa: S102  # our own program, in which numbers were changed
    function = next(
        value for key, value in names.items() if key in ("curve", "priority", "push")
    )
    score = PROGRAMS[name][1](function, seed)
    if not math.isfinite(score):
        raise ValueError(f"the score is {score}")
    return score
