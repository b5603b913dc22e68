"""Hypergraph benchmarks: published facts, rules of splits, features made of labels, small files of every layout."""

import dataclasses
import pickle

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix, eye

from gnnzoo.datasets import load_dataset
from gnnzoo.datasets.committees import label_in_features
from gnnzoo.datasets.edge_dependent import (
    repeated_insiders,
    repeated_node_sets,
    told_by_position,
    told_by_position_in_the_file,
)
from gnnzoo.datasets.health import agrees, measure
from gnnzoo.datasets.load import build_dataset
from gnnzoo.datasets.number_files import parse_lists, read_table
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.errors import ConfigError, DataError
from gnnzoo.registry import DATASETS


def small(name, tmp_path, contents, **changes):
    """Write files of a dataset's layout; return the card without checksums, and the files."""
    card = DATASETS.card(name)
    assert set(contents) <= set(card.files)
    card = card.model_copy(update={"files": dict.fromkeys(card.files), **changes})
    for file, content in contents.items():
        path = tmp_path / card.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return card, RawFiles(card, tmp_path)


def incidences(data):
    return list(map(tuple, data.hyperedge_index.T.tolist()))


# lists and tables of numbers


def test_lists_of_numbers():
    numbers, sizes = parse_lists(b"3,1,2\r\n40\n5,5", ",", "set: file")
    assert numbers.tolist() == [3, 1, 2, 40, 5, 5]
    assert sizes.tolist() == [3, 1, 2]
    assert parse_lists(b"1\t2\n", "\t", "set: file")[1].tolist() == [2]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"1,2\n3,x\n4", 2),
        (b"1,2\n\n3", 2),
        (b"1,,2\n3", 1),
        (b",1\n", 1),
        (b"1\n2,\n", 2),
        (b"1\n1 2\n", 2),
        (b"1\n2\n-3", 3),
        (b"1\n2.5", 2),
        (b"1\n1234567890123456789", 2),
        (b"", 1),
    ],
)
def test_a_line_that_is_no_list_is_named(text, line):
    with pytest.raises(DataError, match=rf"^set: file line {line}: .* not a list of whole numbers") as caught:
        parse_lists(text, ",", "set: file")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2\n3 four\n", "line 2: 'four' is not a number"),
        ("1 2\n\n3\n", "line 3: 1 fields instead of 2"),
        ("1 2\n3 nan\n", "line 2: 'nan' is not a number"),
        ("", "holds no numbers"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_a_line_that_is_no_row_is_named(tmp_path, text, message):
    path = tmp_path / "set.content"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"^set: set.content {message}$"):
        read_table(path, "set")


# the splits of AllSet and ED-HNN, LightHGNN, HyperGCN and UniGNN

HYPERGCN = [
    pytest.param(name, each, marks=pytest.mark.data(name), id=name)
    for name, each in (("cocitation-cora", 20), ("coauthorship-cora", 20), ("cocitation-citeseer", 23))
]


@pytest.mark.data("cocitation-cora")
def test_random_halves_ignore_classes_and_round_down():
    bundle = load_dataset("cocitation-cora@random-50-25-25")
    sizes = {(len(s.train), len(s.val), len(s.test)) for s in bundle.splits}
    assert sizes == {(1354, 677, 677)}
    shares = {tuple(torch.bincount(bundle.data.y[s.train]).tolist()) for s in bundle.splits}
    assert len(shares) == 10, "a stratified split would have the same classes every time"
    assert torch.equal(
        torch.cat([getattr(bundle.splits[3], p) for p in ("train", "val", "test")]).sort().values, torch.arange(2708)
    )


@pytest.mark.parametrize(("name", "each"), HYPERGCN)
def test_the_ten_splits_of_hypergcn(name, each):
    bundle, clean = load_dataset(f"{name}@hypergcn"), load_dataset(f"{name}@hypergcn-val")
    y = bundle.data.y
    classes = len(y.unique())
    for split, other in zip(bundle.splits, clean.splits, strict=True):
        assert torch.bincount(y[split.train]).tolist() == [each] * classes
        assert len(split.train) + len(split.test) == len(y)
        assert torch.equal(split.val, split.test)
        assert torch.equal(other.train, split.train)
        assert torch.equal(torch.cat([other.val, other.test]).sort().values, split.test)
        assert torch.bincount(y[other.val]).tolist() == [int(0.2 * len(split.test) / classes)] * classes
    assert bundle.card.protocols["hypergcn"].selection == "on-test"
    assert clean.card.protocols["hypergcn-val"].selection == "validation"


