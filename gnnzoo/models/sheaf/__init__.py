r"""Neural Sheaf Diffusion, discrete (Diag, O(d), General) and continuous (the same as a differential equation).

Bodnar, Di Giovanni, Chamberlain, Liò, Bronstein: "Neural Sheaf Diffusion: A Topological Perspective on Heterophily and
Oversmoothing in GNNs", NeurIPS 2022, arXiv 2202.04579.

A cellular sheaf gives each node a vector space (stalk) of dimension :math:`d` and each end of each edge a linear map
:math:`F_{v \trianglelefteq e}` from the node's stalk to the edge's. Its Laplacian measures how much neighbours disagree
after these maps, and a layer diffuses along the Laplacian of a sheaf that it learns from the features:

.. math::
    X \leftarrow (1 + \tanh \varepsilon) \odot X - \sigma\left(\Delta_F (I_n \otimes A) X B^\top\right), \qquad
    F_{v \trianglelefteq e = (v, u)} = \phi\left(W [x_v \, \| \, x_u]\right)

Names used in this package: ``n`` nodes, ``m`` undirected edges, ``d`` the learned stalk dimension, ``width`` = d plus
the fixed low-pass and high-pass coordinates, ``h`` hidden channels per stalk coordinate.
The state is ``[n, width, h]``. The continuous models (``ode.py``) need torchdiffeq.
"""

from gnnzoo.models.sheaf.laplacian import SheafGraph, SheafLaplacian, orthogonal_map, sheaf_laplacian
from gnnzoo.models.sheaf.model import NeuralSheafDiffusion, SheafDiffusionLayer
from gnnzoo.models.sheaf.ode import ContinuousSheafDiffusion

__all__ = [
    "ContinuousSheafDiffusion",
    "NeuralSheafDiffusion",
    "SheafDiffusionLayer",
    "SheafGraph",
    "SheafLaplacian",
    "orthogonal_map",
    "sheaf_laplacian",
]
