"""PPGN and PPGN++: the equations, padding, one node, what they tell apart."""

import networkx as nx
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from gnnzoo import create_model
from gnnzoo.errors import DataError
from gnnzoo.models import PPGN, PPGNPlus
from gnnzoo.nn.pairs import PairInput, PairLayout
from gnnzoo.tasks import forward
from gnnzoo.testing import graphs
from gnnzoo.transforms import Polynomials

DOUBLE = torch.double


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def build(cls: type[PPGN] = PPGNPlus, in_channels: int = 3, width: int = 5, **settings: object) -> PPGN:
    model = cls(in_channels, 2, width, 3, width, **settings).double()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():  # biases that leak into padding are to be seen
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return model


def equation(model: PPGN, x: Tensor) -> Tensor:
    """Return the output for one graph in dense form ``[channels, n, n]``, as the paper has it."""
    n = x.size(1)
    off = ~torch.eye(n, dtype=torch.bool)

    def perceptron(layers: nn.ModuleList, value: Tensor) -> Tensor:
        for layer in layers:
            value = torch.einsum("oc,cij->oij", layer.weight, value) + layer.bias[:, None, None]
            value = value.relu()
        return value

    for block in model.blocks:
        if model.extended:
            x = torch.cat([x, torch.eye(n, dtype=x.dtype)[None]])
        y = perceptron(block.mlp1, torch.cat([x, x.mT]) if model.extended else x) @ perceptron(block.mlp2, x)
        x = torch.einsum("oc,cij->oij", block.skip.weight, torch.cat([x, y])) + block.skip.bias[:, None, None]
    means = torch.cat(
        [x.diagonal(dim1=1, dim2=2).mean(1), x[:, off].mean(1) if n > 1 else torch.zeros(len(x)).double()]
    )
    return model.lins[1](model.lins[0](means).relu())