@pytest.mark.data("coauthorship-cora")
def test_lighthgnn_has_120_nodes_of_every_class_before_test():
    bundle = load_dataset("coauthorship-cora@random-20-100")
    for split in bundle.splits:
        assert torch.bincount(bundle.data.y[split.train]).tolist() == [20] * 7
        assert torch.bincount(bundle.data.y[split.val]).tolist() == [100] * 7


# features made of labels


@pytest.mark.data("house-committees")
def test_noise_is_the_only_thing_between_features_and_labels():
    plain = load_dataset("house-committees", feature_noise=0.0)
    assert torch.equal(plain.data.x[:, :2].argmax(dim=1), plain.data.y)
    assert torch.equal(plain.data.x.sum(dim=1), torch.ones(1290))
    assert label_in_features(plain, None) == 1.0
    default, strong = load_dataset("house-committees"), load_dataset("house-committees", feature_noise=10.0)
    torch.testing.assert_close(strong.data.x - plain.data.x, 10 * (default.data.x - plain.data.x), rtol=1e-4, atol=1e-4)
    assert label_in_features(strong, None) < 0.56 < 0.75 < label_in_features(default, None)
    assert default.params["feature_noise"] == 1.0
    assert (default.data.x - plain.data.x).std().item() == pytest.approx(1, abs=0.01)


@pytest.mark.data("senate-committees")
def test_the_seed_of_the_noise_changes_features_and_nothing_else():
    first, second = load_dataset("senate-committees"), load_dataset("senate-committees", seed=1)
    assert not torch.equal(first.data.x, second.data.x)
    assert torch.equal(first.data.hyperedge_index, second.data.hyperedge_index)
    assert first.hash == second.hash
    with pytest.raises(ConfigError):
        load_dataset("senate-committees", feature_noise=-1.0)


HOUSE = {"hyperedges-house-committees.txt": "1,2\n3,1,1\n", "node-labels-house-committees.txt": "1\n2\n2\n1\n"}


def test_committees_of_four(tmp_path):
    card, files = small("house-committees", tmp_path, HOUSE)
    bundle = build_dataset(card, card.default_protocol, files, feature_noise=0.0)
    assert incidences(bundle.data) == [(0, 0), (1, 0), (2, 1), (0, 1), (0, 1)]
    assert bundle.data.y.tolist() == [0, 1, 1, 0]
    assert bundle.data.num_hyperedges == 2
    assert bundle.data.x.shape == (4, 100)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("hyperedges", "1,2\n3,five\n", "hyperedges-house-committees.txt line 2: '3,five' is not a list"),
        ("hyperedges", "1,2\n3,5\n", r"hyperedges-house-committees.txt line 2: node 5 has no class \(4 nodes do\)"),
        ("hyperedges", "1,2\n0,1\n", "hyperedges-house-committees.txt line 2: node 0 has no class"),
        ("node-labels", "1\n\n2\n1\n", "node-labels-house-committees.txt line 2: '' is not a list"),
        ("node-labels", "1\n2\n3\n1\n", r"node-labels-house-committees.txt line 3: class 3 is not in 1\.\.2"),
        ("node-labels", "1\n2\n2,1\n1\n", "node-labels-house-committees.txt line 3: more than one class"),
    ],
)
def test_broken_committees_are_named(tmp_path, file, content, message):
    card, files = small("house-committees", tmp_path, HOUSE | {f"{file}-house-committees.txt": content})
    with pytest.raises(DataError, match=f"^house-committees: {message}"):
        build_dataset(card, card.default_protocol, files)


# AllSet's own sets

