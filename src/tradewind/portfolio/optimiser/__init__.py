"""Weights chosen together: from what is expected and what is risked to a book inside its limits."""

from tradewind.portfolio.optimiser.conflicts import ConflictError
from tradewind.portfolio.optimiser.frontier import Point, frontier
from tradewind.portfolio.optimiser.problem import Problem, prepare
from tradewind.portfolio.optimiser.settings import OptimiserSection
from tradewind.portfolio.optimiser.solve import Binding, Solution, optimise, rebalance_due

__all__ = [
    "Binding",
    "ConflictError",
    "OptimiserSection",
    "Point",
    "Problem",
    "Solution",
    "frontier",
    "optimise",
    "prepare",
    "rebalance_due",
]
