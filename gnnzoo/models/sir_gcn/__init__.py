"""Soft-isomorphic relational graph convolution: messages that are non-linear in both ends of an edge."""

from gnnzoo.models.sir_gcn.conv import GeneralSIRConv, SIRConv
from gnnzoo.models.sir_gcn.model import SIRGCN

__all__ = ["SIRGCN", "GeneralSIRConv", "SIRConv"]
