"""Hypergraphs that AllSet compares on: attributes of animals, mushrooms and posts, shapes, and Yelp."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.feature_extraction.text import CountVectorizer

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets.bundle import Bundle, Split
from gnnzoo.datasets.hypergraph import HypergraphData
from gnnzoo.datasets.number_files import bad_line, read_table
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.datasets.splits import some_per_class, uniform
from gnnzoo.errors import DataError

__all__ = ["class_hyperedges", "feature_hyperedges", "load", "load_yelp", "pure_hyperedges"]

_WORDS = 1000


def load(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[HypergraphData, list[Split]]:
    """Read ``.content`` (id, features, class) and ``.edges`` (node, hyperedge); rows follow ``.content``.

    Ids of hyperedges follow those of nodes. ``.content`` need not be in the order of its ids (20newsW100 is not), and
    rows with ids of hyperedges, which some copies have, are left out.

    ``random-50-25-25`` is random, without regard to classes, as AllSet and ED-HNN draw; ``random-20-100`` has 20
    training and 100 validation nodes of every class, as LightHGNN draws.

    Raises:
        DataError: a line of a file is not what it must be.
    """
    content, edges = sorted(card.files)
    with files.layout(list(card.files)) as folder:
        rows = read_table(folder / content, card.name)
        ends = read_table(folder / edges, card.name)
    where = f"{card.name}: {content}"
    ids, labels = _whole(rows[:, 0], where, "node"), _whole(rows[:, -1], where, "class")
    nodes, hyperedges = (_whole(ends[:, i], f"{card.name}: {edges}", what) for i, what in enumerate(("node", "edge")))
    start = hyperedges.min()
    kept = ids < start
    known, order = np.unique(ids[kept], return_index=True)
    if len(known) < kept.sum():
        raise DataError(f"{where}: an id occurs twice")
    place = np.searchsorted(known, nodes).clip(max=len(known) - 1)
    if (wrong := known[place] != nodes).any():
        line = int(wrong.argmax())
        raise bad_line(f"{card.name}: {edges}", line, f"node {nodes[line]} is not in {content}")
    y = labels[kept] - labels[kept].min()
    data = HypergraphData(
        x=torch.from_numpy(rows[kept, 1:-1].astype(np.float32)),
        hyperedge_index=torch.from_numpy(np.stack([order[place], hyperedges - start])),
        y=torch.from_numpy(y),
        num_hyperedges=int(hyperedges.max() - start) + 1,
    )
    return data, _splits(card, protocol, data)


def _whole(values: np.ndarray, where: str, what: str) -> np.ndarray:
    if (wrong := (values != np.floor(values)) | (values < 0)).any():
        line = int(wrong.argmax())
        raise bad_line(where, line, f"{what} {values[line]} is not a whole number")
    return values.astype(np.int64)


def _splits(card: DatasetCard, protocol: str, data: HypergraphData) -> list[Split]:
    count = card.protocols[protocol].splits
    if protocol == "random-20-100":
        return some_per_class(data.y, count, train=20, val=100)
    return uniform(len(data.y), (0.5, 0.25), count)


def load_yelp(card: DatasetCard, protocol: str, files: RawFiles) -> tuple[HypergraphData, list[Split]]:
    """Read Yelp from AllSet's five tables: restaurants, and the set of those that a user went to as a hyperedge.

    Features are latitude and longitude, state and city one-hot, and the 1000 most frequent words of the names; the
    class is the mean number of stars, in halves. Splits are drawn as in :func:`load`.

    Raises:
        DataError: a table lacks a column or a value, or a hyperedge names a restaurant that is in no table.
    """
    with files.layout(list(card.files)) as folder:
        tables = {Path(file).stem.removeprefix("yelp_restaurant_"): _csv(folder / file, card) for file in card.files}
    parts = {part: tables[part] for part in ("latlong", "locations", "name", "business_stars")}
    if len({len(table) for table in parts.values()}) > 1:
        sizes = ", ".join(f"{part} {len(table)}" for part, table in parts.items())
        raise DataError(f"{card.name}: the tables have different numbers of restaurants: {sizes}")
    places, names = parts["locations"], parts["name"].iloc[:, 0].fillna("").astype(str)
    stars = _column(parts["business_stars"], parts["business_stars"].columns[0], "business_stars", card.name)
    state, city = (_column(places, column, "locations", card.name) for column in ("state_int", "city_int"))
    words = CountVectorizer(max_features=_WORDS, stop_words="english", strip_accents="ascii").fit_transform(names)
    # one array, filled in place: the real one has 50758 x 1862 entries
    starts = np.cumsum([2, state.max(), city.max(), words.shape[1]])
    x = np.zeros((len(stars), starts[-1]), dtype=np.float32)
    x[:, :2] = parts["latlong"].to_numpy(dtype=np.float32)
    everybody = np.arange(len(stars))
    x[everybody, starts[0] + state - 1] = 1
    x[everybody, starts[1] + city - 1] = 1
    words = words.tocoo()
    x[words.row, starts[2] + words.col] = words.data
    nodes, hyperedges = (_column(tables["incidence_H"], end, "incidence_H", card.name) for end in ("node", "he"))
    if (wrong := nodes > len(stars)).any():
        line = int(wrong.argmax())
        where = f"{card.name}: yelp_restaurant_incidence_H.csv"
        raise bad_line(where, line + 1, f"there is no restaurant {nodes[line]}, only {len(stars)}")
    data = HypergraphData(
        x=torch.from_numpy(x),
        hyperedge_index=torch.from_numpy(np.stack([nodes - 1, hyperedges - 1])),
        y=torch.from_numpy(stars - stars.min()),
        num_hyperedges=int(hyperedges.max()),
    )
    return data, _splits(card, protocol, data)


def _csv(path: Path, card: DatasetCard) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{card.name}: {path.name} is no readable table ({' '.join(str(error).split())})") from error


def _column(table: pd.DataFrame, column: str, part: str, name: str) -> np.ndarray:
    where = f"{name}: yelp_restaurant_{part}.csv"
    if column not in table:
        raise DataError(f"{where} has no column {column!r}")
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
    if (wrong := ~(values >= 1) | (values != np.floor(values))).any():
        line = int(wrong.argmax())
        # the first line is the header
        raise bad_line(where, line + 1, f"{column} {table[column].iloc[line]} is not a whole number from 1")
    return values.astype(np.int64)


def _held_together(bundle: Bundle, groups: torch.Tensor) -> int:
    """Return how many of the groups, ``[num_nodes, num_groups]``, are exactly the nodes of a hyperedge."""
    data = bundle.graphs[0]
    members = torch.zeros(data.num_nodes, data.num_hyperedges, dtype=torch.bool)
    members[data.hyperedge_index[0], data.hyperedge_index[1]] = True
    hyperedges = {column.numpy().tobytes() for column in members.T}
    return sum(group.numpy().tobytes() in hyperedges for group in groups.T)


def class_hyperedges(bundle: Bundle, files: RawFiles) -> int:
    """Classes whose nodes are exactly those of a hyperedge."""
    y = bundle.graphs[0].y
    return _held_together(bundle, y[:, None] == y.unique())


def feature_hyperedges(bundle: Bundle, files: RawFiles) -> int:
    """Values of a feature whose nodes are exactly those of a hyperedge, over all features."""
    x = bundle.graphs[0].x
    return _held_together(bundle, torch.cat([column[:, None] == column.unique() for column in x.T], dim=1))


def pure_hyperedges(bundle: Bundle, files: RawFiles) -> int:
    """Hyperedges whose nodes are all of one class."""
    data = bundle.graphs[0]
    nodes, hyperedges = data.hyperedge_index
    pairs = torch.unique(torch.stack([hyperedges, data.y[nodes]]), dim=1)
    return int((torch.bincount(pairs[0]) == 1).sum())
