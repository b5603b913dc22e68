"""GloGNN++ and LINKX by the authors' names: closed forms of the definitions, renumbered nodes, what cannot be."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import erdos_renyi_graph, to_undirected

from gnnzoo.errors import ConfigError, DataError
from gnnzoo.models.build import create_model
from gnnzoo.models.glognn import GloGNN
from gnnzoo.models.linkx import LINKX
from gnnzoo.ops import adjacency
from gnnzoo.runner.config import resolve

DOUBLE = torch.double
NODES, FEATURES, CLASSES = 20, 5, 3


@pytest.fixture
def data() -> Data:
    torch.manual_seed(0)
    edge_index = to_undirected(erdos_renyi_graph(NODES - 1, 0.2))  # the last node has no neighbour
    return Data(x=torch.randn(NODES, FEATURES, dtype=DOUBLE), edge_index=edge_index, num_nodes=NODES)


def build(cls: type, **settings: Any) -> Any:
    torch.manual_seed(1)
    model = cls(FEATURES, CLASSES, NODES, **{"hidden_channels": 8, **settings}).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # nothing keeps an initial value that may hide a mistake
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def rows(data: Data) -> Tensor:
    return adjacency(data.edge_index, NODES).constant(DOUBLE).to_dense()


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def embedded(model: GloGNN, data: Data) -> Tensor:
    """Return the input of the propagations, by dense matrices."""
    own, graph = model.node_lin(data.x), rows(data) @ model.edge_lin.weight + model.edge_lin.bias
    return model.out_lin(model.lin((model.delta * own + (1 - model.delta) * graph).relu()).relu())


@pytest.mark.parametrize(("alpha", "beta", "gamma"), [(1.0, 1.0, 0.3), (0.5, 2.0, 0.0), (3.0, 0.0, 0.8)])
@pytest.mark.parametrize("layers", [1, 3])
def test_coefficients_of_all_pairs_are_the_optimum(
    data: Data, alpha: float, beta: float, gamma: float, layers: int
) -> None:
    """Z minimises ||H - (1-γ) Z H - γ H_0||² + α ||Z||² + β ||Z - Σ_k A^k||², k from 0: here by N x N matrices."""
    settings = {"diagonal": False, "order_weights": "equal", "orders": 2, "norm_layers": layers}
    model = build(GloGNN, alpha=alpha, beta=beta, gamma=gamma, **settings)
    first = h = embedded(model, data)
    adj, eye = rows(data), torch.eye(NODES, dtype=DOUBLE)
    near = eye + adj + adj @ adj
    for _ in range(layers):
        inside = (1 - gamma) * h @ h.t() + beta * near - gamma * (1 - gamma) * first @ h.t()
        z = inside @ torch.linalg.inv((1 - gamma) ** 2 * h @ h.t() + (alpha + beta) * eye)
        h = (1 - gamma) * z @ h + gamma * first
    close(model(data.x, data.edge_index), h)


def test_the_optimum_is_one() -> None:
    """The gradient of the objective of the test above vanishes at its Z."""
    torch.manual_seed(0)
    h, first, near = torch.randn(3, 6, 6, dtype=DOUBLE).unbind()
    alpha, beta, gamma, eye = 0.7, 1.3, 0.4, torch.eye(6, dtype=DOUBLE)
    inside = (1 - gamma) * h @ h.t() + beta * near - gamma * (1 - gamma) * first @ h.t()
    z = (inside @ torch.linalg.inv((1 - gamma) ** 2 * h @ h.t() + (alpha + beta) * eye)).requires_grad_()
    terms = (h - (1 - gamma) * z @ h - gamma * first, alpha**0.5 * z, beta**0.5 * (z - near))
    (grad,) = torch.autograd.grad(torch.stack([term.square().sum() for term in terms]).sum(), z)
    assert grad.abs().max() < 1e-12


def test_a_diagonal_of_ones_changes_nothing(data: Data) -> None:
    plain, scaled = (build(GloGNN, diagonal=diagonal) for diagonal in (False, True))
    weights = plain.state_dict()
    scaled.load_state_dict({**weights, "scale": torch.ones(CLASSES, dtype=DOUBLE)})
    close(scaled(data.x, data.edge_index), plain(data.x, data.edge_index))
    scaled.scale.data *= 2
    assert (scaled(data.x, data.edge_index) - plain(data.x, data.edge_index)).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["equal", "learnt", "node"])
def test_weights_of_orders(data: Data, kind: str) -> None:
    model = build(GloGNN, order_weights=kind, orders=3)
    h, m = torch.randn(2, NODES, CLASSES, dtype=DOUBLE)
    adj = rows(data)
    powers = [torch.linalg.matrix_power(adj, k) @ m for k in range(4)]
    if kind == "equal":
        expected = torch.stack(powers).sum(0)
    elif kind == "learnt":
        expected = torch.stack([w * p for w, p in zip(model.weight, powers[1:], strict=True)]).sum(0)
    else:
        weights = (h @ model.weight1).relu() @ model.weight2
        expected = torch.stack([weights[:, [k]] * powers[k + 1] for k in range(3)]).sum(0)
    close(model.neighbours(h, m, data.edge_index), expected)


@pytest.mark.parametrize("settings", [{}, {"order_weights": "node", "diagonal": False}])
def test_with_its_weights_renumbered_it_is_equivariant(data: Data, settings: dict[str, Any]) -> None:
    model = build(GloGNN, **settings)
    expected, order = model(data.x, data.edge_index), torch.randperm(NODES)
    model.edge_lin.weight.data = model.edge_lin.weight.data[order]
    close(model(data.x[order], order.argsort()[data.edge_index]), expected[order])


def test_it_is_bound_to_a_graph(data: Data) -> None:
    model = create_model("glognn", data, out_channels=3)
    with pytest.raises(DataError, match="a graph of 20 nodes, not of 19"):
        model(data.x[:-1].float(), data.edge_index[:, :0])
    with pytest.raises(DataError, match="several graphs"):
        create_model("glognn", [data, data], out_channels=3)


def test_no_closed_form() -> None:
    with pytest.raises(ConfigError, match=r"model\.alpha=0 and model\.beta=0"):
        GloGNN(2, 2, 3, alpha=0.0, beta=0.0)
    with pytest.raises(ConfigError, match=r"model\.gamma=1"):
        GloGNN(2, 2, 3, gamma=1.0)


def theirs(sizes: dict[str, tuple[int, ...]], num_layers: dict[str, list[int]]) -> dict[str, Tensor]:
    """Return random weights of the authors' LINKX: ``num_layers`` are the widths of each perceptron."""
    torch.manual_seed(2)
    weights = {name: torch.randn(*size, dtype=DOUBLE) for name, size in sizes.items()}
    for name, widths in num_layers.items():
        for i, (before, after) in enumerate(pairwise(widths)):
            weights[f"{name}.lins.{i}.weight"] = torch.randn(after, before, dtype=DOUBLE) / before**0.5
            weights[f"{name}.lins.{i}.bias"] = torch.randn(after, dtype=DOUBLE)
            if i < len(widths) - 2:
                norm = nn.BatchNorm1d(after).double()
                nn.init.normal_(norm.weight)
                nn.init.normal_(norm.bias)
                norm.running_mean = torch.randn(after, dtype=DOUBLE)
                norm.running_var = torch.rand(after, dtype=DOUBLE) + 0.5
                weights |= {f"{name}.bns.{i}.{key}": value for key, value in norm.state_dict().items()}
    return weights