# the order of ids is not that of rows, ids of hyperedges have rows too, node 3 is in no hyperedge
CONTENT = "1 0.5 0 2.0\n0 1 0 1.0\n2 0 1 1.0\n3 0 0 3.0\n4 9 9 0\n5 9 9 0\n"
EDGES = "0 4\n1 4\n1 5\n2 5\n1 5\n"


@pytest.mark.parametrize("separator", [" ", "\t"])
def test_shapes_in_the_layout_of_modelnet40(tmp_path, separator):
    contents = {"ModelNet40.content": CONTENT.replace(" ", separator), "ModelNet40.edges": EDGES}
    card, files = small("ModelNet40", tmp_path, contents)
    data = build_dataset(card, card.default_protocol, files).data
    assert data.x.tolist() == [[0.5, 0], [1, 0], [0, 1], [0, 0]]
    assert data.y.tolist() == [1, 0, 0, 2]
    assert incidences(data) == [(1, 0), (0, 0), (0, 1), (2, 1), (0, 1)]
    assert data.num_hyperedges == 2


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("content", CONTENT.replace("0.5", "half"), "ModelNet40.content line 1: 'half' is not a number"),
        ("content", CONTENT.replace(" 3.0", ""), "ModelNet40.content line 4: 3 fields instead of 4"),
        ("content", CONTENT.replace(" 3.0", " 2.5"), "ModelNet40.content line 4: class 2.5 is not a whole number"),
        ("content", CONTENT.replace("3 0 0", "2 0 0"), "ModelNet40.content: an id occurs twice"),
        ("edges", EDGES.replace("2 5", "2.5 5"), "ModelNet40.edges line 4: node 2.5 is not a whole number"),
        ("edges", "0 6\n1 6\n5 7\n", None),
        ("edges", "0 6\n8 6\n", "ModelNet40.edges line 2: node 8 is not in ModelNet40.content"),
    ],
)
def test_broken_shapes_are_named(tmp_path, file, content, message):
    contents = {"ModelNet40.content": CONTENT, "ModelNet40.edges": EDGES} | {f"ModelNet40.{file}": content}
    card, files = small("ModelNet40", tmp_path, contents)
    if message is None:
        assert build_dataset(card, card.default_protocol, files).data.num_nodes == 6
        return
    with pytest.raises(DataError, match=f"^ModelNet40: {message}"):
        build_dataset(card, card.default_protocol, files)


YELP = {
    "latlong": "latitude,longitude\n43.5,-79.25\n36,-115\n36.5,-115.5\n40,-80\n",
    "locations": "city_int,zip,state_int\n2,A1,1\n1,A2,2\n3,A3,2\n1,,1\n",
    "name": 'name\n"Joe\'s Pizza, Downtown"\nPizza Palace\nthe Café\n\n',
    "business_stars": "stars\n10\n2\n7\n2\n",
    "incidence_H": "he,node,stars\n1,1,5\n1,2,4\n2,3,1\n2,3,2\n4,1,3\n",
}


def yelp(tmp_path, **changes):
    contents = {f"yelp_restaurant_{part}.csv": content for part, content in (YELP | changes).items()}
    card, files = small("yelp", tmp_path, contents)
    return build_dataset(card, card.default_protocol, files).data


