"""What is done to data before a model sees it."""

from gnnzoo.transforms.balls import EgoBalls
from gnnzoo.transforms.petals import FlowerPetals
from gnnzoo.transforms.polynomials import Polynomials
from gnnzoo.transforms.positions import LaplacianPositions
from gnnzoo.transforms.prepare import prepare
from gnnzoo.transforms.projection import PropagateThenUpdate
from gnnzoo.transforms.statistics import GraphStatistics
from gnnzoo.transforms.walk_tokens import WalkTokens

__all__ = [
    "EgoBalls",
    "FlowerPetals",
    "GraphStatistics",
    "LaplacianPositions",
    "Polynomials",
    "PropagateThenUpdate",
    "WalkTokens",
    "prepare",
]
