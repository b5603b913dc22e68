"""Benchmarks by name: PyG data, the splits of a protocol, and the card that says what they are."""

from gnnzoo.datasets.bundle import Bundle, Split
from gnnzoo.datasets.hypergraph import HypergraphData
from gnnzoo.datasets.load import load_dataset

__all__ = ["Bundle", "HypergraphData", "Split", "load_dataset"]
