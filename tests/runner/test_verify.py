"""``verify``: the same again, noise, or something else; and what cannot be run again is refused, with the reason."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch_geometric.data import Data

import gnnzoo
from gnnzoo.errors import ConfigError, GnnzooError
from gnnzoo.leaderboard import Record
from gnnzoo.runner.grid import Reporter
from gnnzoo.runner.verify import Located, by_key, by_line, judge, noise, verify

BENCHMARK = "karate@random-48-32-20"
FAST = {"train.epochs": 3, "train.stopping": None}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two splits × two seeds."""
    folder = tmp_path_factory.mktemp("made")
    gnnzoo.run("gcn", "karate", splits=[0, 1], seeds=2, settings=FAST, results=folder)
    return folder


@pytest.fixture
def results(made, tmp_path):
    """A copy of the records, without weights."""
    folder = tmp_path / "results"
    for part in (BENCHMARK, "configs"):
        shutil.copytree(made / part, folder / part)
    return folder


@pytest.fixture
def file(results):
    return results / BENCHMARK / "gcn.jsonl"


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def change(file, number, **parts):
    """Change a line of a file: ``result={"epoch": 2}``."""
    content = lines(file)
    for part, values in parts.items():
        content[number - 1][part] |= values
    file.write_text("".join(json.dumps(line) + "\n" for line in content))


# --- what comes out ---


@pytest.mark.parametrize("number", [1, 4])
def test_the_same_again(results, file, number):
    before = {p: p.read_bytes() for p in results.rglob("*") if p.is_file()}
    found = verify(by_line(f"{file}:{number}"))
    assert (found.verdict, found.why) == ("equal", "to the last bit, weights included")
    assert found.again.result == found.located.record.result
    assert found.again.key == found.located.record.key
    assert found.machine == {}
    assert {p: p.read_bytes() for p in results.rglob("*") if p.is_file()} == before


def test_it_is_run_again(file, monkeypatch):
    """The result is not the record read twice, and what it was made in is gone."""
    from gnnzoo.runner import cell

    folders = []
    original = cell.train_cell

    def train_cell(cell, execution, *args):
        folders.append(execution.results)
        return original(cell, execution, *args)

    monkeypatch.setattr(cell, "train_cell", train_cell)
    verify(by_line(f"{file}:2"))
    (folder,) = folders
    assert not folder.exists()


def test_other_weights_and_a_row_less(file):
    """One of eleven test rows differs: noise. And of the two machines, what differs is said."""
    record = by_line(f"{file}:1").record
    value = record.result.test["accuracy"] + 1 / 11
    change(file, 1, result={"test": {"accuracy": value}, "digest": "0" * 16}, cost={"processor": "abacus"})
    found = verify(by_line(f"{file}:1"))
    assert (found.verdict, found.why) == ("within noise", "other weights")
    assert found.machine["processor"][0] == "abacus"
    assert set(found.machine) == {"processor"}


def test_a_number_that_cannot_be_repeated(file):
    change(file, 1, result={"test": {"accuracy": 1.0}})
    for number in (2, 3, 4):  # the others are as one, so that noise is a test row
        change(file, number, result={"test": {"accuracy": 1.0}})
    found = verify(by_line(f"{file}:1"))
    assert (found.verdict, found.why) == ("different", "the same weights, other numbers")
    assert found.basis == "one test row"


def test_another_model_is_different_whatever_the_metric(file):
    change(file, 1, result={"parameters": 7})
    found = verify(by_line(f"{file}:1"))
    assert found.verdict == "different"
    assert found.why == f"parameters 7 before, {found.again.result.parameters} now"


def test_the_threads_are_the_records(file):
    change(file, 1, cost={"threads": 2})
    before = torch.get_num_threads()
    found = verify(by_line(f"{file}:1"))
    assert found.again.cost.threads == 2
    assert torch.get_num_threads() == before


def test_cards_that_changed_since_have_no_say(file, monkeypatch):
    """The stored configuration decides, not what the model's card says now."""
    from gnnzoo.registry import MODELS

    card = MODELS.card("gcn")
    defaults = card.defaults.model_copy(update={"train": {"lr": 0.5}, "model": {"hidden_channels": 3}})
    monkeypatch.setattr(card, "defaults", defaults)
    assert verify(by_line(f"{file}:1")).verdict == "equal"


