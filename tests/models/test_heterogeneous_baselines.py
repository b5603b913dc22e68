"""The heterogeneous baselines: closed forms of their layers, metapaths, types without features, and that they learn."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch_geometric.data import HeteroData

from gnnzoo.errors import ConfigError, DataError
from gnnzoo.models import HAN, HGT, RGCN, SeHGNNMean, SimpleHGN
from gnnzoo.models.simple_hgn import SimpleHGNConv
from gnnzoo.nn.heterogeneous import TypeEncoder, as_one_graph
from gnnzoo.runner import run
from gnnzoo.tasks import forward
from gnnzoo.transforms.metapaths import MetapathMeans, MetapathNeighbours

DOUBLE = torch.double


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def library() -> HeteroData:
    """Return four papers, three authors with features, and two venues without."""
    data = HeteroData()
    data["paper"].x, data["author"].x = torch.randn(4, 5, dtype=DOUBLE), torch.randn(3, 6, dtype=DOUBLE)
    data["venue"].num_nodes = 2
    writes, appears = torch.tensor([[0, 0, 1, 2], [0, 1, 1, 2]]), torch.tensor([[0, 1, 2], [0, 0, 1]])
    data["author", "writes", "paper"].edge_index = writes
    data["paper", "by", "author"].edge_index = writes.flip(0)
    data["paper", "in", "venue"].edge_index = appears
    data["venue", "has", "paper"].edge_index = appears.flip(0)
    return data


def mean(data: HeteroData, kind: tuple[str, str, str]) -> Tensor:
    matrix = torch.zeros(data[kind[2]].num_nodes, data[kind[0]].num_nodes, dtype=DOUBLE)
    source, target = data[kind].edge_index
    matrix[target, source] = 1
    return matrix / matrix.sum(1, keepdim=True).clamp(min=1)


@pytest.mark.parametrize("cls", [RGCN, HGT, SimpleHGN])
def test_types_without_features_have_learnt_vectors(cls: type) -> None:
    data = library()
    sizes = cls.infer(data)
    assert sizes["num_nodes"] == {"venue": 2}
    assert sizes["in_channels"] == {"paper": 5, "author": 6}
    model = cls(**sizes, out_channels=3, hidden_channels=8).double().eval()
    out = forward(model, data)
    assert out.shape == (4, 3)
    out[3].sum().backward()  # paper 3 has no neighbours: nothing reaches it
    (vectors,) = model.encoder.vectors
    assert vectors.grad is None or not vectors.grad.any()
    forward(model, data)[0].sum().backward()
    assert vectors.grad is not None
    assert vectors.grad[0].any()


def test_one_graph() -> None:
    data = library()
    encoder = TypeEncoder({"paper": 5, "author": 6}, {"venue": 2}, 8).double()
    h = encoder(data.x_dict)
    torch.testing.assert_close(h["author"], encoder.lins[1](data["author"].x))
    kinds = [("venue", "has", "paper"), ("author", "writes", "paper")]
    x, edge_index, edge_type, rows = as_one_graph(h, data.edge_index_dict, kinds)
    assert rows == {"paper": slice(0, 4), "author": slice(4, 7), "venue": slice(7, 9)}
    assert torch.equal(x[7:], h["venue"])
    assert edge_index.tolist() == [[7, 7, 8, 4, 4, 5, 6], [0, 1, 2, 0, 1, 1, 2]]
    assert edge_type.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert as_one_graph(h, {}, [])[1].shape == (2, 0)


def test_rgcn_is_the_sum_of_means() -> None:
    data = library()
    model = RGCN(**RGCN.infer(data), out_channels=3, hidden_channels=8, num_layers=1).double().eval()
    h = {kind: value.relu() for kind, value in model.encoder(data.x_dict).items()}
    (conv,) = model.convs
    expected = h["paper"] @ conv.root + conv.bias
    for number, kind in enumerate(model.edge_types):
        if kind[2] == "paper":
            expected = expected + mean(data, kind) @ h[kind[0]] @ conv.weight[number]
    torch.testing.assert_close(forward(model, data), expected)


def test_simple_hgn_attention_edge_by_edge() -> None:
    conv = SimpleHGNConv(4, 3, 2, heads=2, edge_channels=5, negative_slope=0.05, beta=0.1).double().eval()
    x = torch.randn(4, 4, dtype=DOUBLE)
    edge_index, edge_type = torch.tensor([[0, 1, 2, 3], [2, 2, 2, 0]]), torch.tensor([0, 1, 1, 0])
    before = torch.rand(4, 2, dtype=DOUBLE)
    out, alpha = conv(x, edge_index, edge_type, before, 0.5)
    h, kinds = conv.lin(x).view(4, 2, 3), conv.lin_edge(conv.types).view(2, 2, 5)
    expected = conv.residual(x).view(4, 2, 3).clone()
    for head in range(2):
        attention = torch.cat([conv.target[head], conv.source[head], conv.edge[head]])
        score = torch.stack(
            [
                attention @ torch.cat([h[j, head], h[i, head], kinds[kind, head]])
                for i, j, kind in zip(*edge_index.tolist(), edge_type.tolist(), strict=True)
            ]
        )
        score = F.leaky_relu(score, 0.05)
        share = 0.9 * torch.cat([score[:3].softmax(0), score[3:].softmax(0)]) + 0.1 * before[:, head]
        torch.testing.assert_close(alpha[:, head], share)
    for number, (i, j) in enumerate(edge_index.t().tolist()):
        expected[j] += alpha[number].unsqueeze(1) * h[i]
    torch.testing.assert_close(out, expected.flatten(1))


def test_simple_hgn_has_logits_of_one_norm() -> None:
    data = library()
    model = SimpleHGN(**SimpleHGN.infer(data), out_channels=3, hidden_channels=8).double().eval()
    with torch.no_grad():
        model.scale.fill_(2.5)
    torch.testing.assert_close(forward(model, data).norm(dim=1), torch.full((4,), 2.5, dtype=DOUBLE))


def test_hgt_wants_heads_that_divide() -> None:
    with pytest.raises(ConfigError, match="hidden_channels=10 is no multiple of heads=4"):
        HGT(**HGT.infer(library()), out_channels=3, hidden_channels=10)


def test_metapaths_are_reachable_pairs() -> None:
    data = MetapathNeighbours([["paper", "author", "paper"], ["paper", "venue", "paper"]])(library())
    assert data.node_types == ["paper"]
    through_authors, through_venues = (store.edge_index for store in data.edge_stores)
    assert set(map(tuple, through_authors.t().tolist())) == {(0, 0), (0, 1), (1, 0), (1, 1), (2, 2)}
    assert set(map(tuple, through_venues.t().tolist())) == {(0, 0), (0, 1), (1, 0), (1, 1), (2, 2)}
    assert through_authors.size(1) == 5  # papers 0 and 1 share one author, each pair counts once
    by_default = MetapathNeighbours()(library())
    assert len(by_default.edge_types) == 2
    long = MetapathNeighbours([["paper", "author", "paper", "venue", "paper"]])(library())
    assert len(long.edge_types) == 1


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (["author", "paper", "author"], "begins and ends with 'paper'"),
        (["paper"], "begins and ends with 'paper'"),
        (["paper", "paper"], "no relation leads along it"),
    ],
)
def test_wrong_metapaths_are_named(path: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MetapathNeighbours([path])(library())


def test_han_needs_its_transform() -> None:
    with pytest.raises(DataError, match=r"apply HAN\.pre_transform"):
        HAN.infer(library())
    data = HAN.pre_transform()(library())
    model = HAN(**HAN.infer(data), out_channels=3, hidden_channels=8, heads=2).double()
    assert forward(model, data).shape == (4, 3)


def test_means_along_metapaths() -> None:
    data = library()
    by, writes = mean(data, ("paper", "by", "author")), mean(data, ("author", "writes", "paper"))
    into, has = mean(data, ("paper", "in", "venue")), mean(data, ("venue", "has", "paper"))
    paper, author = data["paper"].x, data["author"].x
    out = MetapathMeans(2)(data)
    expected = {
        "paper": paper,
        "paper writes author": writes @ author,  # venues have no features: they are on the way, never its end
        "paper writes author by paper": writes @ by @ paper,
        "paper has venue in paper": has @ into @ paper,
    }
    assert list(out["paper"].groups) == list(expected)
    torch.testing.assert_close(out["paper"].x, torch.cat(list(expected.values()), dim=1).float())
    assert out.edge_types == []
    model = SeHGNNMean(**SeHGNNMean.infer(out), out_channels=3, hidden_channels=8)
    assert forward(model, out).shape == (4, 3)
    with pytest.raises(DataError, match=r"apply SeHGNNMean\.pre_transform"):
        SeHGNNMean.infer(data)
    del data["paper"].x, data["author"].x
    data["paper"].num_nodes, data["author"].num_nodes = 4, 3
    with pytest.raises(DataError, match="no type within 2 steps of 'paper' has features"):
        MetapathMeans(2)(data)


@pytest.mark.parametrize("model", ["rgcn", "hgt", "simple-hgn", "han", "sehgnn-mean"])
def test_baselines_learn(model: str, tmp_path) -> None:
    settings = {"model.hidden_channels": 16, "train.epochs": 30, "train.lr": 0.01}
    if model == "simple-hgn":
        settings |= {"model.heads": 2, "model.edge_channels": 8}
    found = run(model, "hetero-papers", splits=[0], settings=settings, results=tmp_path)
    (record,) = found.records
    assert record.result.test["accuracy"] > 0.6  # a third by guessing