@pytest.mark.filterwarnings("ignore::pandas.errors.ParserWarning")
def test_restaurants_in_the_layout_of_yelp(tmp_path):
    names = 'name\n"Joe\'s Pizza, Downtown"\nPizza Palace\nthe Café\n""\n'
    data = yelp(tmp_path, name=names)
    # places, two states, three cities, five words in alphabetical order, none of them a stop word
    assert data.x.shape == (4, 2 + 2 + 3 + 5)
    assert data.x[0].tolist() == [43.5, -79.25, 1, 0, 0, 1, 0, 0, 1, 1, 0, 1]
    assert data.x[2].tolist() == [36.5, -115.5, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0]
    assert data.x[3, 7:].sum() == 0
    assert data.y.tolist() == [8, 0, 5, 0]
    assert incidences(data) == [(0, 0), (1, 0), (2, 1), (2, 1), (0, 3)]
    assert data.num_hyperedges == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"business_stars": "stars\n10\n2\n"}, "the tables have different numbers of restaurants: .*business_stars 2"),
        ({"business_stars": "stars\n10\nmany\n7\n2\n"}, "yelp_restaurant_business_stars.csv line 3: stars many is not"),
        ({"business_stars": "stars\n10\n\n7\n2\n"}, "the tables have different numbers of restaurants"),
        (
            {"locations": "city,state_int\n1,1\n1,1\n1,1\n1,1\n"},
            "yelp_restaurant_locations.csv has no column 'city_int'",
        ),
        ({"incidence_H": "he,node\n1,1\n1,5\n"}, "yelp_restaurant_incidence_H.csv line 3: there is no restaurant 5"),
        (
            {"incidence_H": "he,node\n1,1\n1,0\n"},
            "yelp_restaurant_incidence_H.csv line 3: node 0 is not a whole number",
        ),
        ({"name": ""}, "yelp_restaurant_name.csv is no readable table"),
    ],
)
def test_broken_restaurants_are_named(tmp_path, changes, message):
    changes = {"name": "name\na b\nPizza Palace\nc d\ne f\n"} | changes
    with pytest.raises(DataError, match=f"^yelp: {message}") as caught:
        yelp(tmp_path, **changes)
    assert "\n" not in str(caught.value)


# HyperGCN's sets


def pickled(tmp_path, **changes):
    contents = {
        "hypergraph": {"a": [3, 0], "b": {np.int32(2), np.int32(0)}, "c": []},
        "labels": [0, 1, 0, 1],
        "features": csr_matrix(np.diag([1.0, 2.0, 3.0, 4.0])),
    } | changes
    card, files = small(
        "cocitation-cora", tmp_path, {f"{part}.pickle": pickle.dumps(content) for part, content in contents.items()}
    )
    return build_dataset(card, "random-50-25-25", files).data


def test_small_pickles(tmp_path):
    data = pickled(tmp_path)
    assert incidences(data) == [(0, 0), (3, 0), (0, 1), (2, 1)]
    assert data.num_hyperedges == 3
    assert data.x.diag().tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [0, 1, 0]}, "labels.pickle has 3 nodes, features.pickle 4"),
        ({"hypergraph": {"a": [0, 1], "b": [4]}}, "hypergraph.pickle: node 4 of hyperedge 'b' has no label"),
        ({"hypergraph": {"a": [-1]}}, "hypergraph.pickle: node -1"),
        ({"hypergraph": [[0, 1]]}, "hypergraph.pickle must hold a dictionary"),
        ({"features": np.eye(4)}, "hypergraph.pickle must hold a dictionary, features.pickle a sparse matrix"),
    ],
)
def test_broken_pickles_are_named(tmp_path, changes, message):
    with pytest.raises(DataError, match=f"^cocitation-cora: {message}"):
        pickled(tmp_path, **changes)


class Dangerous:
    def __reduce__(self):
        return (print, ("executed",))


def test_pickles_cannot_run_code(tmp_path, capsys):
    with pytest.raises(DataError, match=r"features\.pickle is refused"):
        pickled(tmp_path, features=Dangerous())
    assert "executed" not in capsys.readouterr().out


@pytest.mark.data("cocitation-cora")
def test_missing_features_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("gnnzoo.datasets.raw._unreachable", lambda url: "no network")
    with pytest.raises(DataError, match=r"features\.pickle .*is missing and cannot be downloaded from https://hugging"):
        load_dataset("cocitation-pubmed", root=tmp_path)


STAND_IN = [
    ("cocitation-pubmed", "features.pickle", 19717),
    ("coauthorship-dblp", "features.pickle", 41302),
    ("outsider-pubmed-cocitation", "hypergraph/cocitation/pubmed/features.pickle", 19717),
    ("outsider-dblp-coauthorship", "hypergraph/coauthorship/dblp/features.pickle", 41302),
]


