"""The data.* settings, in closed form."""

import pytest
import torch
from torch_geometric.data import Data, HeteroData

from gnnzoo.datasets import HypergraphData
from gnnzoo.errors import ConfigError
from gnnzoo.signature import validate
from gnnzoo.transforms import prepare


def data():
    return Data(
        x=torch.tensor([[1.0, 3.0], [0.0, 0.0], [2.0, 0.0]]),
        edge_index=torch.tensor([[2, 0, 1, 1, 0], [1, 1, 1, 0, 1]]),
        edge_attr=torch.tensor([[1.0], [2.0], [3.0], [4.0], [4.0]]),
        y=torch.tensor([0, 1, 2]),
    )


def test_by_default_nothing_changes():
    before, after = data(), prepare()(data())
    for key in before.keys():  # noqa: SIM118 - a method of PyG, not of a dict
        assert torch.equal(before[key], after[key])


def test_rows_are_normalized_and_empty_rows_stay():
    original = data()
    after = prepare(normalize_features="row")(original)
    assert after.x.tolist() == [[0.25, 0.75], [0.0, 0.0], [1.0, 0.0]]
    assert original.x.tolist() == data().x.tolist()


def test_undirected_edges_are_sorted_and_merged():
    after = prepare(undirected=True)(data())
    assert after.edge_index.tolist() == [[0, 1, 1, 1, 2], [1, 0, 1, 2, 1]]
    # 0-1 stands three times (2, 4, and 4 from the other side); the loop and 1-2 keep their attributes
    assert after.edge_attr.flatten().tolist() == pytest.approx([10 / 3, 10 / 3, 3, 1, 1])


def test_undirected_leaves_an_undirected_graph_alone():
    graph = Data(
        edge_index=torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), edge_attr=torch.eye(4)[[0, 0, 2, 2]], num_nodes=3
    )
    after = prepare(undirected=True)(graph)
    assert torch.equal(after.edge_index, graph.edge_index)
    assert torch.equal(after.edge_attr, graph.edge_attr)


def test_self_loops():
    removed = prepare(self_loops="remove")(data())
    assert removed.edge_index.tolist() == [[2, 0, 1, 0], [1, 1, 0, 1]]
    added = prepare(self_loops="add", undirected=True)(data())
    assert added.edge_index.tolist() == [[0, 0, 1, 1, 1, 2, 2], [0, 1, 0, 1, 2, 1, 2]]


def test_no_edges():
    empty = Data(x=torch.ones(2, 2), edge_index=torch.zeros(2, 0, dtype=torch.int64))
    assert prepare("row", True, "remove")(empty).edge_index.shape == (2, 0)
    assert prepare("row", True, "add")(empty).edge_index.tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize("self_loops", ["keep", "remove"])
def test_hypergraphs_keep_their_incidences(self_loops):
    index = torch.tensor([[0, 0, 1], [0, 0, 1]])
    graph = HypergraphData(x=torch.tensor([[1.0, 1.0], [4.0, 0.0]]), hyperedge_index=index, num_hyperedges=3)
    after = prepare("row", True, self_loops)(graph)
    assert after.x.tolist() == [[0.5, 0.5], [1.0, 0.0]]
    assert torch.equal(after.hyperedge_index, index)
    assert (type(after), after.num_hyperedges) == (HypergraphData, 3)


def test_every_node_gets_a_hyperedge_of_its_own():
    # hyperedge 0 lists node 0 twice and no other, 1 holds two nodes, 2 none, 3 node 2 alone; node 3 is in none
    index = torch.tensor([[0, 0, 1, 2, 2], [0, 0, 1, 1, 3]])
    graph = HypergraphData(x=torch.ones(4, 2), hyperedge_index=index, num_hyperedges=4)
    after = prepare(self_loops="add")(graph)
    assert torch.equal(after.hyperedge_index[:, :5], index), "those that there were come first"
    assert after.hyperedge_index[:, 5:].tolist() == [[1, 3], [4, 5]]
    assert after.num_hyperedges == 6
    assert torch.equal(prepare(self_loops="add")(after).hyperedge_index, after.hyperedge_index)
    assert graph.hyperedge_index.size(1) == 5


def test_columns_are_standardized():
    graph = Data(x=torch.tensor([[1.0, 5.1, 0.0], [3.0, 5.1, 0.0], [8.0, 5.1, 0.0]]))
    after = prepare("column")(graph).x
    torch.testing.assert_close(after.mean(0), torch.zeros(3))
    torch.testing.assert_close(after.std(0, correction=0), torch.tensor([1.0, 0.0, 0.0]))


def test_a_node_is_in_a_hyperedge_once():
    index = torch.tensor([[2, 0, 2, 1], [1, 0, 1, 1]])
    graph = HypergraphData(x=torch.ones(3, 2), hyperedge_index=index, num_hyperedges=3)
    after = prepare(coalesce=True)(graph)
    assert after.hyperedge_index.tolist() == [[0, 1, 2], [0, 1, 1]]
    assert after.num_hyperedges == 3
    assert torch.equal(prepare(coalesce=False)(graph).hyperedge_index, index)


def test_heterogeneous_graphs_are_prepared_per_type():
    graph = HeteroData()
    graph["a"].x = torch.tensor([[1.0, 1.0]])
    graph["b"].x = torch.tensor([[2.0, 2.0], [0.0, 5.0]])
    graph["b", "to", "b"].edge_index = torch.tensor([[1, 0], [0, 0]])
    graph["a", "to", "b"].edge_index = torch.tensor([[0], [1]])
    after = prepare("row", True, "remove")(graph)
    assert after["b"].x.tolist() == [[0.5, 0.5], [0.0, 1.0]]
    assert after["b", "to", "b"].edge_index.tolist() == [[0, 1], [1, 0]]
    assert after["b", "rev_to", "a"].edge_index.tolist() == [[1], [0]]


def test_lists_are_prepared_one_by_one():
    after = prepare("row", self_loops="remove")([data(), data()])
    assert [graph.num_edges for graph in after] == [4, 4]


def test_settings_are_checked_by_the_signature():
    assert validate(prepare, {"undirected": True}, "data")["normalize_features"] == "none"
    with pytest.raises(ConfigError, match=r"data\.normalize_features"):
        validate(prepare, {"normalize_features": "rows"}, "data")
    with pytest.raises(ConfigError, match="did you mean 'self_loops'"):
        validate(prepare, {"self_loop": "add"}, "data")


def test_categories_become_columns():
    graph = Data(x=torch.tensor([[0, 2], [1, 0]]), edge_attr=torch.tensor([[1], [0], [1]]))
    sizes = {"x": [2, 3], "edge_attr": [2]}
    assert prepare(categories=sizes)(graph).x.dtype == torch.int64
    after = prepare(one_hot=True, categories=sizes)(graph)
    assert after.x.tolist() == [[1, 0, 0, 0, 1], [0, 1, 1, 0, 0]]
    assert after.edge_attr.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert graph.x.tolist() == [[0, 2], [1, 0]]
    # the sum of one learnt vector per category, as OGB's encoders give
    tables = [torch.randn(n, 4) for n in sizes["x"]]
    summed = sum(table[graph.x[:, i]] for i, table in enumerate(tables))
    assert torch.allclose(after.x @ torch.cat(tables), summed)
