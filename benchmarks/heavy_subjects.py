"""Scoring functions with heavy packages; the fork server imports the whole module of its f."""

from __future__ import annotations

import time


def learner(x: str) -> float:
    """Return a number for which numpy and scikit-learn are needed."""
    import numpy
    from sklearn.ensemble import RandomForestClassifier

    return float(numpy.ones(8).sum()) + len(RandomForestClassifier(int(x)).get_params())


class Holder:
    """An f that holds large arrays, reads all of them, and takes its time."""

    def __init__(self, size_mb: int) -> None:
        import numpy

        self.arrays = [numpy.ones(size_mb * 2**20 // 4 // 8) for _ in range(4)]

    def __call__(self, x: str) -> float:
        """Return a sum after x seconds."""
        total = sum(float(array.sum()) for array in self.arrays)
        time.sleep(float(x))
        return total