@pytest.mark.parametrize(("name", "file", "size"), STAND_IN, ids=[case[0] for case in STAND_IN])
@pytest.mark.data("cocitation-cora")
def test_real_files_beside_a_stand_in_for_the_features(tmp_path, name, file, size):
    """All that the card says about graph, labels and splits is checked; only the features are not the real ones."""
    card = DATASETS.card(name)
    files = RawFiles(card, tmp_path)
    if any(files.find(other) is None for other in card.files if other != file):
        pytest.skip(f"GNNZOO_DATA lacks files of {name}")
    path = tmp_path / card.root / file
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(csr_matrix(eye(size, 1, format="csr"))))
    for protocol in card.protocols:
        bundle = build_dataset(card, protocol, files)
        for claim in card.health:
            if claim.measure and (not claim.protocols or protocol in claim.protocols):
                found = measure(claim, bundle, files)
                assert agrees(claim.value, found, claim.tolerance), f"{claim.text}: found {found}"
    assert bundle.card.counts.model_copy(update={"features": card.counts.features}) == card.counts


# classes of nodes in hyperedges


@pytest.mark.parametrize(
    ("name", "sizes", "repeating"),
    [
        pytest.param("email-eu", (125704, 41902, 41902), 3292, marks=pytest.mark.data("email-eu")),
        pytest.param("stack-biology", (16093, 5365, 5365), 843, marks=pytest.mark.data("stack-biology")),
        pytest.param("stack-physics", (120486, 40162, 40163), 5985, marks=pytest.mark.data("stack-physics")),
        pytest.param("coauth-dblp", (54759, 18253, 18254), 6, marks=pytest.mark.data("coauth-dblp")),
    ],
)
def test_hyperedges_are_split_and_nodes_may_repeat(name, sizes, repeating):
    bundle = load_dataset(name)
    nodes, hyperedges = bundle.data.hyperedge_index
    split = bundle.splits[0]
    parts = [hyperedges[part].unique() for part in (split.train, split.val, split.test)]
    assert tuple(map(len, parts)) == sizes
    assert len(torch.cat(parts).unique()) == sum(sizes), "a hyperedge lies in two parts"
    assert len(split.train) + len(split.val) + len(split.test) == len(nodes)
    pairs, counts = torch.unique(hyperedges * bundle.data.num_nodes + nodes, return_counts=True)
    assert len((pairs[counts > 1] // bundle.data.num_nodes).unique()) == repeating
    assert ((hyperedges * bundle.data.num_nodes + nodes).diff() >= 0).all(), "incidences are not sorted"
    # ranks are dense: the lowest of a hyperedge has rank 1
    ranks = bundle.data.order_pe * torch.bincount(hyperedges)[hyperedges, None]
    lowest = torch.zeros(sum(sizes), 4).scatter_reduce(
        0, hyperedges[:, None].expand(-1, 4), ranks, "amin", include_self=False
    )
    torch.testing.assert_close(lowest, torch.ones_like(lowest))


@pytest.mark.data("coauth-dblp")
def test_papers_have_one_first_and_one_last_author():
    data = load_dataset("coauth-dblp").data
    hyperedges = data.hyperedge_index[1]
    for label in (0, 2):
        assert torch.equal(hyperedges[data.y == label], torch.arange(data.num_hyperedges))


EDGE_DEPENDENT = (
    *("email-eu", "stack-biology", "stack-physics", "coauth-dblp"),
    *("outsider-cora-coauthorship", "outsider-citeseer-cocitation"),
)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.data(name)) for name in EDGE_DEPENDENT])
def test_the_order_of_members_tells_nothing(name):
    """Position says no more than it does among members in random order, where it knows the size of a hyperedge."""
    bundle = load_dataset(name)
    data, hyperedges = bundle.data, bundle.data.hyperedge_index[1]
    found = told_by_position(bundle, None)
    order = np.lexsort((np.random.RandomState(1).permutation(len(data.y)), hyperedges.numpy()))
    mixed = data.clone()
    mixed.y = data.y[torch.from_numpy(order)]
    assert found == pytest.approx(told_by_position(dataclasses.replace(bundle, data=mixed), None), abs=0.01)
    if name in ("email-eu", "coauth-dblp"):
        assert told_by_position_in_the_file(bundle, RawFiles(bundle.card)) == 1


