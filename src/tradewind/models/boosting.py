"""What the forecasters made of LightGBM share: their settings and the parameters of every fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tradewind.models.forecast import LEVELS


@dataclass(eq=False, kw_only=True)
class BoostedTrees:
    """Settings of boosted trees, strongly regularised: daily returns are mostly noise.

    Parameters
    ----------
    trees, leaves, learning_rate, minimum_leaf
        Size of each booster.
    maximum_samples
        Training samples drawn (seeded) when there are more.
    levels, threads, seed
        Quantile levels, threads of one fit (one: on a busy machine two wait for each other), seed of every draw.
    """

    trees: int = 80
    leaves: int = 15
    learning_rate: float = 0.05
    minimum_leaf: int = 400
    maximum_samples: int = 150_000
    levels: Sequence[float] = LEVELS
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Keep the levels as a tuple, whatever a playbook wrote."""
        self.levels = tuple(self.levels)

    def booster_parameters(self, **more: Any) -> dict[str, Any]:
        """Return LightGBM's parameters: these settings, and what one forecaster wants besides."""
        return {
            **repeatable(self.threads, self.seed),
            "num_leaves": self.leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": self.minimum_leaf,
            **more,
        }


def repeatable(threads: int, seed: int) -> dict[str, Any]:
    """Return the parameters with which LightGBM gives the same trees for a seed, silently and on few bins."""
    return {
        "max_bin": 63,
        "num_threads": threads,
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "verbose": -1,
    }
