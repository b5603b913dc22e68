"""Measures of health against graphs small enough to count by hand."""

import pytest
import torch
from pydantic import ValidationError
from torch_geometric.data import Data

from gnnzoo.cards import Claim, DatasetCard
from gnnzoo.datasets import Bundle, HypergraphData, Split
from gnnzoo.datasets.health import _MEASURES, agrees, edge_homophily, measure
from gnnzoo.errors import ConfigError


def card(**changes):
    plain = {
        "name": "hand-made",
        "summary": "five nodes",
        "family": "test",
        "loader": "nowhere.load",
        "task": "node",
        "num_outputs": 3,
        "counts": {"nodes": 5, "edges": 6, "features": 2},
        "protocols": {"p": {"summary": "one", "splits": 1, "metric": "accuracy"}},
        "default_protocol": "p",
    }
    return DatasetCard.model_validate(plain | changes)


def bundle(data, splits=(), **changes):
    return Bundle(card(**changes), "p", data, list(splits), "")


def graph():
    """0 -> 1 twice, 1 -> 0, 2 -> 2, 2 -> 0, 3 -> 0; node 4 alone. 2 and 3 have the neighbour 0 in common."""
    return Data(
        x=torch.tensor([[1.0, 0], [0, 0], [1, 0], [0, 2], [-0.0, 0.0]]),
        edge_index=torch.tensor([[0, 0, 1, 2, 2, 3], [1, 1, 0, 2, 0, 0]]),
        y=torch.tensor([0, 0, 1, 1, 2]),
    )


def value(name, found):
    return _MEASURES[name](found, None)


def test_of_a_graph():
    found = bundle(graph(), [Split(0, [0, 2], [1], [3, 4])])
    assert value("isolated_nodes", found) == 1
    assert value("graphs_with_isolated_nodes", found) == 1
    assert value("graphs_without_edges", found) == 0
    assert value("self_loops", found) == 1
    assert value("no_outgoing_edge", found) == 1
    assert value("directed", found) is True
    assert value("duplicate_edges", found) == 1
    assert value("zero_feature_rows", found) == 2
    assert value("duplicate_feature_rows", found) == 2
    assert value("class_sizes", found) == [2, 2, 1]
    assert value("majority_share", found) == 0.4
    assert value("missing_labels", found) == 0
    assert value("covered", found) == [5]
    assert value("never_used", found) == 0
    assert value("never_tested", found) == 3
    assert value("splits_testing_the_smallest_class", found) == [0]
    # of the test nodes 3 and 4, node 3 has the neighbours and the class of node 2, which is trained on
    assert value("neighbourhood_leak", found) == 0.5
    assert edge_homophily(found) == pytest.approx(4 / 6)


def test_leak_needs_the_same_label_and_the_same_neighbours():
    data = graph()
    data.y[3] = 0
    assert value("neighbourhood_leak", bundle(data, [Split(0, [2], [1], [3])])) == 0
    data = graph()
    data.edge_index = torch.tensor([[0, 2, 3, 3], [1, 0, 0, 1]])
    assert value("neighbourhood_leak", bundle(data, [Split(0, [2], [1], [3])])) == 0


def test_parts_that_are_reported_beside_test_cover_too():
    found = bundle(graph(), [Split(0, [0], [1], [2], extra={"test_id": [3]})])
    assert value("covered", found) == [4]
    assert value("never_used", found) == 1


def test_of_a_hypergraph():
    data = HypergraphData(
        x=torch.eye(5),
        hyperedge_index=torch.tensor([[0, 1, 0, 1, 1, 2], [0, 0, 1, 1, 1, 3]]),
        y=torch.zeros(5, dtype=torch.int64),
        num_hyperedges=5,
    )
    found = bundle(data, structure="hypergraph")
    assert value("isolated_nodes", found) == 2
    assert value("duplicate_incidences", found) == 1
    assert value("duplicate_hyperedges", found) == 2  # {0, 1} and the empty set stand twice
    assert value("singleton_hyperedges", found) == 1
    assert value("empty_hyperedges", found) == 2
    assert edge_homophily(found) is None


def test_labels_that_are_not_there():
    data = graph()
    data.y = torch.tensor([[1.0], [0.0], [float("nan")], [0.0], [0.0]])
    found = bundle(data, target="binary", num_outputs=1)
    assert value("missing_labels", found) == 1
    assert value("class_sizes", found) == [3, 1]


@pytest.mark.parametrize(
    ("expected", "found", "tolerance", "same"),
    [
        (3, 3, 0, True),
        (3, 4, 0, False),
        (0.497, 0.4973, 0.0005, True),
        (0.497, 0.498, 0.0005, False),
        ([1, 2], [1, 2], 0, True),
        ([1, 2], [1, 2, 3], 0, False),
        ({"a": 1.0}, {"a": 1.04}, 0.05, True),
        ({"a": 1}, {"b": 1}, 0, False),
        ("same", "same", 0, True),
        (True, False, 0, False),
    ],
)
def test_agreement(expected, found, tolerance, same):
    assert agrees(expected, found, tolerance) is same


def test_claims():
    claim = Claim(says="{value} nodes have no neighbour", measure="isolated_nodes", value=1)
    assert claim.text == "1 nodes have no neighbour"
    assert measure(claim, bundle(graph()), None) == 1
    dotted = Claim(says="x", measure="gnnzoo.datasets.health.self_loops", value=1)
    assert measure(dotted, bundle(graph()), None) == 1
    with pytest.raises(ConfigError, match="health measure 'isolated' does not exist"):
        measure(Claim(says="x", measure="isolated", value=1), bundle(graph()), None)
    with pytest.raises(ValidationError, match="measure and value belong together"):
        Claim(says="{value} nodes", value=3)
    with pytest.raises(ValidationError, match="says does not fit value"):
        Claim(says="{values} nodes", measure="isolated_nodes", value=3)


def test_cards_say_what_must_be_said():
    found = card(
        health=[
            "nothing special",
            {"says": "leaks", "warn": True},
            {"says": "q leaks", "warn": True, "protocols": ["q"]},
        ],
        protocols={
            "p": {"summary": "one", "splits": 1, "metric": "accuracy"},
            "q": {"summary": "two", "splits": 1, "metric": "accuracy", "selection": "on-test"},
        },
        unranked="a surrogate",
    )
    assert found.warnings("p") == ["leaks", "no leaderboard ranks models by it: a surrogate"]
    assert found.warnings("q")[:2] == ["leaks", "q leaks"]
    assert "selects on test" in found.warnings("q")[2]
    directed = card(health=[{"says": "directed", "warn": True, "unless": {"data.undirected": True}}])
    assert directed.warnings("p") == directed.warnings("p", {"data.undirected": False}) == ["directed"]
    assert directed.warnings("p", {"data.undirected": True}) == []
    with pytest.raises(ValidationError, match="'r' is not among protocols"):
        card(health=[{"says": "x", "protocols": ["r"]}])
    with pytest.raises(ValidationError, match="0 splits and the metric separated belong together"):
        card(protocols={"p": {"summary": "one", "splits": 0, "metric": "accuracy"}})
    with pytest.raises(ValidationError, match="splits must be 0"):
        card(task="distinguish")
