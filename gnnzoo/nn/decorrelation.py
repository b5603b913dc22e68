r"""Statistical independence of dimensions, after random Fourier features, under weights of the samples.

StableNet (`arXiv 2104.07876 <https://arxiv.org/abs/2104.07876>`_), whose code the anonymous one of L2R-GNN shares, and
L2R-GNN (`arXiv 2312.12475 <https://arxiv.org/abs/2312.12475>`_) look for weights under which (groups of) dimensions of
a representation are uncorrelated. Features are ``[num_features, num_samples, channels]``; leading dimensions, such as
the steps of a loop that draws anew each time, are done at once. Both losses return their gradient with respect to the
weights, written out: it takes two matrix products, and features are constants here.
"""

from __future__ import annotations

import math

import torch
from sklearn.cluster import AgglomerativeClustering
from torch import Tensor

__all__ = [
    "apart",
    "cluster_dimensions",
    "coded_decorrelation",
    "coded_features",
    "coded_gradient",
    "correlations",
    "dissimilarity",
    "paper_decorrelation",
    "textbook_features",
]


def coded_features(x: Tensor, w: Tensor, b: Tensor, concatenate: bool = False) -> Tensor:
    r"""Return Fourier features as the code of StableNet and L2R-GNN computes them.

    .. math::
        m_{niq} = x_{ni} w_q + b_{iq}, \quad
        \hat m_{niq} = \frac{\pi}{2} \frac{m_{niq} - \min_j m_{njq}}{\max_j m_{njq} - \min_j m_{njq}}, \quad
        u_{niq} = \sqrt{2/Q}\,(\cos \hat m_{niq} + \sin \hat m_{niq})

    The scaling is over the dimensions of one sample; where all are alike (one dimension, say) :math:`\hat m` is 0.

    Args:
        x: samples ``[num_samples, channels]``.
        w: ``[..., Q]``, standard normal.
        b: ``[..., channels, Q]``, uniform up to :math:`2 \pi`.
        concatenate: cosines and sines are features of their own instead of being added.

    Returns:
        ``[..., Q, num_samples, channels]``, or twice as many features.
    """
    m = x * w[..., None, None] + b.mT.unsqueeze(-2)
    m -= m.amin(dim=-1, keepdim=True)
    m *= math.pi / 2 / m.amax(dim=-1, keepdim=True).clamp_(min=torch.finfo(m.dtype).tiny)
    scale = math.sqrt(2 / w.size(-1))
    if concatenate:
        return torch.cat([m.cos(), m.sin()], dim=-3).mul_(scale)
    return m.sub_(math.pi / 4).cos_().mul_(math.sqrt(2) * scale)  # cos m + sin m


