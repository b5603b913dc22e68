"""The few hot kernels that models call: sparse products whose structure is built once per graph.

Everything here is device-agnostic, deterministic on CPU and takes ``edge_index`` as a ``[2, num_edges]`` tensor or as
PyG's ``EdgeIndex``. Messages flow as in PyG: from ``edge_index[0]`` to ``edge_index[1]``.
"""

from gnnzoo.ops.accelerators import Accelerator, accelerators
from gnnzoo.ops.cache import cached
from gnnzoo.ops.dropout import dropout
from gnnzoo.ops.grouped import grouped_linear
from gnnzoo.ops.linear import sparse_linear
from gnnzoo.ops.norm import gcn_norm
from gnnzoo.ops.product import sddmm, spmm
from gnnzoo.ops.scan import selective_scan
from gnnzoo.ops.structure import Adjacency, adjacency

__all__ = [
    "Accelerator",
    "Adjacency",
    "accelerators",
    "adjacency",
    "cached",
    "dropout",
    "gcn_norm",
    "grouped_linear",
    "sddmm",
    "selective_scan",
    "sparse_linear",
    "spmm",
]
