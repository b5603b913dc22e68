"""Last.fm (HetRec 2011) as MAGNN uses it: which artists a user listens to, friends of users, tags of artists."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Bundle, Split
from gnnzoo.datasets.number_files import read_columns
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.errors import DataError

__all__ = ["load", "popularity"]

_USERS, _ARTISTS, _TAGS = 1892, 17632, 11945  # of HetRec 2011; ids in the files start from 1
_SEED = 453289  # of MAGNN's notebook preprocess_LastFM
_TAGGED = 2  # how many users must have given a tag to an artist


def load(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[HeteroData, list[Split]]:
    """Build the graph and the pairs of MAGNN (the card's only protocol) from the raw files.

    Only training pairs are edges, both ways; artists keep tags that two or more users gave them, and tags that no
    artist keeps are dropped; weights are dropped, as in PyG. The pairs to score, on the edge type user to artist, are
    those of train, then those of val, then those of test. Negative pairs are drawn by the seed of MAGNN's notebook, as
    many as positive ones, from all pairs that are in no part, and are mixed with the positive ones, the same way every
    time, so that the order tells nothing. Training pairs are positive only.

    Raises:
        DataError: a file is missing or damaged, or a line of it does not fit.
    """
    with files.layout(list(card.files)) as folder:
        user, artist, _ = read_columns(folder / "user_artist.dat", "iii", card.name)
        friends = read_columns(folder / "user_user.dat", "ii", card.name)
        tagged, tag = read_columns(folder / "artist_tag.dat", "ii", card.name)
        with np.load(folder / "train_val_test_idx.npz") as stored:
            parts = [stored[f"{part}_idx"] for part in ("train", "val", "test")]
    users, artists = np.concatenate([user, *friends]), np.concatenate([artist, tagged])
    for ids, limit, what in ((users, _USERS, "users"), (artists, _ARTISTS, "artists"), (tag, _TAGS, "tags")):
        if ids.min() < 1 or ids.max() > limit:
            raise DataError(f"{card.name}: {what} must be 1..{limit}, found {ids.min()}..{ids.max()}")
    linked = (user - 1) * _ARTISTS + artist - 1
    if (np.diff(linked) <= 0).any():
        raise DataError(f"{card.name}: user_artist.dat must be sorted by user and artist, without repetition")

    pairs, times = np.unique((tagged - 1) * _TAGS + tag - 1, return_counts=True)
    tagged, tag = np.divmod(pairs[times >= _TAGGED], _TAGS)
    kept, tag = np.unique(tag, return_inverse=True)
    data = HeteroData()
    data["user"].num_nodes, data["artist"].num_nodes, data["tag"].num_nodes = _USERS, _ARTISTS, len(kept)
    train = torch.from_numpy(np.stack(np.divmod(linked[parts[0]], _ARTISTS)))
    tags = torch.from_numpy(np.stack([tagged, tag]))
    data["user", "to", "user"].edge_index = _sorted(torch.from_numpy(np.stack(friends) - 1))
    data["user", "to", "artist"].edge_index = _sorted(train)
    data["artist", "to", "user"].edge_index = _sorted(train.flip(0))
    data["artist", "to", "tag"].edge_index = _sorted(tags)
    data["tag", "to", "artist"].edge_index = _sorted(tags.flip(0))

    val, test = (linked[part] for part in parts[1:])
    drawn = _unlinked(linked, len(val) + len(test))
    groups = [linked[parts[0]], val, np.sort(drawn[: len(val)]), test, np.sort(drawn[len(val) :])]
    y = np.repeat(np.array([1, 1, 0, 1, 0], np.float32), [len(group) for group in groups])
    first, second = len(parts[0]), len(parts[0]) + 2 * len(val)
    rows = np.split(np.arange(len(y)), [first, second])
    random = np.random.RandomState(0)
    order = np.concatenate([rows[0], random.permutation(rows[1]), random.permutation(rows[2])])
    store = data["user", "to", "artist"]
    store.edge_label_index = torch.from_numpy(np.stack(np.divmod(np.concatenate(groups)[order], _ARTISTS)))
    store.y = torch.from_numpy(y[order]).unsqueeze(1)
    return data, [Split(0, *map(torch.from_numpy, rows))]


def _unlinked(linked: np.ndarray, number: int) -> np.ndarray:
    """Draw pairs that are not linked; pairs are numbers in the order of a user-artist matrix, links sorted."""
    free = _USERS * _ARTISTS - len(linked)
    drawn = np.random.RandomState(_SEED).choice(free, number, replace=False)
    # so many links stand before the n-th pair without one
    return drawn + np.searchsorted(linked - np.arange(len(linked)), drawn, side="right")


def _sorted(index: Tensor) -> Tensor:
    """Sort edges by source and target, the order in which PyG reads them out of MAGNN's matrix."""
    return index[:, torch.from_numpy(np.lexsort(index.flip(0).numpy()))].contiguous()


def popularity(bundle: Bundle, files: RawFiles) -> float:
    """ROC AUC on the test pairs of how many training users an artist has."""
    store = bundle.graphs[0]["user", "to", "artist"]
    listeners = torch.bincount(store.edge_index[1], minlength=_ARTISTS)
    test = bundle.splits[0].test
    return float(roc_auc_score(store.y[test].flatten(), listeners[store.edge_label_index[1, test]]))
