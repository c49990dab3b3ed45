"""UCB1: the upper confidence bound by which a bandit chooses among arms.

Auer, Cesa-Bianchi and Fischer: Finite-time Analysis of the Multiarmed Bandit Problem, Machine
Learning 47 (2002), figure 1. Play the arm j with the highest

    mean reward of j + sqrt(2 ln n / n_j)

where n_j of n plays went to j. Rewards are from 0 to 1. An arm that was never played comes first.
"""

from __future__ import annotations

import math


def ucb1(
    mean_reward: float,
    plays: float,
    total_plays: float,
    *,
    weight: float = 1.0,
    factor: float = 2.0,
) -> float:
    """Return the upper confidence bound of one arm; infinity for one that was never played.

    Args:
        mean_reward: of the arm, 0 to 1; of no meaning where `plays` is 0.
        plays: of the arm; a fraction where old plays count less.
        total_plays: of all arms, from 1.
        weight: of the exploration term; 1 in the paper.
        factor: of the logarithm; 2 in the paper.

    >>> ucb1(0.5, 10, 100) < ucb1(0.5, 5, 100) < ucb1(0.5, 0, 100)
    True
    """
    if plays <= 0:
        return math.inf
    return mean_reward + weight * math.sqrt(factor * math.log(total_plays) / plays)
