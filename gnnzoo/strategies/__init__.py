"""Ways to train: plain empirical risk minimisation and what papers put in its place."""

from gnnzoo.strategies.base import RunContext, Strategy, Teacher
from gnnzoo.strategies.erm import ERM

__all__ = ["ERM", "RunContext", "Strategy", "Teacher"]
