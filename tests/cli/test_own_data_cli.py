"""Own data from the command line and the API, under the whole protocol: records, resuming, workers, moved files."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import Data, HeteroData

import gnnzoo
from gnnzoo.datasets import load_dataset
from gnnzoo.errors import ConfigError, DataError, Interrupted
from gnnzoo.leaderboard import Record, Store
from gnnzoo.runner import Reporter, cell
from gnnzoo.runner.config import resolve

Call = Callable[..., tuple[int, str, str]]
FAST = ("train.epochs=4", "train.stopping=none")
RANDOM = "random-60-20-20"


def data(seed: int = 0, masks: bool = False, half: int = 30) -> Data:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(60) % 3
    found = Data(
        x=torch.nn.functional.one_hot(y, 3) + torch.rand(60, 3, generator=generator),
        edge_index=torch.randint(60, (2, 150), generator=generator),
        y=y,
    )
    if masks:
        rows = torch.arange(60)
        found.train_mask, found.val_mask, found.test_mask = rows < half, (rows >= half) & (rows < 45), rows >= 45
    return found


def folder(path: Path) -> None:
    path.mkdir()
    content = data()
    features = zip(content.x.tolist(), content.y.tolist(), strict=True)
    lines = [f"p{i},{'xyz'[y]},{','.join(map(str, x))}" for i, (x, y) in enumerate(features)]
    (path / "nodes.csv").write_text("\n".join(["id,label,a,b,c", *lines]))
    edges = [f"p{a},p{b}" for a, b in content.edge_index.t().tolist()]
    (path / "edges.csv").write_text("\n".join(["source,target", *edges]))


def records(results: str = "results") -> list[Record]:
    store = Store(results)
    return [record for path in store.files() for record in store.read(path)]


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function after which every training is a failure."""

    def forbid() -> None:
        monkeypatch.setattr(cell, "train_cell", lambda *_, **__: pytest.fail("trained again"))

    return forbid


def test_a_file(call: Call, untrained: Callable[[], None]) -> None:
    torch.save(data(), "mine.pt")
    words = ("run", "model=gcn,mlp", "dataset=mine.pt", "splits=0-1", *FAST)
    status, out, err = call(*words)
    assert status == 0, err
    lines = err.splitlines()
    said = "taken as a node task scored by accuracy: one graph with one of 3 classes per node"
    assert lines[0] == f"mine@{RANDOM}: {said}"
    assert len(lines) == 5
    assert f"gcn mine@{RANDOM} split 1 seed 0" in err
    assert f"mine@{RANDOM}: test accuracy" in out
    assert [path.relative_to("results").as_posix() for path in Store("results").files()] == [
        *(f"mine@{RANDOM}/gcn.jsonl", f"mine@{RANDOM}/mlp.jsonl")
    ]
    assert {r.key.data for r in records()} == {load_dataset(data()).digest}
    untrained()
    assert call(*words)[2].count("recorded before") == 4


def test_a_folder_and_the_same_object(call: Call) -> None:
    folder(Path("people"))
    assert call("run", "model=mlp", "dataset=people/", "splits=0", *FAST)[0] == 0
    assert call("run", "model=mlp", f"dataset=./people@{RANDOM}", "splits=0", *FAST)[2].count("recorded before") == 1
    found = gnnzoo.run("mlp", data(), splits=[0], settings={"train.epochs": 4, "train.stopping": None}, results="api")
    assert found.records[0].result == records()[0].result
    assert found.records[0].key.benchmark.startswith("data-")


def test_workers_give_the_same(call: Call) -> None:
    torch.save(data(masks=True), "mine.pt")
    words = ("run", "model=gcn", "dataset=mine.pt", f"protocol={RANDOM}", "splits=0-2", *FAST)
    assert call(*words, "results=one")[0] == 0
    assert call(*words, "results=two", "jobs=2")[0] == 0
    assert [(r.key, r.result) for r in records("one")] == sorted(
        ((r.key, r.result) for r in records("two")), key=lambda pair: pair[0].split
    )


