"""Raw files: where they are looked for, how damage is named, and that a data root is never written to."""

import gzip
import hashlib
import os
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.datasets import WebKB

from gnnzoo.cards import DatasetCard
from gnnzoo.datasets import load_dataset, raw, webkb
from gnnzoo.datasets.bundle import Split
from gnnzoo.datasets.raw import RawFiles
from gnnzoo.errors import DataError
from gnnzoo.registry import DATASETS

FEATURES, EDGES = "out1_node_feature_label.txt", "out1_graph_edges.txt"


def contents():
    """A WebKB set of six nodes, in the layout of the real ones."""
    nodes = ["node_id\tfeature\tlabel"] + [f"{i}\t{i % 2},1,0\t{i % 3}" for i in range(6)]
    edges = ["node_id\tnode_id", "0\t1", "1\t2", "2\t0", "3\t3", "4\t5"]
    files = {FEATURES: "\n".join([*nodes, ""]).encode(), EDGES: "\n".join([*edges, ""]).encode()}
    for i in range(10):
        masks = np.eye(3, dtype=bool)[(np.arange(6) + i) % 3]
        path = f"texas_split_0.6_0.2_{i}.npz"
        buffer = BytesIO()
        np.savez(buffer, train_mask=masks[:, 0], val_mask=masks[:, 1], test_mask=masks[:, 2])
        files[path] = buffer.getvalue()
    return files


FILES = contents()


@pytest.fixture
def card(monkeypatch, tmp_path):
    """Register a small set of six nodes, with its own cache and no data anywhere."""
    monkeypatch.setenv("GNNZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GNNZOO_DATA", raising=False)
    monkeypatch.setattr(DATASETS, "_registered", {})
    monkeypatch.setattr(raw, "_unreachable", lambda url: "no network")
    card = DatasetCard.model_validate(
        {
            "name": "tiny-webkb",
            "summary": "for tests",
            "family": "webkb",
            "loader": "gnnzoo.datasets.webkb.load",
            "task": "node",
            "num_outputs": 3,
            "counts": {"nodes": 6, "edges": 5, "features": 3},
            "protocols": {"geom-gcn": {"summary": "ten", "splits": 10, "metric": "accuracy"}},
            "default_protocol": "geom-gcn",
            "root": "webkb/texas/raw",
            "files": {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()},
        }
    )
    DATASETS.register(card, webkb.load)
    return card


def place(root, compressed=(), without=()):
    folder = root / "webkb" / "texas" / "raw"
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        if name in without:
            continue
        if name in compressed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


def snapshot(root):
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in sorted(root.rglob("*"))
    }


def test_files_and_their_gz_give_the_same(card, tmp_path):
    place(tmp_path / "plain")
    place(tmp_path / "packed", compressed=(FEATURES, EDGES))
    plain = load_dataset("tiny-webkb", root=tmp_path / "plain")
    (processed,) = (tmp_path / "cache" / "processed").iterdir()
    processed.unlink()
    packed = load_dataset("tiny-webkb", root=tmp_path / "packed")
    assert plain.digest == packed.digest
    assert plain.data.y.tolist() == [0, 1, 2, 0, 1, 2]
    assert plain.data.edge_index.tolist() == [[0, 1, 2, 3, 4], [1, 2, 0, 3, 5]]
    assert plain.splits[1].train.tolist() == [2, 5]


def test_a_read_only_root_is_left_as_it_was(card, tmp_path):
    root = tmp_path / "data"
    folder = place(root, compressed=(FEATURES,))
    for path in (folder, root):
        path.chmod(0o555)
    before = snapshot(root)
    try:
        load_dataset("tiny-webkb", root=root)
        load_dataset("tiny-webkb", root=root)
    finally:
        for path in (folder, root):
            path.chmod(0o755)
    assert snapshot(root) == before


def test_precedence_of_roots(card, tmp_path, monkeypatch):
    for name in ("argument", "variable", "cache/raw"):
        place(tmp_path / name)
    monkeypatch.setenv("GNNZOO_DATA", str(tmp_path / "variable"))
    assert RawFiles(card, tmp_path / "argument").find(EDGES) == tmp_path / "argument/webkb/texas/raw" / EDGES
    assert RawFiles(card).find(EDGES) == tmp_path / "variable/webkb/texas/raw" / EDGES
    monkeypatch.delenv("GNNZOO_DATA")
    assert RawFiles(card).find(EDGES) == tmp_path / "cache/raw/webkb/texas/raw" / EDGES
    with pytest.raises(DataError, match="is not a folder"):
        load_dataset("tiny-webkb", root=tmp_path / "nowhere")


def test_a_variable_that_names_no_folder_is_said(card, tmp_path, monkeypatch):
    """A word mistyped in it would otherwise look like missing files, or download them again."""
    place(tmp_path / "argument")
    (tmp_path / "file").touch()
    for name in ("file", "nowhere"):
        monkeypatch.setenv("GNNZOO_DATA", str(tmp_path / name))
        for root in (None, tmp_path / "argument"):
            with pytest.raises(DataError, match=rf"^GNNZOO_DATA={tmp_path / name} is not a folder$"):
                load_dataset("tiny-webkb", root=root)
        assert load_dataset("karate").card.counts.nodes == 34  # needs no files
    monkeypatch.setenv("GNNZOO_DATA", "")
    assert load_dataset("tiny-webkb", root=tmp_path / "argument").card.counts.nodes == 6