def textbook_features(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    r"""Return :math:`u_{niq} = \sqrt 2 \cos(\omega_{iq} x_{ni} + \phi_{iq})`, ``[..., Q, num_samples, channels]``.

    Args:
        x: samples ``[num_samples, channels]``.
        w: :math:`\omega`, ``[..., channels, Q]``, standard normal.
        b: :math:`\phi`, ``[..., channels, Q]``, uniform up to :math:`2 \pi`.
    """
    return (x * w.mT.unsqueeze(-2)).add_(b.mT.unsqueeze(-2)).cos_().mul_(math.sqrt(2))


def coded_decorrelation(u: Tensor, p: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return the loss of the code, and its gradient along the simplex of the weights.

    .. math::
        L = \sum_q \sum_{i \ne j} I(i, j)\,(C_q)_{ij}^2, \quad
        C_q = \sum_n p_n u_{nq} u_{nq}^\top - \Bigl(\sum_n p_n u_{nq}\Bigr) \Bigl(\sum_n p_n u_{nq}\Bigr)^\top

    Args:
        u: features ``[Q, num_samples, channels]``.
        p: weights ``[num_samples]`` whose sum is 1.
        pairs: I, ``[channels, channels]``, symmetric, of 0 and 1; the diagonal is 0 (:func:`apart`).

    Returns:
        The loss, and :func:`coded_gradient`.
    """
    grad = coded_gradient(u, p, pairs)
    return p @ grad / 2, grad  # of the centred features the loss is a quadratic form of p


def coded_gradient(u: Tensor, p: Tensor, pairs: Tensor) -> Tensor:
    """Return the derivative of :func:`coded_decorrelation` with respect to ``p``, ``[num_samples]``.

    It is right up to one number that is added to all entries, which changes nothing as long as the sum of ``p`` is 1.
    """
    u = u - (p @ u).unsqueeze(-2)
    covariance = ((u * p.unsqueeze(-1)).mT @ u).mul_(pairs)
    return (u @ covariance).mul_(u).sum(dim=(0, 2)).mul_(2)


def paper_decorrelation(u: Tensor, v: Tensor, w: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return the loss of the paper, and its gradient.

    .. math::
        L = \sum_{i < j} I(i, j)\,\lVert \hat\Sigma_{ij} \rVert_F^2, \quad
        \hat\Sigma_{ij} = \frac{1}{N-1} \sum_n \Bigl(w_n u_{ni} - \frac 1 N \sum_m w_m u_{mi}\Bigr)^\top
        \Bigl(w_n v_{nj} - \frac 1 N \sum_m w_m v_{mj}\Bigr) \in \mathbb R^{Q \times Q}

    Args:
        u: features ``[Q, num_samples, channels]`` of the first dimension of a pair.
        v: of the second one, drawn independently.
        w: weights ``[num_samples]`` whose mean is 1.
        pairs: I, ``[channels, channels]``, as :func:`apart` returns it.

    Returns:
        The loss, and its derivative with respect to ``w``.
    """
    features, samples, channels = u.shape
    first, second = (f.transpose(0, 1).reshape(samples, features * channels) for f in (u, v))
    a, b = (f * w.unsqueeze(1) for f in (first, second))
    a, b = a - a.mean(dim=0), b - b.mean(dim=0)
    scale = 1 / max(samples - 1, 1)
    covariance = (a.T @ b).mul_(scale).mul_(pairs.triu(1).repeat(features, features))
    grad = (first * (b @ covariance.T) + second * (a @ covariance)).sum(dim=1).mul_(2 * scale)
    return w @ grad / 4, grad  # the loss is a polynomial of degree 4 of w without lower terms


def apart(cluster: Tensor, dtype: torch.dtype) -> Tensor:
    """Return which dimensions lie in different clusters: 0 or 1, ``[channels, channels]``.

    Args:
        cluster: of each dimension, ``[channels]``; as many as there are dimensions means all pairs.
        dtype: of the result.
    """
    return (cluster.unsqueeze(0) != cluster.unsqueeze(1)).to(dtype)


def correlations(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return Pearson's correlations of the dimensions in each environment, ``[num_environments, channels, channels]``.

    A dimension that is constant (up to rounding) has correlation 0 with all, itself included.

    Args:
        x: samples ``[num_environments, num_samples, channels]``.
        mask: ``[num_environments, num_samples]``, which samples there are; None: all.
    """
    mask = x.new_ones(x.shape[:2]) if mask is None else mask.to(x.dtype)
    x = x * mask.unsqueeze(-1)
    centred = (x - x.sum(1, keepdim=True) / mask.sum(1).clamp(min=1)[:, None, None]) * mask.unsqueeze(-1)
    variance = centred.square().sum(1, keepdim=True)
    rounding = (8 * torch.finfo(x.dtype).eps) ** 2 * x.square().sum(1, keepdim=True)
    unit = centred * torch.where(variance > rounding, variance, torch.inf).rsqrt()
    return unit.mT @ unit


def dissimilarity(correlation: Tensor) -> Tensor:
    r"""Return how unstable the correlation of each pair of dimensions is: its standard deviation over environments.

    .. math::
        \mathrm{Dis}(i, j) = \sqrt{\frac 1 E \sum_e \bigl(\rho_e(i, j) - \bar\rho(i, j)\bigr)^2}

    Args:
        correlation: ``[num_environments, channels, channels]``.

    Returns:
        ``[channels, channels]``; small means that two dimensions belong together.
    """
    return (correlation - correlation.mean(dim=0)).square().mean(dim=0).sqrt()


def cluster_dimensions(distance: Tensor, num_clusters: int) -> Tensor:
    """Return the cluster of each dimension by average linkage, ``[channels]`` int64.

    Args:
        distance: ``[channels, channels]``, symmetric.
        num_clusters: how many; from the number of dimensions on, each has its own.
    """
    channels = len(distance)
    if num_clusters >= channels:
        return torch.arange(channels, device=distance.device)
    linkage = AgglomerativeClustering(num_clusters, metric="precomputed", linkage="average")
    return torch.from_numpy(linkage.fit_predict(distance.double().cpu().numpy())).to(distance.device)