def test_records_belong_to_the_content(call: Call, untrained: Callable[[], None]) -> None:
    Path("a").mkdir(), Path("b").mkdir()
    torch.save(data(0, masks=True), "a/mine.pt")
    torch.save(data(1, masks=True), "b/mine.pt")
    status, _, err = call("run", "model=mlp", "dataset=a/mine.pt,b/mine.pt", *FAST)
    assert status == 0, err
    first, second = records()
    assert first.key.benchmark == second.key.benchmark == "mine@own"
    assert first.key.config != second.key.config
    assert first.result.digest != second.result.digest
    torch.save(data(0, masks=True, half=20), "b/mine.pt")  # the same data, other splits
    assert call("run", "model=mlp", "dataset=b/mine.pt", *FAST)[0] == 0
    assert len(records()) == 3
    assert records()[2].result.rows["train"] == 20
    shutil.move("a/mine.pt", "b/mine.pt")
    untrained()
    assert "recorded before" in call("run", "model=mlp", "dataset=b/mine.pt", *FAST)[2]
    result = gnnzoo.run("mlp", Path("b/mine.pt"), settings={"train.epochs": 4, "train.stopping": None})
    assert result.records[0] == first
    assert result.model is not None  # of the work folder


def test_a_stored_configuration_finds_its_data(call: Call, untrained: Callable[[], None]) -> None:
    torch.save(data(), "mine.pt")
    assert call("run", "model=mlp", "dataset=mine.pt", "splits=0", *FAST)[0] == 0
    (path,) = Path("results/configs").glob("*.json")
    stored = json.loads(path.read_text())
    assert stored["names"]["dataset"] == str(Path("mine.pt").absolute())
    Path("elsewhere").mkdir()
    shutil.move("mine.pt", "elsewhere/mine.pt")
    again = ("run", f"config={path}", "splits=0")
    status, _, err = call(*again)
    assert status == 2
    assert err.startswith(f"gnnzoo: dataset {stored['names']['dataset']}: there is no such file or folder")
    assert err.count("\n") == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cell, "train_cell", lambda *_, **__: pytest.fail("trained again"))
        status, _, err = call(*again, "dataset=elsewhere/mine.pt")
        assert status == 0
        assert "recorded before" in err
    torch.save(data(1), "elsewhere/mine.pt")
    status, _, err = call(*again, "dataset=elsewhere/mine.pt")
    assert status == 0
    assert f"mine@{RANDOM}: not the data that this configuration was stored with" in err
    assert len(records()) == 2


class Stop(Reporter):
    """Stops a run at an epoch, or hears which epochs ran."""

    def __init__(self, at: int = 0) -> None:
        self.at, self.epochs = at, list[int]()

    def epoch(self, cell: Any, epoch: int, row: Any) -> None:
        self.epochs.append(epoch)
        if epoch == self.at:
            raise Interrupted("stopped")


def test_an_interrupted_run_goes_on_unless_the_file_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {"train.epochs": 8, "train.stopping": None}

    def run(reporter: Reporter, results: str = "results") -> Record:
        found = gnnzoo.run("gcn", "mine.pt", settings=settings, results=results, checkpoint=0, reporter=reporter)
        return found.records[0]

    torch.save(data(masks=True), "mine.pt")
    with pytest.raises(Interrupted):
        run(Stop(5))
    torch.save(data(masks=True, half=20), "mine.pt")
    changed = Stop()
    assert run(changed).result.rows["train"] == 20
    assert changed.epochs[0] == 1
    torch.save(data(masks=True), "mine.pt")
    resumed = Stop()
    record = run(resumed)
    assert resumed.epochs[0] > 1
    assert record.result == run(Reporter(), "undisturbed").result