@pytest.mark.data("outsider-cora-coauthorship", "coauthorship-cora")
def test_outsiders_have_the_words_of_their_papers():
    outsiders, papers = load_dataset("outsider-cora-coauthorship").data, load_dataset("coauthorship-cora").data
    nodes, hyperedges = outsiders.hyperedge_index
    # the first hyperedge of the file begins with these papers
    rows = set(map(tuple, outsiders.x[nodes[hyperedges == 0]].tolist()))
    assert set(map(tuple, papers.x[[105, 248, 2234, 279]].tolist())) <= rows
    assert "order_pe" not in outsiders


NAMED = {
    "hypergraph.txt": "'b/2'\t7\t5\n'a/1'\t5\t9\t5\n'c/3'\t9\n'd/4'\t9\t5\n",
    "hypergraph_pos.txt": "'b/2'\t0\t2\n'a/1'\t0\t1\t2\n'c/3'\t0\n'd/4'\t1\t2\n",
    "valid_hindex.txt": "c/3\n",
    "test_hindex.txt": "d/4\n",
    "degree_nodecentrality.txt": "node\tdegree\n9\t3\n5\t4\n7\t1\n",
    "eigenvec_nodecentrality.txt": "node\teigenvec\n5\t1.0000000000000001e-05\n9\t1e-60\n7\t0.5\n",
    "pagerank_nodecentrality.txt": "node\tpagerank\n5\t0.10000000001\n9\t0.1\n7\t0.2\n",
    "kcore_nodecentrality.txt": "node\tkcore\n5\t2\n9\t2\n7\t1\n",
}


def edge_dependent(tmp_path, name="coauth-dblp", **changes):
    contents = NAMED | {f"{part}.txt": content for part, content in changes.items()}
    card, files = small(name, tmp_path, contents)
    return build_dataset(card, "fixed", files)


def test_named_hyperedges(tmp_path):
    bundle = edge_dependent(tmp_path)
    data, split = bundle.data, bundle.splits[0]
    assert incidences(data) == [(1, 0), (2, 0), (0, 1), (2, 1), (2, 1), (0, 2), (0, 3), (2, 3)]
    # node 5 is number 2 and twice in the second hyperedge, with either class
    assert (data.y[:3].tolist(), set(data.y[3:5].tolist()), data.y[5:].tolist()) == ([0, 2, 1], {0, 2}, [0, 1, 2])
    assert [part.tolist() for part in (split.train, split.val, split.test)] == [[0, 1, 2, 3, 4], [5], [6, 7]]
    torch.testing.assert_close(
        data.x, torch.tensor([[3, 0, 0.1, 2], [1, 0.5, 0.2, 1], [4, 1e-5, 0.1, 2]], dtype=torch.float32)
    )
    # float32 would call PageRanks of nodes 0 and 2 equal
    assert (data.order_pe[2:5] * 3).round().tolist() == [[1, 1, 1, 1], [2, 2, 2, 1], [2, 2, 2, 1]]
    assert repeated_node_sets(bundle, None) == 1.0
    assert repeated_insiders(bundle, None) == 0.0
    # in training the commonest class is 0 of a first member, 2 of a last one: one of two is right
    assert told_by_position_in_the_file(bundle, RawFiles(bundle.card, tmp_path)) == 0.5


def test_members_in_another_order_make_the_same_data(tmp_path):
    """But for the classes of a node that is in a hyperedge twice."""
    one = {"hypergraph": "3\t1\t2\n2\t9\n3\t9\n1\n", "hypergraph_pos": "0\t1\t2\n0\t2\n0\t1\n2\n"}
    other = {"hypergraph": "1\t2\t3\n9\t2\n9\t3\n1\n", "hypergraph_pos": "1\t2\t0\n2\t0\n1\t0\n2\n"}
    table = "node\tvalue\n1\t0.5\n2\t0.25\n3\t4\n9\t1\n"
    same = {f"{kind}_nodecentrality": table for kind in ("degree", "eigenvec", "pagerank", "kcore")}
    same |= {"valid_hindex": "2\n", "test_hindex": "3\n"}
    found = [
        edge_dependent(tmp_path / str(i), "stack-biology", **files, **same) for i, files in enumerate((one, other))
    ]
    assert found[0].digest == found[1].digest
    assert found[0].hash == found[1].hash


