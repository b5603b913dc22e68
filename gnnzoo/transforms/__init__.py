"""What is done to data before a model sees it."""

from gnnzoo.transforms.petals import FlowerPetals
from gnnzoo.transforms.positions import LaplacianPositions
from gnnzoo.transforms.prepare import prepare
from gnnzoo.transforms.walk_tokens import WalkTokens

__all__ = ["FlowerPetals", "LaplacianPositions", "WalkTokens", "prepare"]
