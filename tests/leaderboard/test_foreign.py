"""Foreign records: what is taken, how it is marked, and every reason for which a file is refused as a whole."""

import json
import shutil
from pathlib import Path

import pytest

import gnnzoo
from gnnzoo.errors import ConfigError
from gnnzoo.leaderboard import Cost, Record, Store
from gnnzoo.leaderboard.foreign import add_records
from gnnzoo.leaderboard.record import upgrade
from gnnzoo.registry import DATASETS
from gnnzoo.runner.config import restore

ROOT = Path(__file__).resolve().parent.parent.parent
FROZEN = Path(__file__).parent / "record-schema-1.jsonl"
BENCHMARK = "karate@random-48-32-20"
FAST = {"train.epochs": 3, "train.stopping": None}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A results folder of somebody: ten splits × two seeds."""
    folder = tmp_path_factory.mktemp("theirs")
    gnnzoo.run("gcn", "karate", seeds=2, settings=FAST, results=folder)
    return folder


@pytest.fixture
def theirs(made, tmp_path):
    """A copy of it: the file of records."""
    shutil.copytree(made / BENCHMARK, tmp_path / "theirs" / BENCHMARK)
    shutil.copytree(made / "configs", tmp_path / "theirs" / "configs")
    return tmp_path / "theirs" / BENCHMARK / "gcn.jsonl"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "ours")


def add(file, store, **kwargs):
    return add_records(file, store, lambda config: restore(config).hash, **kwargs)


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def write(file, content):
    file.write_text("".join(json.dumps(line) + "\n" for line in content))


def refused(file, store):
    """Add a file that must not be added; return why, and see to it that nothing was written."""
    with pytest.raises(ConfigError) as caught:
        add(file, store)
    assert not store.folder.exists()
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- what is taken ---


def test_a_whole_set_is_added_and_marked(theirs, store):
    found = add(theirs, store, origin="lab in X")
    assert (len(found.added), found.known) == (20, 0)
    records = list(store.read(store.path(BENCHMARK, "gcn")))
    assert records == found.added
    assert {r.cost.origin for r in records} == {"lab in X"}
    for theirs_line, ours in zip(lines(theirs), records, strict=True):
        assert json.loads(ours.line()) == theirs_line | {"cost": theirs_line["cost"] | {"origin": "lab in X"}}
    (config,) = (store.folder / "configs").iterdir()
    assert json.loads(config.read_text()) == json.loads((theirs.parent.parent / "configs" / config.name).read_text())


def test_they_count_as_ours_do(theirs, store):
    """A run of the same configuration finds them and trains nothing."""
    add(theirs, store)
    result = gnnzoo.run("gcn", "karate", seeds=2, settings=FAST, results=store.folder)
    assert {r.cost.origin for r in result.records} == {"gcn.jsonl"}


def test_adding_twice_adds_nothing(theirs, store):
    add(theirs, store)
    before = store.path(BENCHMARK, "gcn").read_bytes()
    found = add(theirs, store)
    assert (found.added, found.known) == ([], 20)
    assert store.path(BENCHMARK, "gcn").read_bytes() == before


def test_what_an_interrupted_add_left_out_is_added(theirs, store):
    add(theirs, store)
    path = store.path(BENCHMARK, "gcn")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:7]))
    found = add(theirs, store)
    assert (len(found.added), found.known) == (13, 7)
    assert len(list(store.read(path))) == 20


def test_configurations_may_lie_beside_the_file(theirs, store, tmp_path):
    folder = tmp_path / "sent"
    shutil.copytree(theirs.parent.parent / "configs", folder / "configs")
    shutil.copy(theirs, folder / "records.jsonl")
    found = add(folder / "records.jsonl", store)
    assert len(found.added) == 20
    assert found.added[0].cost.origin == "records.jsonl"


def test_an_origin_that_is_there_stays(theirs, store):
    write(theirs, [line | {"cost": line["cost"] | {"origin": "them"}} for line in lines(theirs)])
    assert {r.cost.origin for r in add(theirs, store, origin="us").added} == {"them"}


@pytest.mark.parametrize("model", ["gcn", "sheaf"])
def test_without_the_data_the_card_vouches_for_the_splits(store, tmp_path, monkeypatch, model):
    monkeypatch.setenv("GNNZOO_DATA", str(tmp_path))
    monkeypatch.setenv("GNNZOO_CACHE", str(tmp_path))
    file = ROOT / "leaderboards" / "results" / "texas@geom-gcn" / f"{model}.jsonl"
    assert len(add(file, store).added) == len(lines(file))


def test_without_the_data_a_wrong_split_is_found_too(store, tmp_path, monkeypatch):
    monkeypatch.setenv("GNNZOO_DATA", str(tmp_path))
    monkeypatch.setenv("GNNZOO_CACHE", str(tmp_path))
    results = ROOT / "leaderboards" / "results"
    shutil.copytree(results / "configs", tmp_path / "configs")
    file = tmp_path / "gcn.jsonl"
    content = [line for line in lines(results / "texas@geom-gcn" / "gcn.jsonl") if "tuned" not in line]
    content[3]["key"]["split_hash"] = "0" * 16
    write(file, content)
    message = refused(file, store)
    assert message == f"{file}:1: texas@geom-gcn: the split hashes of this file are not those of the protocol"


def test_neither_data_nor_a_digest(store, theirs, tmp_path, monkeypatch):
    """What nobody can check is not taken."""
    card = DATASETS.card("karate")
    protocol = card.protocols["random-48-32-20"].model_copy(update={"digest": "", "hash": ""})
    blank = {"protocols": {"random-48-32-20": protocol}, "files": {"edges.txt": None}}
    changed = card.model_copy(update=blank)
    monkeypatch.setattr(DATASETS, "card", lambda name: changed)
    message = refused(theirs, store)
    assert message.startswith(f"{theirs}:1: {BENCHMARK}: its card states no digest and its files are not here")


# --- what is refused ---


def change(line, path, value):
    *parents, name = path.split(".")
    target = line
    for parent in parents:
        target = target[parent]
    target[name] = value


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("schema", 2, "not a record: schema 2 is not known here (up to 1 are): a newer gnnzoo wrote it"),
        ("key.note", "best", "not a record: key.note: unknown key (got 'best')"),
        ("result.epoch", "x", "not a record: result.epoch: "),
        ("key.model", "gnc", "unknown model 'gnc'; did you mean "),
        ("key.model", "../../gcn", "unknown model '../../gcn'"),
        ("key.strategy", "emr", "unknown strategy 'emr'; did you mean 'erm'?"),
        ("key.benchmark", "karat@random-48-32-20", "unknown dataset 'karat'; did you mean 'karate'"),
        ("key.benchmark", "zachary@random-48-32-20", "dataset 'zachary' is called 'karate' in records"),
        ("key.benchmark", "karate@public", "unknown protocol 'public' in dataset karate"),
        ("key.benchmark", "./karate@random-48-32-20", "benchmark './karate@random-48-32-20' is not dataset@protocol"),
        ("key.benchmark", "karate", "benchmark 'karate' is not dataset@protocol"),
        ("key.data", "0" * 16, "data digest 0000000000000000, the card's is ba7a744d28934ee1"),
        ("key.split", 10, "split 10, the protocol has 10"),
        ("key.split", -1, "split -1, the protocol has 10"),
        ("key.seed", -1, "seed -1: 0 or more"),
        ("key.split_hash", "0" * 16, "split 1 has hash 0000000000000000, the protocol's has "),
        ("key.split_hash", "best", "split_hash must be 16 hexadecimal digits, not 'best'"),
        ("key.config", "0" * 16, "its configuration 0000000000000000.json is not in "),
        ("key.config", "../../etc", "config must be 16 hexadecimal digits, not '../../etc'"),
        ("result.metric", "macro_f1", "metric macro_f1, the protocol's is accuracy"),
        ("result.test", {}, "no test accuracy"),
        ("result.val", {"macro_f1": 0.5}, "no val accuracy"),
        ("result.test", {"accuracy": 72.7}, "test accuracy cannot be 72.7 (fractions, not per cent)"),
        ("result.test", {"accuracy": -0.1}, "test accuracy cannot be -0.1"),
        ("result.test", {"accuracy": float("nan")}, "test accuracy cannot be nan"),
        ("result.test", {"accuracy": 0.73}, "test accuracy 0.73 of 11 rows is 8.030 rows: not a whole number"),
        ("result.test", {"accuracy": 1.0, "luck": 1.0}, "unknown metric 'luck'"),
        ("result.val_loss", float("inf"), "val_loss cannot be inf"),
        ("result.rows", {"train": 14, "val": 9}, "rows must count train, val and test"),
        ("result.rows", {"train": 14, "val": 9, "test": 0}, "rows must count train, val and test"),
        ("result.rows", {"train": 28, "val": 9, "test": 11}, "rows 28/9/11, split 1 has 14/9/11"),
        ("result.epoch", 4, "epoch 4 of 3"),
        ("result.epochs", 5, "5 epochs, its configuration allows 3"),
        ("result.digest", "", "digest must be 16 hexadecimal digits, not ''"),
        ("cost.seconds", -1.0, "seconds cannot be -1.0"),
        ("cost.threads", 0, "threads cannot be 0"),
        ("cost.date", "yesterday", "date 'yesterday' is no ISO date with a time zone"),
        ("cost.date", "2026-01-01T00:00:00", "date '2026-01-01T00:00:00' is no ISO date with a time zone"),
        ("cost.date", "2999-01-01T00:00:00+00:00", "date 2999-01-01T00:00:00+00:00 lies ahead"),
    ],
)
def test_one_wrong_line_refuses_the_file(theirs, store, path, value, why):
    content = lines(theirs)
    change(content[2], path, value)
    write(theirs, content)
    message = refused(theirs, store)
    assert message.startswith(f"{theirs}:3: {why}")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"schema": 1', "not a record: Expecting"),
        ("[" * 100_000, "not a record: "),
        ('{"schema": 1, "key": "\udce9"}', "not a record: "),
        ("model,accuracy", "not a record: Expecting value"),
    ],
)
def test_lines_that_are_none(theirs, store, text, why):
    theirs.write_bytes(theirs.read_bytes() + b"\n\n" + text.encode("utf-8", "surrogateescape"))
    assert refused(theirs, store).startswith(f"{theirs}:23: {why}")


def test_files_that_are_none(tmp_path, store):
    (tmp_path / "empty.jsonl").write_text("\n")
    assert refused(tmp_path / "empty.jsonl", store).endswith("no records in it")
    assert refused(tmp_path / "absent.jsonl", store).endswith("cannot be read: No such file or directory")
    assert refused(tmp_path, store).endswith("cannot be read: Is a directory")


def test_a_split_left_out(theirs, store):
    write(theirs, [line for line in lines(theirs) if line["key"]["split"] != 7])
    assert "9 of 10 splits, without 7: all or none of them count" in refused(theirs, store)


def test_a_seed_left_out_of_one_split(theirs, store):
    """The worse of two seeds was dropped from one split."""
    content = lines(theirs)
    write(theirs, content[:4] + content[5:])
    split, seed = content[4]["key"]["split"], content[4]["key"]["seed"]
    message = refused(theirs, store)
    assert f"split {split} lacks seed {seed}, which other splits have" in message
    assert message.startswith(f"{theirs}:")


def test_a_seed_left_out_everywhere(theirs, store):
    """The best of two seeds."""
    write(theirs, [line for line in lines(theirs) if line["key"]["seed"] == 1])
    assert "seeds 1 without 0: seeds must be 0 to k - 1, so that none is chosen by its result" in refused(theirs, store)


def test_one_key_twice(theirs, store):
    content = lines(theirs)
    write(theirs, [*content, content[3]])
    assert refused(theirs, store) == f"{theirs}:21: a second record of the key in {theirs}:4"


def test_a_record_of_ours_is_not_overruled(theirs, store):
    add(theirs, store)
    path = store.path(BENCHMARK, "gcn")
    before = path.read_bytes()
    content = lines(theirs)
    content[5]["result"]["digest"] = "f" * 16
    write(theirs, content)
    with pytest.raises(ConfigError, match=r"gcn.jsonl:6: .* has a record of this key with another result"):
        add(theirs, store)
    assert path.read_bytes() == before


# --- the configuration ---


def config_file(theirs):
    (path,) = (theirs.parent.parent / "configs").iterdir()
    return path


def test_a_configuration_that_was_changed(theirs, store):
    path = config_file(theirs)
    path.write_text(path.read_text().replace('"lr": 0.01', '"lr": 0.05'))
    assert "is another configuration: it hashes to another name" in refused(theirs, store)


def test_a_configuration_of_something_else(theirs, store):
    """Its name is right, but it is not of the records' model."""
    path = config_file(theirs)
    content = lines(theirs)
    other = gnnzoo.run("mlp", "karate", splits=[0], settings=FAST, results=path.parent.parent / "other")
    shutil.copy(path.parent.parent / "other" / "configs" / f"{other.records[0].key.config}.json", path.parent)
    for line in content:
        line["key"]["config"] = other.records[0].key.config
    write(theirs, content)
    assert refused(theirs, store) == f"{theirs}:1: its configuration is of mlp on {BENCHMARK} with strategy erm"