def test_numbered_hyperedges(tmp_path):
    unnamed = {
        part: "\n".join(row.partition("\t")[2] for row in NAMED[f"{part}.txt"].splitlines())
        for part in ("hypergraph", "hypergraph_pos")
    }
    named = edge_dependent(tmp_path / "a")
    numbered = edge_dependent(tmp_path / "b", "stack-biology", valid_hindex="2", test_hindex="3\n", **unnamed)
    assert numbered.digest == named.digest
    assert numbered.hash == named.hash


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hypergraph": NAMED["hypergraph.txt"].replace("9\n", "x\n", 1)}, "hypergraph.txt line 3: 'x' is not a list"),
        ({"hypergraph": NAMED["hypergraph.txt"].replace("c/3", "b/2")},
         "hypergraph.txt line 3: \"'b/2'\" is no new name"),
        ({"hypergraph": NAMED["hypergraph.txt"].replace("'c/3'", "c/3")},
         "hypergraph.txt line 3: 'c/3' is no new name"),
        ({"hypergraph": NAMED["hypergraph.txt"] + "'e/5'\n"}, "hypergraph.txt line 5: '' is not a list"),
        ({"hypergraph_pos": NAMED["hypergraph_pos.txt"].replace("\t1\t2\n", "\t1\n", 1)},
         "hypergraph_pos.txt line 2: 2 labels for 3 nodes"),
        ({"hypergraph_pos": NAMED["hypergraph_pos.txt"].replace("'d/4'\t1", "'d/4'\t3")},
         r"hypergraph_pos.txt line 4: class 3 is not in 0\.\.2"),
        ({"hypergraph_pos": NAMED["hypergraph_pos.txt"].replace("d/4", "e/5")}, "hypergraph_pos.txt names other"),
        ({"hypergraph_pos": "'b/2'\t0\t2\n"}, "hypergraph_pos.txt has 1 lines, hypergraph.txt 4"),
        ({"test_hindex": "d/4\ne/5\n"}, "test_hindex.txt line 2: there is no such hyperedge"),
        ({"kcore_nodecentrality": "node\tkcore\n5\t2\n7\t1\n"}, "kcore_nodecentrality.txt lacks node 9"),
        ({"kcore_nodecentrality": "node\tkcore\n5\t2\n7\tno\n"},
         "kcore_nodecentrality.txt line 3: 'no' is not a number"),
    ],
)  # fmt: skip
def test_broken_edge_dependent_files_are_named(tmp_path, changes, message):
    with pytest.raises(DataError, match=f"^coauth-dblp: {message}") as caught:
        edge_dependent(tmp_path, **changes)
    assert "\n" not in str(caught.value)


def test_a_hyperedge_beyond_the_features_is_named(tmp_path):
    folder, words = "hypergraph_enc/cora_coauthorship_outsider_id", "hypergraph/coauthorship/cora/features.pickle"
    contents = {
        f"{folder}/hypergraph.txt": "1\t0\n2\t1\n5\n",
        f"{folder}/hypergraph_pos.txt": "1\t0\n0\t1\n1\n",
        f"{folder}/valid_hindex.txt": "1\n",
        f"{folder}/test_hindex.txt": "2\n",
        words: pickle.dumps(csr_matrix(np.diag(np.arange(6.0)))),
    }
    card, files = small("outsider-cora-coauthorship", tmp_path, contents)
    data = build_dataset(card, "fixed", files).data
    nodes, hyperedges = data.hyperedge_index
    # the only word of a node is its id, and as often
    found = set(zip(data.x.sum(dim=1)[nodes].tolist(), hyperedges.tolist(), data.y.tolist(), strict=True))
    assert found == {(1, 0, 1), (0, 0, 0), (2, 1, 0), (1, 1, 1), (5, 2, 1)}
    (tmp_path / words).write_bytes(pickle.dumps(csr_matrix(np.eye(5))))
    with pytest.raises(DataError, match=r"features\.pickle has 5 nodes, hypergraph\.txt has a node 5$"):
        build_dataset(card, "fixed", files)