def test_predictions(call: Call) -> None:
    torch.save(data(), "mine.pt")
    torch.save(data(3), "new.pt")
    assert call("run", "model=gcn", "dataset=mine.pt", "splits=1", "save=m.pt", *FAST)[0] == 0
    for name in ("mine.pt", f"mine.pt@{RANDOM}", "./new.pt"):
        assert call("predict", "m.pt", f"dataset={name}", "out=p.csv")[:2] == (0, "60 predictions in p.csv\n")
        with open("p.csv") as file:
            assert [row["node"] for row in csv.DictReader(file)] == [str(i) for i in range(60)]


def test_dry_run_and_info(call: Call, tmp_path: Path) -> None:
    torch.save(data(masks=True), "mine.pt")
    status, out, err = call("run", "--dry-run", "model=gcn", "dataset=mine.pt")
    assert (status, err) == (0, "")
    assert "gcn on mine@own, strategy erm" in out
    assert "measured on a random graph" in out
    for words in (("info", "mine.pt"), ("data", "info", "./mine.pt")):
        status, out, err = call(*words)
        assert (status, err) == (0, "")
        assert "60 nodes, 150 edges, 3 features, 3 classes" in out
        assert f"mine@{RANDOM}" in out
    assert call("data", "check", "mine.pt")[0] == 0
    assert {path.name for path in tmp_path.iterdir()} == {"mine.pt"}