def test_a_configuration_that_cannot_be_run_here(theirs, store, monkeypatch):
    """Of a newer version: it hashes to its name, with a setting that nobody knows here."""
    from gnnzoo.leaderboard import foreign

    path = config_file(theirs)
    config = json.loads(path.read_text())
    config["train"]["momentum"] = 0.9
    name = foreign._content_hash(config)
    (path.parent / f"{name}.json").write_text(json.dumps(config))
    content = lines(theirs)
    for line in content:
        line["key"]["config"] = name
    write(theirs, content)
    message = refused(theirs, store)
    assert message.startswith(f"{theirs}:1: its configuration cannot be run here: ")
    assert "momentum" in message


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"names": {"model": "gcn"}}', '{"names": 3}', "\xff"])
def test_files_that_are_no_configuration(theirs, store, text):
    path = config_file(theirs)
    path.write_bytes(text.encode("latin-1"))
    assert refused(theirs, store).startswith(f"{path} is no stored configuration: ")


# --- the field ---


def test_records_of_our_own_have_no_origin():
    """Lines that were written before there was the field are written the same, and mean the same."""
    for text in FROZEN.read_text().splitlines(keepends=True):
        record = upgrade(json.loads(text))
        assert record.cost.origin is None
        assert record.line() == text
        assert (
            '"commit":null'
            in record.model_copy(update={"cost": record.cost.model_copy(update={"commit": None})}).line()
        )


def test_an_origin_survives_the_file():
    record = Record.model_validate(json.loads(FROZEN.read_text().splitlines()[0]))
    marked = record.model_copy(update={"cost": Cost(**dict(record.cost) | {"origin": "them"})})
    assert upgrade(json.loads(marked.line())) == marked
    assert marked.line() != record.line()