def test_pairs_that_were_told_apart(tmp_path):
    """Nothing is trained: they are counted again; one pair more is another result."""
    gnnzoo.expressivity("gin-polynomials", dataset="rook-shrikhande", results=tmp_path)
    (file,) = tmp_path.glob("*/gin-polynomials.jsonl")
    located = by_key(tmp_path, "gin-polynomials", "rook-shrikhande")
    assert located.place == f"{file}:1"
    found = verify(located)
    assert (found.verdict, found.why) == ("equal", "to the last bit, weights included")
    assert found.again.result.test["separated"] == 1
    change(file, 1, result={"test": found.again.result.test | {"separated": 0.0}})
    found = verify(by_line(f"{file}:1"))
    assert (found.verdict, found.why) == ("different", "the same weights, other numbers")
    assert (found.tolerance, found.basis) == (0, "no pair")
    change(file, 1, key={"data": "0" * 16})
    assert "the data digest is 0000000000000000" in refused(verify, by_line(f"{file}:1"))


@pytest.mark.data("texas")
def test_a_shipped_record():
    file = Path(__file__).resolve().parents[2] / "leaderboards" / "results" / "texas@geom-gcn" / "mlp.jsonl"
    found = verify(by_line(f"{file}:1"))
    assert found.verdict in ("equal", "within noise")  # another kind of processor may round otherwise


def test_a_reporter_hears_it(file):
    heard = []

    class Listener(Reporter):
        def done(self, cell, record, trained):
            heard.append((str(cell), trained))

    verify(by_line(f"{file}:1"), reporter=Listener())
    assert heard == [(f"gcn {BENCHMARK} split 0 seed 0", True)]


# --- how much is noise ---


def record(value, split=0, seed=0, metric="accuracy", test=20):
    line = json.loads((Path(__file__).parents[1] / "leaderboard" / "record-schema-1.jsonl").read_text().splitlines()[0])
    line["key"] |= {"split": split, "split_hash": f"hash{split}", "seed": seed}
    line["result"] |= {"metric": metric, "test": {metric: value}, "val": {metric: value}}
    line["result"]["rows"]["test"] = test
    return Record.model_validate(line)


@pytest.mark.parametrize(
    ("records", "tolerance", "basis"),
    [
        ([record(0.5)], 0.05, "one test row"),
        ([record(0.5), record(0.9, 1)], 0.05, "one test row"),
        ([record(0.5), record(0.6, 1), record(0.7, 2)], 0.2, "2 standard deviations over 3 recorded splits and seeds"),
        (
            [record(0.5), record(0.6, 0, 1), record(0.7, 0, 2), record(0.0, 1)],
            0.2,
            "2 standard deviations over 3 seeds of this split",
        ),
        ([record(0.5, 0, i) for i in range(5)] + [record(0.0, 1)], 0.05, "one test row"),
        ([record(0.5, metric="mae")], 0.005, "1 % of the value"),
    ],
)
def test_noise(records, tolerance, basis):
    found = noise(records[0], records)
    assert found == (pytest.approx(tolerance), basis)


def test_the_edge_is_noise():
    first = record(0.5)
    located = Located("file:1", first, {}, [first])
    again = first.result.model_copy(update={"digest": "x"})
    for rows, verdict in ((0, "within noise"), (1, "within noise"), (-1, "within noise"), (2, "different")):
        value = {"test": {"accuracy": (10 + rows) / 20}}
        repeated = first.model_copy(update={"result": again.model_copy(update=value)})
        assert judge(located, repeated).verdict == verdict


# --- which record ---


def test_by_key(results, file):
    found = by_key(results, "gcn", "karate", split=1, seed=1)
    assert found.record == by_line(found.place).record
    assert (found.record.key.split, found.record.key.seed) == (1, 1)
    assert len(found.siblings) == 4
    assert by_key(results, "GCN", "zachary", "random-48-32-20").place == f"{file}:1"


@pytest.mark.filterwarnings("ignore:.*not a record, passed over")
def test_the_newest_of_a_key(results, file):
    content = file.read_text()
    file.write_text(content + "torn\n" + content)
    assert by_key(results, "gcn", "karate").place == f"{file}:6"


def test_several_configurations(results, file):
    gnnzoo.run("gcn", "karate", splits=[0], settings=FAST | {"train.epochs": 2}, results=results)
    with pytest.raises(ConfigError, match="several configurations") as caught:
        by_key(results, "gcn", "karate")
    assert f"{file}:1, {file}:5" in str(caught.value)
    assert verify(by_line(f"{file}:5")).verdict == "equal"
    assert len(by_line(f"{file}:5").siblings) == 1


# --- what is refused ---