def test_a_name_that_a_benchmark_has_takes_none_of_its_settings(call: Call) -> None:
    torch.save(data(), "texas.pt")
    own, shipped = resolve("gcn", "texas.pt"), resolve("gcn", "texas")
    assert own.benchmark == f"texas-own@{RANDOM}"
    assert shipped.sections["data"]["normalize_features"] == "row"
    assert own.sections["data"]["normalize_features"] == "none"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=gcn", "dataset=mien.pt"], "dataset mien.pt: there is no such file or folder; did you mean 'mine.pt'?"),
        (["model=gnc", "dataset=mine.pt"], "unknown model 'gnc'; did you mean"),
        (
            ["model=gin", "dataset=mine.pt", "protocol=own"],
            "unknown protocol 'own' in dataset mine; choose from: random",
        ),
        (["model=gcn", "dataset=mine.pt", "splits=10"], f"splits=10: mine@{RANDOM} has 10 splits, 0 to 9"),
        (["model=gcn", "dataset=mine.pt", "dataset.x=1"], "unknown key dataset.x; there are none"),
        (["model=gcn", "dataset=bad/"], "bad/nodes.csv line 3, column f: 'x' is not a number"),
        (["model=gcn", "dataset=graphs.pt"], "model gcn is for node and inductive-node tasks, graphs is a graph task"),
        (["model=gcn", "dataset=torn.pt"], "torn.pt is damaged, or no file of torch.save"),
        (["model=gcn", "dataset=scalar.pt"], "scalar.pt: edge_attr is a single number: a row for each is expected"),
        (["model=gcn", "dataset=zeros.pt"], "zeros.pt: all labels are one value, 0: there is nothing to learn"),
        (["model=gin", "dataset=empty.pt"], "empty.pt: graph 0: there are no nodes"),
        (["model=gcn", "dataset=types.pt"], "types.pt: the number of nodes of b is not known: give x or num_nodes"),
        (
            ["model=gcn", "dataset=hyper.pt"],
            "hyper.pt: hyperedge_index[1, 1] is 10000000000000000, of only 2",
        ),
        (["model=gcn", "dataset=long/"], f"long/nodes.csv line 3, column label: '{'9' * 40}...' is no class: whole"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes(words: list[str], message: str, call: Call, tmp_path: Path) -> None:
    torch.save(data(), "mine.pt")
    torch.save(
        [Data(x=torch.ones(2, 1), edge_index=torch.ones(2, 1).long(), y=torch.tensor(i % 2)) for i in range(9)],
        "graphs.pt",
    )
    torch.save(data().update({"edge_attr": torch.tensor(1.0)}), "scalar.pt")
    torch.save(data().update({"y": torch.zeros(60)}), "zeros.pt")
    nothing = torch.ones(2, 0).long()
    torch.save([Data(x=torch.ones(0, 1), edge_index=nothing, y=torch.tensor(i % 2)) for i in range(9)], "empty.pt")
    types = HeteroData(a={"x": torch.ones(60, 1), "y": torch.arange(60) % 3})
    types["a", "to", "b"].edge_index = nothing
    torch.save(types, "types.pt")
    torch.save(data().to_dict() | {"hyperedge_index": torch.tensor([[0, 1], [0, 10**16]])}, "hyper.pt")
    Path("long").mkdir()
    Path("long/nodes.csv").write_text(f"f,label\n1,0\n2,{'9' * 5000}\n3,1\n")
    Path("long/edges.csv").write_text("source,target\n0,1\n")
    Path("torn.pt").write_bytes(Path("mine.pt").read_bytes()[:-300])
    Path("bad").mkdir()
    Path("bad/nodes.csv").write_text("f,label\n1,0\nx,1\n")
    Path("bad/edges.csv").write_text("source,target\n0,1\n")
    before = set(tmp_path.rglob("*"))
    status, out, err = call("run", *words)
    assert (status, out) == (2, "")
    assert err.startswith(f"gnnzoo: {message}"), err
    assert err.count("\n") == 1
    assert set(tmp_path.rglob("*")) == before


def test_a_variable_that_names_no_folder(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(data(), "mine.pt")
    for name in ("mine.pt", "nowhere"):
        monkeypatch.setenv("GNNZOO_DATA", name)
        for words in (("run", "model=gcn", "dataset=texas"), ("info", "texas"), ("list", "datasets"), ("data", "list")):
            assert call(*words) == (2, "", f"gnnzoo: GNNZOO_DATA={name} is not a folder\n")
        assert call("run", "--dry-run", "model=gcn", "dataset=mine.pt")[0] == 0  # reads nothing there


def test_a_missing_file_costs_no_torch(tmp_path: Path) -> None:
    script = """
import sys
from gnnzoo.cli import main
sys.argv = ["gnnzoo", "run", "model=gcn", "dataset=gone/mine.pt"]
try:
    main()
except SystemExit as stop:
    print(stop.code, [name for name in ("torch", "pandas", "numpy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "2 []\n", done.stderr


def test_objects_stay_in_this_process(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"dataset data-\w+ is registered in this process alone.*use jobs=1, or save it"
    ):
        gnnzoo.run("mlp", data(), jobs=2, results=tmp_path / "results")
    assert not list(tmp_path.iterdir())


def test_an_object_that_changes(tmp_path: Path) -> None:
    mine = data()
    first = gnnzoo.run("mlp", mine, splits=[0], settings={"train.epochs": 2}, results=tmp_path)
    again = gnnzoo.run("mlp", mine, splits=[0], settings={"train.epochs": 2}, results=tmp_path)
    assert again.records == first.records
    mine.x = mine.x + 1
    other = gnnzoo.run("mlp", mine, splits=[0], settings={"train.epochs": 2}, results=tmp_path)
    assert other.records[0].key.data != first.records[0].key.data
    mine.x.zero_()  # under the runner's hands
    cell._load.cache_clear()
    with (
        pytest.warns(UserWarning, match="the data are not those of the card"),
        pytest.raises(DataError, match="the data have changed since this run was planned: start it again"),
    ):
        other.work(other.plan.cells[0])


def test_graphs(tmp_path: Path) -> None:
    many = [
        Data(x=torch.rand(4, 2), edge_index=torch.tensor([[0, 1], [1, 2]]), y=torch.tensor([i / 9])) for i in range(20)
    ]
    found = gnnzoo.run("gin", many, splits=[0, 1], settings={"train.epochs": 2}, results=tmp_path)
    assert found.records[0].result.metric == "rmse"
    assert found.records[0].result.rows == {"train": 12, "val": 4, "test": 4}