def test_a_missing_file_is_named_with_url_and_place(card, tmp_path):
    place(tmp_path / "data", without=(EDGES,))
    with pytest.raises(DataError) as caught:
        load_dataset("tiny-webkb", root=tmp_path / "data")
    message = str(caught.value)
    assert "\n" not in message
    for part in (EDGES, WebKB.url, str(tmp_path / "data/webkb/texas/raw"), "no network", "karate", "csbm"):
        assert part in message
    assert not (tmp_path / "cache").exists()


def test_all_missing_files_are_counted(card, tmp_path):
    with pytest.raises(DataError, match=r"and 11 more.*cache/raw/webkb/texas/raw"):
        load_dataset("tiny-webkb")


@pytest.mark.parametrize(
    "harm", [lambda c: c[:-7], lambda c: c + b"\n", lambda c: c.replace(b"1", b"2", 1), lambda c: b""]
)
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_file_is_named_and_never_used(card, tmp_path, harm, cached, packed):
    folder = place(tmp_path / "data", compressed=(FEATURES,) if packed else ())
    if cached:
        load_dataset("tiny-webkb", root=tmp_path / "data")
    content = harm(FILES[FEATURES])
    path = folder / (f"{FEATURES}.gz" if packed else FEATURES)
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DataError) as caught:
        load_dataset("tiny-webkb", root=tmp_path / "data")
    message = str(caught.value)
    assert str(path) in message
    assert f"expected sha256 {card.files[FEATURES]}" in message
    assert f"found {hashlib.sha256(content).hexdigest()}" in message
    assert (tmp_path / "cache" / "processed").exists() == cached


@pytest.mark.parametrize(
    "broken", [b"no gzip at all", gzip.compress(FILES[FEATURES])[:-20], b""], ids=["not gzip", "cut off", "empty"]
)
def test_a_broken_gz_is_named(card, tmp_path, broken):
    folder = place(tmp_path / "data", compressed=(FEATURES,))
    (folder / f"{FEATURES}.gz").write_bytes(broken)
    with pytest.raises(DataError, match=rf"{re.escape(FEATURES)}\.gz is damaged: expected sha256 .*, found "):
        load_dataset("tiny-webkb", root=tmp_path / "data")


def test_the_cache_serves_when_the_files_are_gone(card, tmp_path):
    folder = place(tmp_path / "data")
    first = load_dataset("tiny-webkb", root=tmp_path / "data")
    for path in folder.iterdir():
        path.unlink()
    assert load_dataset("tiny-webkb").digest == first.digest


def test_counts_must_be_those_of_the_card(card, tmp_path):
    place(tmp_path / "data")
    card.counts.edges = 4
    with pytest.raises(DataError, match="5 edges loaded, the card says 4"):
        load_dataset("tiny-webkb", root=tmp_path / "data")


class Served(WebKB):
    """A stand-in for a PyG class whose server works."""

    url = "https://example.org/webkb"
    changed: dict[str, bytes] = {}  # noqa: RUF012
    parsed = False

    def download(self):
        for name, content in (FILES | self.changed).items():
            Path(self.raw_dir, name).write_bytes(content)

    def process(self):
        type(self).parsed = True


def fetch(card, upstream, **places):
    files = RawFiles(card)
    with files.layout({name: f"texas/raw/{name}" for name in card.files}, upstream, name="texas") as folder:
        return {path.name: path.read_bytes() for path in Path(folder, "texas", "raw").iterdir()}


def test_a_download_is_checked_and_kept(card, tmp_path, monkeypatch):
    monkeypatch.setattr(raw, "_unreachable", lambda url: None)
    assert fetch(card, Served) == FILES
    kept = tmp_path / "cache" / "raw" / "webkb" / "texas" / "raw"
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == FILES
    assert not Served.parsed
    monkeypatch.setattr(raw, "_unreachable", lambda url: "no network")
    assert fetch(card, Served) == FILES
    assert load_dataset("tiny-webkb").data.num_nodes == 6


def test_a_wrong_download_is_refused(card, tmp_path, monkeypatch):
    monkeypatch.setattr(raw, "_unreachable", lambda url: None)
    monkeypatch.setattr(Served, "changed", {EDGES: b"<html>not found</html>"})
    with pytest.raises(
        DataError, match=rf"{EDGES} as downloaded from {Served.url} is damaged: expected sha256 .*, found "
    ):
        fetch(card, Served)
    assert not Served.parsed
    assert EDGES not in os.listdir(tmp_path / "cache/raw/webkb/texas/raw")


