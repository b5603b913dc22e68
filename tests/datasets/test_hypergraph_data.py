"""HypergraphData: batching shifts nodes by nodes and hyperedges by hyperedges."""

import torch
from torch_geometric.data import Batch
from torch_geometric.loader import DataLoader

from gnnzoo.datasets import HypergraphData


def graphs():
    first = HypergraphData(
        x=torch.arange(3.0).view(3, 1),
        # node 0 stands twice in hyperedge 0; hyperedge 1 is empty; hyperedge 2 holds one node; hyperedge 3 is empty
        hyperedge_index=torch.tensor([[0, 0, 1, 2], [0, 0, 0, 2]]),
        y=torch.tensor([0]),
        num_hyperedges=4,
    )
    second = HypergraphData(
        x=torch.arange(5.0).view(5, 1), hyperedge_index=torch.tensor([[4, 1], [0, 1]]), y=torch.tensor([1])
    )
    third = HypergraphData(
        x=torch.ones(1, 1), hyperedge_index=torch.zeros(2, 0, dtype=torch.int64), y=torch.tensor([2])
    )
    return [first, second, third, first]


def test_batch_in_closed_form():
    batch = Batch.from_data_list(graphs())
    assert batch.hyperedge_index.tolist() == [
        [0, 0, 1, 2, 3 + 4, 3 + 1, 9, 9, 10, 11],
        [0, 0, 0, 2, 4 + 0, 4 + 1, 6, 6, 6, 8],
    ]
    assert batch.num_nodes == 12
    assert batch.num_hyperedges == 4 + 2 + 0 + 4
    assert isinstance(batch.num_hyperedges, int)
    assert batch.batch.tolist() == [0] * 3 + [1] * 5 + [2] + [3] * 3
    assert batch.y.tolist() == [0, 1, 2, 0]


def test_batch_gives_its_parts_back():
    originals = graphs()
    for original, part in zip(originals, Batch.from_data_list(originals).to_data_list(), strict=True):
        assert torch.equal(part.hyperedge_index, original.hyperedge_index)
        assert part.num_hyperedges == original.num_hyperedges
        assert part.num_nodes == original.num_nodes


def test_batches_of_batches_and_loaders():
    nested = Batch.from_data_list([Batch.from_data_list(graphs()[:2]), Batch.from_data_list(graphs()[2:])])
    flat = Batch.from_data_list(graphs())
    assert torch.equal(nested.hyperedge_index, flat.hyperedge_index)
    assert nested.num_hyperedges == flat.num_hyperedges
    sizes = [batch.num_hyperedges for batch in DataLoader(graphs(), batch_size=3)]
    assert sizes == [6, 4]


def test_hyperedge_attributes_are_concatenated():
    pieces = graphs()
    for piece in pieces:
        piece.hyperedge_attr = torch.full((piece.num_hyperedges, 2), float(piece.y))
    batch = Batch.from_data_list(pieces)
    assert batch.hyperedge_attr[:, 0].tolist() == [0] * 4 + [1] * 2 + [0] * 4


def test_numbers_are_inferred_or_given():
    index = torch.tensor([[0, 4], [1, 2]])
    bare = HypergraphData(hyperedge_index=index)
    assert (bare.num_nodes, bare.num_hyperedges) == (5, 3)
    assert HypergraphData(hyperedge_index=index, num_nodes=9).num_nodes == 9
    empty = HypergraphData(x=torch.ones(2, 1), hyperedge_index=torch.zeros(2, 0, dtype=torch.int64))
    assert (empty.num_nodes, empty.num_hyperedges) == (2, 0)
    assert HypergraphData().num_hyperedges is None


def test_copies_keep_the_class():
    first = graphs()[0]
    assert type(first.clone()) is HypergraphData
    assert HypergraphData.from_dict(first.to_dict()).num_hyperedges == 4
