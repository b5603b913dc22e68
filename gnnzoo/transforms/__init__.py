"""What is done to data before a model sees it."""

from gnnzoo.transforms.petals import FlowerPetals
from gnnzoo.transforms.prepare import prepare

__all__ = ["FlowerPetals", "prepare"]
