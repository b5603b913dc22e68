"""Number types shared by constructors and configuration: a range stated once is checked everywhere, without torch.

A constructor writes ``dropout: Dropout = 0.5``; the runner builds its validation from that signature.
"""

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

__all__ = ["Dropout", "NonNegativeFloat", "NonNegativeInt", "PositiveFloat", "PositiveInt", "Probability", "Seed"]

Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""What NumPy's generators can be seeded with."""

PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A number above 0."""

NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A number, 0 or above."""

Dropout = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
"""A probability of dropping, in [0, 1): dropping everything is a mistake, not a setting."""

Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""A probability in [0, 1]."""
