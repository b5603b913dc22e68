"""Records on disk: many writers, torn lines, old and new schemas, and a file that must be readable for ever."""

import json
import multiprocessing
import os
import random
import warnings
from pathlib import Path

import pytest

from gnnzoo.errors import StorageError
from gnnzoo.leaderboard import Record, Store, record
from gnnzoo.leaderboard.record import upgrade

FROZEN = Path(__file__).parent / "record-schema-1.jsonl"
BENCHMARK, MODEL = "karate@random-48-32-20", "gcn"


def make(split=0, seed=0, **result):
    """Return a record like the frozen one."""
    line = json.loads(FROZEN.read_text().splitlines()[0])
    line["key"] |= {"benchmark": BENCHMARK, "model": MODEL, "split": split, "seed": seed}
    line["result"] |= result
    return Record.model_validate(line)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


@pytest.fixture
def path(store):
    return store.path(BENCHMARK, MODEL)


def read(store, path):
    """Return records, and warnings as texts."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        records = list(store.read(path))
    return records, [str(w.message) for w in caught]


def _append(folder, writer, count):
    rng, store = random.Random(writer), Store(folder)
    for number in range(count):
        # lines of all lengths, past what a pipe or a page takes at once
        store.append(make(writer, number, digest="x" * rng.choice([16, 1000, 20_000])))


def test_eight_processes_append_two_hundred_records_each(store, path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append, args=(store.folder, i, 200)) for i in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    records, complaints = read(store, path)
    assert not complaints
    assert len(path.read_bytes().splitlines()) == len(records) == 1600
    assert {(r.key.split, r.key.seed) for r in records} == {(i, n) for i in range(8) for n in range(200)}
    for i in range(8):  # and each writer's in the order in which it wrote them
        assert [r.key.seed for r in records if r.key.split == i] == list(range(200))


def test_round_trip(store, path):
    written = [make(0), make(1, val_loss=0.1 + 0.2), make(1, val_loss=1e-300), make(2, seed=2**40)]
    for item in written:
        store.append(item)
    records, complaints = read(store, path)
    assert records == written
    assert not complaints
    assert store.files() == [path]


def test_torn_last_line_is_reported_and_kept_apart(store, path):
    store.append(make(0))
    whole = path.read_bytes()
    path.write_bytes(whole + make(1).line().encode()[:100])
    records, (complaint,) = read(store, path)
    assert [r.key.split for r in records] == [0]
    assert complaint.startswith(f"{path}:2: ")
    assert "torn" in complaint

    store.append(make(2))
    assert path.read_bytes().startswith(whole)
    records, (complaint,) = read(store, path)
    assert [r.key.split for r in records] == [0, 2]
    assert complaint.startswith(f"{path}:2: ")


def test_torn_inside_a_character(store, path):
    store.append(make(0))
    path.write_bytes(path.read_bytes() + '{"model": "é'.encode()[:-1])
    records, (complaint,) = read(store, path)
    assert len(records) == 1
    assert complaint.startswith(f"{path}:2: ")


def test_last_line_without_its_end_is_a_record(store, path):
    store.append(make(0))
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    store.append(make(1))
    records, complaints = read(store, path)
    assert [r.key.split for r in records] == [0, 1]
    assert not complaints


def test_blank_lines_are_nothing(store, path):
    store.append(make(0))
    path.write_bytes(b"\n\n" + path.read_bytes() + b"  \n\n")
    store.append(make(1))
    records, complaints = read(store, path)
    assert [r.key.split for r in records] == [0, 1]
    assert not complaints


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (json.dumps({"schema": 2, "key": {}}), "schema 2 is not known here (up to 1 are): a newer gnnzoo wrote it"),
        (json.dumps({"schema": 0}), "there was no schema 0"),
        (json.dumps({"key": {}}), "no schema in it"),
        ("[1, 2]", "no schema in it"),
        ("7", "no schema in it"),
        ("null", "no schema in it"),
        ('{"schema": 1}', "validation error"),
        ('{"schema": "1"}', "no schema in it"),
        ("\x00\x00\x00", "Expecting value"),
    ],
)
def test_lines_that_are_no_records_are_reported(store, path, line, why):
    store.append(make(0))
    path.write_text(path.read_text() + line + "\n")
    store.append(make(1))
    records, (complaint,) = read(store, path)
    assert [r.key.split for r in records] == [0, 1]
    assert complaint.startswith(f"{path}:2: not a record, passed over (")
    assert why in complaint


def test_old_schemas_are_upgraded_when_read(store, path, monkeypatch):
    """A made-up schema 0 whose accuracies were per cent and whose key lacked the strategy."""

    def zero_to_one(line):
        values = {stage: {k: v / 100 for k, v in line["result"][stage].items()} for stage in ("val", "test")}
        return line | {
            "schema": 1,
            "key": line["key"] | {"strategy": "erm"},
            "result": line["result"] | values,
        }

    monkeypatch.setitem(record.UPGRADES, 0, zero_to_one)
    new = make(0, test={"accuracy": 0.25}, val={"accuracy": 0.5})
    old = json.loads(new.line()) | {"schema": 0}
    del old["key"]["strategy"]
    old["result"] |= {"test": {"accuracy": 25.0}, "val": {"accuracy": 50.0}}
    path.parent.mkdir(parents=True)
    text = json.dumps(old) + "\n"
    path.write_text(text)
    records, complaints = read(store, path)
    assert records == [new]
    assert not complaints
    assert store.find(new.key) == new
    store.append(make(1))
    assert path.read_text().startswith(text)  # old lines stay what they are


def test_frozen_sample():
    """Lines that schema 1 wrote must mean the same, and be written the same, for as long as there is a schema 1."""
    lines = FROZEN.read_text().splitlines(keepends=True)
    assert len(lines) == 2
    for line in lines:
        found = upgrade(json.loads(line))
        if record.SCHEMA == 1:
            assert found.line() == line
    assert found.key.split == 3
    assert found.key.seed == 7
    assert found.result.rows == {"train": 384, "val": 256, "test": 160}
    assert found.key.strategy == "erm"


def test_the_newest_record_of_a_key_counts(store):
    for epoch in (1, 2):
        store.append(make(0, epoch=epoch))
    store.append(make(1, epoch=3))
    assert store.find(make(0).key).result.epoch == 2
    assert store.find(make(5).key) is None


def test_a_configuration_is_stored_once(store):
    store.save_config("abc", {"names": {"model": "gcn"}, "train": {"lr": 0.01}})
    file = store.folder / "configs" / "abc.json"
    before = file.stat()
    store.save_config("abc", {"names": {"model": "gcn"}, "train": {"lr": 0.01}})
    after = file.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert store.config("abc") == {"names": {"model": "gcn"}, "train": {"lr": 0.01}}
    assert store.config("other") is None
    assert os.listdir(file.parent) == ["abc.json"]


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("precious")
    store = Store(tmp_path / "file")
    with pytest.raises(StorageError, match="Not a directory; choose another folder"):
        store.check_writable()
    with pytest.raises(StorageError, match="cannot write the record"):
        store.append(make(0))
    assert (tmp_path / "file").read_text() == "precious"


def test_checking_leaves_nothing_behind(store):
    store.check_writable()
    assert [p for p in store.folder.rglob("*") if p.is_file()] == []


def test_a_folder_without_records_is_empty(store, path):
    assert store.files() == []
    assert read(store, path) == ([], [])