def test_a_failing_download_is_one_line(card, monkeypatch):
    monkeypatch.setattr(raw, "_unreachable", lambda url: None)

    def fail(self):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(Served, "download", fail)
    with pytest.raises(DataError) as caught:
        fetch(card, Served)
    assert "RuntimeError: first line second line" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_is_left_behind(card, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    place(tmp_path / "data")
    load_dataset("tiny-webkb", root=tmp_path / "data")
    assert not list(scratch.iterdir())


def test_an_embedded_set_touches_no_disk(card, tmp_path):
    bundle = load_dataset("csbm")
    assert isinstance(bundle.splits[0], Split)
    assert torch.is_tensor(bundle.data.x)
    assert not (tmp_path / "cache").exists()


def test_other_bytes_of_a_rebuilt_set_are_taken_and_the_data_decide(card, tmp_path, recwarn):
    """The files behind such a card's checksums are not upstream's: a user's own download must not count as damaged."""
    folder = place(tmp_path / "data")
    bundle = load_dataset("tiny-webkb", root=tmp_path / "data")
    protocol = card.protocols["geom-gcn"].model_copy(update={"digest": bundle.digest, "hash": bundle.hash})
    rebuilt = card.model_copy(update={"rebuilt": ["out1_*", "*_0.npz"], "protocols": {"geom-gcn": protocol}})
    DATASETS.register(rebuilt, webkb.load)

    masks = folder / "texas_split_0.6_0.2_0.npz"
    with np.load(masks) as arrays:
        np.savez_compressed(masks, **arrays)  # the same masks in other bytes
    assert load_dataset("tiny-webkb", root=tmp_path / "data").digest == bundle.digest
    assert not recwarn.list

    (folder / EDGES).write_bytes(FILES[EDGES].replace(b"4\t5", b"5\t4"))
    with pytest.warns(
        UserWarning, match=rf"tiny-webkb@geom-gcn: the data are not those .*{EDGES}: expected sha256 \w+, f"
    ):
        assert load_dataset("tiny-webkb", root=tmp_path / "data").data.num_edges == 5

    (folder / EDGES).write_bytes(FILES[EDGES].removesuffix(b"4\t5\n"))  # a text that was cut off still is a text
    cut = rf"tiny-webkb: {EDGES} is damaged or of another release: expected sha256 \w+, found \w+, and 4 edges loaded"
    with pytest.raises(DataError, match=cut):
        load_dataset("tiny-webkb", root=tmp_path / "data")
    (folder / FEATURES).write_bytes(FILES[FEATURES])
    splits = folder / "texas_split_0.6_0.2_1.npz"
    whole = splits.read_bytes()
    splits.write_bytes(whole[:-30])  # one that was not rebuilt
    with pytest.raises(DataError, match=r"texas_split_0\.6_0\.2_1\.npz is damaged: expected sha256"):
        load_dataset("tiny-webkb", root=tmp_path / "data")
    splits.write_bytes(whole)

    (folder / EDGES).write_bytes(FILES[EDGES] + b"x\ty\n")
    wrong = rf"tiny-webkb: cannot make sense of {EDGES}, texas_split_0.6_0.2_0.npz \(ValueError: .*\)$"
    with pytest.raises(DataError, match=wrong):
        load_dataset("tiny-webkb", root=tmp_path / "data")


def test_a_file_without_a_checksum_is_read_again_when_it_changes(card, tmp_path):
    folder = place(tmp_path / "data")
    DATASETS.register(card.model_copy(update={"files": card.files | {FEATURES: None}}), webkb.load)
    before = load_dataset("tiny-webkb", root=tmp_path / "data")
    assert load_dataset("tiny-webkb", root=tmp_path / "data").digest == before.digest
    (folder / FEATURES).write_bytes(FILES[FEATURES].replace(b"0\t0,1,0\t0", b"0\t1,1,1\t0"))
    assert load_dataset("tiny-webkb", root=tmp_path / "data").data.x[0].tolist() == [1, 1, 1]


def test_files_one_by_one(card, tmp_path, monkeypatch):
    """Sets that neither PyG nor OGB fetches: the card's address."""
    monkeypatch.setattr(raw, "_unreachable", lambda url: None)
    asked = []

    def serve(url, folder, **options):
        asked.append(url)
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, Path(url).name).write_bytes(FILES[Path(url).name])

    monkeypatch.setattr(raw, "download_url", serve)
    files = RawFiles(card.model_copy(update={"download": "https://somewhere/sets/"}))
    with files.layout([FEATURES, EDGES]) as folder:
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {f: FILES[f] for f in (FEATURES, EDGES)}
    assert asked == [f"https://somewhere/sets/{FEATURES}", f"https://somewhere/sets/{EDGES}"]
    assert {*files.used} == {FEATURES, EDGES}
    nowhere = RawFiles(card.model_copy(update={"url": "https://somewhere"}), root=None)
    monkeypatch.setenv("GNNZOO_CACHE", str(tmp_path / "empty"))
    nowhere = RawFiles(card.model_copy(update={"url": "https://somewhere"}))
    with (
        pytest.raises(DataError, match=r"cannot be downloaded \(get it from https://somewhere\)"),
        nowhere.layout([EDGES]),
    ):
        pass