def refused(call, *args, **kwargs):
    with pytest.raises(GnnzooError) as caught:
        call(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("{file}", "expected FILE.jsonl:LINE"),
        ("{file}:0", "expected FILE.jsonl:LINE"),
        ("{file}:x", "expected FILE.jsonl:LINE"),
        ("{file}:5", "there is no such line, the file has 4"),
        ("{file}x:1", "cannot be read: No such file"),
    ],
)
def test_lines_that_are_not_there(file, place, why):
    assert why in refused(by_line, place.format(file=file))


def test_keys_that_are_not_there(results, tmp_path):
    assert refused(by_key, results, "gcn", "karate", split=5) == (
        f"no record of gcn on {BENCHMARK}, split 5, seed 0 in {results / BENCHMARK / 'gcn.jsonl'}"
    )
    assert "there is no" in refused(by_key, tmp_path / "none", "gcn", "karate")
    assert refused(by_key, results, "gnc", "karate").startswith("unknown model 'gnc'")


@pytest.mark.filterwarnings("ignore:.*not a record, passed over")
def test_a_newer_schema(file):
    content = lines(file)
    content[1]["schema"] = 2
    file.write_text("".join(json.dumps(line) + "\n" for line in content))
    assert refused(by_line, f"{file}:2").endswith("schema 2 is not known here (up to 1 are): a newer gnnzoo wrote it")
    assert verify(by_line(f"{file}:1")).verdict == "equal"  # the line concerns itself alone


def test_no_configuration(results, file):
    shutil.rmtree(results / "configs")
    message = refused(by_line, f"{file}:1")
    assert message.startswith(f"{file}:1: its configuration ")
    assert message.endswith("so that nobody can run it again")


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ({"data": "0" * 16}, "the data digest is 0000000000000000, here it is ba7a744d28934ee1"),
        ({"split_hash": "0" * 16}, "the hash of its split is 0000000000000000, here it is"),
        ({"split": 10}, f"split 10, {BENCHMARK} has 10 here"),
        ({"model": "mlp"}, "the model is mlp, here it is gcn"),
    ],
)
def test_what_could_not_be_compared(file, key, what):
    change(file, 1, key=key)
    assert refused(verify, by_line(f"{file}:1")).startswith(f"{file}:1: {what}")


def test_a_configuration_that_means_something_else(results, file):
    (path,) = (results / "configs").iterdir()
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"train": config["train"] | {"lr": 0.5}}))
    assert "its configuration reads as" in refused(verify, by_line(f"{file}:1"))
    path.write_text(json.dumps(config | {"train": config["train"] | {"momentum": 0.5}}))
    message = refused(verify, by_line(f"{file}:1"))
    assert message.startswith(f"{file}:1: its configuration cannot be run here: ")
    assert "momentum" in message


def test_a_device_that_is_not_there(file):
    assert refused(verify, by_line(f"{file}:1"), device="tpu").startswith("device=tpu: ")


# --- own data ---


@pytest.fixture
def own(tmp_path):
    """Records of somebody's own data: the file of records, and the data."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 4, generator=generator)
    edges = torch.randint(60, (2, 150), generator=generator)
    path = tmp_path / "mine.pt"
    torch.save(Data(x=x, edge_index=torch.cat([edges, edges.flip(0)], 1), y=(x[:, 0] > 0).long()), path)
    result = gnnzoo.run("gcn", str(path), splits=[0], settings=FAST, results=tmp_path / "results")
    benchmark = result.records[0].key.benchmark
    return tmp_path / "results" / benchmark / "gcn.jsonl", path


def test_own_data(own):
    file, path = own
    assert verify(by_line(f"{file}:1")).verdict == "equal"
    assert by_key(file.parents[1], "gcn", str(path)).place == f"{file}:1"


def test_own_data_that_moved(own, tmp_path):
    file, path = own
    (tmp_path / "elsewhere").mkdir()
    moved = path.rename(tmp_path / "elsewhere" / "mine.pt")
    assert "there is no such file or folder" in refused(verify, by_line(f"{file}:1"))
    assert verify(by_line(f"{file}:1"), dataset=str(moved)).verdict == "equal"


def test_own_data_that_changed(own):
    file, path = own
    data = torch.load(path, weights_only=False)
    data.x[0] += 1
    torch.save(data, path)
    assert "the data are others" in refused(verify, by_line(f"{file}:1"))


def test_only_own_data_move(file):
    assert "only own data can move" in refused(verify, by_line(f"{file}:1"), dataset="texas")