def perceptron(weights: dict[str, Tensor], name: str, h: Tensor) -> Tensor:
    count = len([key for key in weights if key.startswith(f"{name}.lins.")]) // 2
    for i in range(count):
        h = h @ weights[f"{name}.lins.{i}.weight"].t() + weights[f"{name}.lins.{i}.bias"]
        if i < count - 1:  # ReLU, then batch normalization
            scale, shift, mean, var = (
                weights[f"{name}.bns.{i}.{key}"] for key in ("weight", "bias", "running_mean", "running_var")
            )
            h = (h.relu() - mean) / (var + 1e-5).sqrt() * scale + shift
    return h


@pytest.mark.parametrize("inner_activation", [False, True])
@pytest.mark.parametrize("depths", [(1, 1, 1), (2, 3, 1), (3, 1, 2)])
def test_linkx_by_the_authors_names(data: Data, inner_activation: bool, depths: tuple[int, int, int]) -> None:
    width, (final, edge, node) = 6, depths
    weights = theirs(
        {"W.weight": (width, 2 * width), "W.bias": (width,)},
        {
            "mlpA": [NODES, *[width] * edge],
            "mlpX": [FEATURES, *[width] * node],
            "mlp_final": [*[width] * final, CLASSES],
        },
    )
    layers = {"num_layers": final, "init_layers_A": edge, "init_layers_X": node, "inner_activation": inner_activation}
    sizes = {"num_nodes": NODES, "in_dim": FEATURES, "hidden": width, "num_classes": CLASSES, "dropout": 0.0}
    model = LINKX.load_reference({**sizes, "backbone_args": layers}, weights).eval()
    a, x = perceptron(weights, "mlpA", rows(data)), perceptron(weights, "mlpX", data.x)
    mixed = torch.cat([a, x], dim=1) @ weights["W.weight"].t() + weights["W.bias"]
    mixed = mixed.relu() if inner_activation else mixed
    close(model(data.x, data.edge_index), perceptron(weights, "mlp_final", (mixed + a + x).relu()))


def test_old_configurations_of_linkx_keep_their_hash() -> None:
    assert "inner_activation" not in resolve("linkx", "chameleon@geom-gcn").to_dict()["model"]
    changed = resolve("linkx", "chameleon@geom-gcn", layers=[("test", {"model.inner_activation": True})])
    assert changed.to_dict()["model"]["inner_activation"]