@pytest.mark.parametrize("cls", [PPGN, PPGNPlus])
def test_network_is_its_equation_with_its_gradients(cls: type[PPGN]) -> None:
    model = build(cls)
    sizes, width = [4, 1, 6, 4, 3], model.input.out_channels
    dense = [torch.randn(width, n, n, dtype=DOUBLE, requires_grad=True) for n in sizes]
    padded = torch.stack([nn.functional.pad(x, (0, 6 - x.size(1)) * 2) for x in dense])
    mask = torch.stack([nn.functional.pad(torch.ones(1, n, n), (0, 6 - n) * 2) for n in sizes])
    found, expected = model.forward_dense(padded, mask), torch.stack([equation(model, x) for x in dense])
    torch.testing.assert_close(found, expected)
    points, weight = [*dense, *model.parameters()], torch.randn_like(expected)
    ours, theirs = (torch.autograd.grad((out * weight).sum(), points) for out in (found, expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_what_stands_in_padding_plays_no_part() -> None:
    model = build()
    x, mask = torch.randn(2, 4, 5, 5, dtype=DOUBLE), torch.zeros(2, 1, 5, 5)
    mask[0, :, :3, :3], mask[1, :, :5, :5] = 1, 1
    y = model.forward_dense(x, mask)
    larger, wider = torch.full((2, 4, 8, 8), 7.0, dtype=DOUBLE), torch.zeros(2, 1, 8, 8)
    larger[..., :5, :5], wider[..., :5, :5] = x, mask
    torch.testing.assert_close(model.forward_dense(larger, wider), y)
    torch.testing.assert_close(model.forward_dense(x[:1], mask[:1]), y[:1])


def pairs_of(graph: nx.Graph, **attributes: Tensor) -> Data:
    edge_index = torch.from_numpy(nx.to_numpy_array(graph)).nonzero().t().contiguous()
    return Data(torch.ones(len(graph), 1), edge_index, **attributes)


@pytest.mark.parametrize("cls", [PPGN, PPGNPlus])
def test_one_node_gives_numbers(cls: type[PPGN]) -> None:
    graph = Polynomials(6, "dense")(graphs.single_node())
    model = build(cls, graph.num_features, polynomials=[0, 11])
    y = forward(model.float(), graph)
    y.sum().backward()
    assert y.isfinite().all()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())


def test_input_is_polynomials_adjacency_edges_and_nodes() -> None:
    first = Data(
        torch.tensor([[5.0], [6.0], [7.0]]),
        torch.tensor([[0, 1, 1, 2, 2], [1, 0, 2, 1, 1]]),
        torch.tensor([1.0, 2.0, 3.0, 4.0, 8.0]),
        pair_attr=torch.arange(18.0).view(9, 2),
    )
    second = Data(
        torch.tensor([[8.0], [9.0]]),
        torch.tensor([[0], [1]]),
        torch.tensor([-1.0]),
        pair_attr=-torch.arange(8.0).view(4, 2),
    )
    whole = Batch.from_data_list([first, second])
    module = PairInput(1, 1, (1,))
    out, layout = module(whole.x, whole.edge_index, whole.edge_attr, whole.pair_attr, whole.batch, torch.float32)
    assert layout.order.tolist() == [1, 0]
    small, large = out[:, :4].view(4, 2, 2), out[:, 4:].view(4, 3, 3)
    assert small.tolist() == [[[-1, -3], [-5, -7]], [[0, 1], [0, 0]], [[0, -1], [0, 0]], [[8, 0], [0, 9]]]
    assert large[0].flatten().tolist() == list(range(1, 18, 2))
    assert large[1].tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    assert large[2].tolist() == [[0, 1, 0], [2, 0, 3], [0, 6, 0]]
    assert large[3].diagonal().tolist() == [5, 6, 7]


def test_missing_features_are_named() -> None:
    graph = graphs.path()
    with pytest.raises(DataError, match=r"data\.polynomial_form=dense"):
        forward(PPGNPlus(6, 2, 4, 1, 4, polynomials=[0]), graph)
    with pytest.raises(DataError, match="3 edge features needs edge_attr"):
        forward(PPGN(6, 2, 4, 1, 4, edge_channels=3), graph)


def test_layout_transposes_and_multiplies() -> None:
    layout = PairLayout.of(torch.tensor([3, 1, 2, 3]))
    assert layout.sizes == [(1, 1), (2, 1), (3, 2)]
    values = torch.randn(4, 23, dtype=DOUBLE, requires_grad=True)
    turned = layout.transpose(values)
    for block, other in zip(layout.blocks(values), layout.blocks(turned), strict=True):
        assert torch.equal(other, block.mT)
    assert torch.autograd.gradcheck(layout.transpose, values)
    a = layout.blocks(values)[2]
    torch.testing.assert_close(layout.blocks(layout.matmul(values, turned))[2], a @ a.mT)


def test_sizes_come_from_the_data() -> None:
    ring, clique = pairs_of(nx.cycle_graph(5)), pairs_of(nx.complete_graph(4))
    found = [Polynomials(6, "dense")(graph) for graph in (ring, clique)]
    assert create_model("ppgn-plus", found, out_channels=1).input.selected == tuple(range(12))
    assert create_model("ppgn-plus", found[:1], out_channels=1).input.selected == (11,)
    assert create_model("ppgn-plus", found, out_channels=1, polynomials=[0]).input.selected == (0,)
    del ring.pair_attr
    assert create_model("ppgn-plus", ring, out_channels=1).input.out_channels == 2
    assert sum(p.numel() for p in PPGNPlus(11, 1).parameters()) == 498_941
    assert sum(p.numel() for p in PPGNPlus(19, 12, 110, 6, 95).parameters()) == 496_687
    assert sum(p.numel() for p in PPGNPlus(12, 16, 75, 4, 55).parameters()) == 150_801


@pytest.mark.parametrize("cls", [PPGN, PPGNPlus])
def test_power_is_that_of_2_fwl_and_polynomials_add_to_it(cls: type[PPGN]) -> None:
    hexagon, triangles = pairs_of(nx.cycle_graph(6)), pairs_of(nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3)))
    model = build(cls, 1, 32)
    first, second = (forward(model, graph.clone().apply(_double)) for graph in (hexagon, triangles))
    assert not torch.allclose(first, second, rtol=1e-3)
    steps = [(0, 1), (1, 0), (1, 1)]
    shrikhande = nx.Graph(
        (4 * i + j, 4 * ((i + a) % 4) + (j + b) % 4) for i in range(4) for j in range(4) for a, b in steps
    )
    rook = nx.line_graph(nx.complete_bipartite_graph(4, 4))
    both = [pairs_of(nx.convert_node_labels_to_integers(rook)), pairs_of(shrikhande)]
    first, second = (forward(model, graph.clone().apply(_double)) for graph in both)
    torch.testing.assert_close(first, second, rtol=1e-9, atol=1e-9)
    model = build(cls, 1, 32, polynomials=[0])
    first, second = (forward(model, Polynomials(6, "dense", norm=True)(graph).apply(_double)) for graph in both)
    assert first.isfinite().all()
    assert not torch.allclose(first, second, rtol=1e-3)


def _double(value: Tensor) -> Tensor:
    return value.double() if value.is_floating_point() else value
