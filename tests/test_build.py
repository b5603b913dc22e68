"""From a name to a module, to a file, and back; and everything that can be wrong on the way."""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data, HeteroData

import gnnzoo
from gnnzoo.errors import ConfigError, GnnzooError, StorageError, UnknownNameError
from gnnzoo.models import GCN
from gnnzoo.models.build import (
    create_model,
    load_model,
    load_reference,
    model_arguments,
    read_model_file,
    register_model,
    save_model,
)
from gnnzoo.registry import MODELS
from gnnzoo.testing import graphs


@pytest.fixture(autouse=True)
def forget_registered() -> Iterator[None]:
    before = dict(MODELS._registered)
    yield
    MODELS._registered.clear()
    MODELS._registered.update(before)


def fails(match: str, *args: Any, **kwargs: Any) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        create_model(*args, **kwargs)
    assert "\n" not in str(caught.value)


def test_sizes_from_the_data() -> None:
    model = create_model("gcn", graphs.path(), hidden_channels=5)
    assert isinstance(model, GCN)
    assert [(c.in_channels, c.out_channels) for c in model.convs] == [(6, 5), (5, 3)]


def test_sizes_from_a_list_of_graphs() -> None:
    assert model_arguments("gin", graphs.graphs())["out_channels"] == 2


def test_sizes_from_the_call_win() -> None:
    assert model_arguments("gcn", graphs.path(), out_channels=9, in_channels=4)["out_channels"] == 9
    assert create_model("gcn", in_channels=4, out_channels=2).convs[0].in_channels == 4


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (torch.tensor([0, 2, -1]), 3),
        (torch.tensor([[0], [4]]), 5),
        (torch.rand(4, 12), 12),
        (torch.tensor([0.5]), 1),
        (torch.tensor([[0.5]]), 1),
        (torch.tensor([[0, 1], [1, 1]]), 2),
    ],
)
def test_number_of_outputs(y: Tensor, expected: int) -> None:
    assert model_arguments("mlp", Data(x=torch.ones(1, 3), y=y))["out_channels"] == expected


def test_all_arguments_are_returned_and_defaults_of_the_card_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    assert model_arguments("mlp", in_channels=4, out_channels=2) == {
        "in_channels": 4,
        "out_channels": 2,
        "hidden_channels": 64,
        "num_layers": 2,
        "dropout": 0.5,
    }
    monkeypatch.setitem(MODELS.card("mlp").defaults.model, "hidden_channels", 17)
    assert model_arguments("mlp", in_channels=4, out_channels=2)["hidden_channels"] == 17
    assert model_arguments("mlp", in_channels=4, out_channels=2, hidden_channels=3)["hidden_channels"] == 3


def test_wrong_input_is_one_line_with_the_nearest_choice() -> None:
    sizes = {"in_channels": 4, "out_channels": 2}
    fails("unknown model 'gcnn'; did you mean 'gcn'", "gcnn", **sizes)
    fails(r"unknown key model\.hiden_channels; did you mean 'hidden_channels'", "gcn", hiden_channels=3, **sizes)
    fails(r"model\.dropout=1\.0: .*less than 1", "gcn", dropout=1.0, **sizes)
    fails(r"model\.num_layers=0", "gcn", num_layers=0, **sizes)
    fails(r"model\.num_layers='two': .*integer", "gcn", num_layers="two", **sizes)
    fails("needs in_channels and out_channels: pass data", "gcn")
    fails("needs out_channels", "gcn", in_channels=3)
    fails("in_channels=0: .* at least 1", "gcn", in_channels=0, out_channels=2)
    fails("out_channels=2.5: .* whole number", "gcn", in_channels=3, out_channels=2.5)
    fails("in_channels={'paper': 0}: .* whole number", "gcn", in_channels={"paper": 0}, out_channels=2)
    fails("data is a str", "gcn", "texas")
    fails("data is a list", "gcn", [])
    fails(
        "needs in_channels", "gcn", Data(edge_index=torch.zeros(2, 0, dtype=torch.int64), num_nodes=3), out_channels=2
    )
    fails("GCN reads no HeteroData", "gcn", graphs.hetero())


class Inferring(nn.Module):
    """A model whose sizes come from the data.

    Args:
        in_channels: width of the features.
        out_channels: number of classes.
        num_types: number of node types.
        depth: number of layers.
    """

    def __init__(self, in_channels: int, out_channels: int, num_types: int, depth: int = 1) -> None:
        super().__init__()
        self.num_types = num_types

    @classmethod
    def infer(cls, data: HeteroData) -> dict[str, Any]:
        """Read the sizes."""
        return {"in_channels": data["paper"].num_features, "num_types": len(data.node_types), "out_channels": 3}


def test_infer_supplies_required_arguments() -> None:
    register_model("inferring", structures=["heterogeneous"])(Inferring)
    model = create_model("inferring", [graphs.hetero()])  # one graph in a list is that graph
    assert model.num_types == 2
    fails("needs num_types", "inferring", in_channels=1, out_channels=1)
    assert create_model("inferring", in_channels=1, out_channels=1, num_types=4).num_types == 4


def test_register_model() -> None:
    @register_model()
    class Mine(nn.Module):
        """My model.

        Args:
            in_channels: width.
            out_channels: classes.
        """

        def __init__(self, in_channels: int, out_channels: int) -> None:
            super().__init__()

    assert MODELS.get("mine") is Mine
    assert MODELS.card("mine").summary == "My model."
    assert isinstance(gnnzoo.create_model("mine", graphs.path()), Mine)
    assert "mine" in gnnzoo.list_models("mi*")
    register_model("mine", summary="again")(Mine)  # a notebook's cell is run twice
    assert MODELS.card("mine").summary == "again"


def test_register_model_refuses_bad_cards() -> None:
    with pytest.raises(ConfigError, match="model 'gcn' exists already"):
        register_model("gcn")(Inferring)
    with pytest.raises(ConfigError, match="card of model 'x': colour: unknown key"):
        register_model("x", colour="red")(Inferring)
    with pytest.raises(ConfigError, match=r"card of model 'x': tasks"):
        register_model("x", tasks=["nodes"])(Inferring)
    with pytest.raises(ConfigError, match="with the parentheses"):
        register_model(Inferring)  # type: ignore[arg-type]


def test_load_reference_without_authors_code() -> None:
    with pytest.raises(ConfigError, match="'mlp' knows no authors' names"):
        load_reference("mlp", {}, {})


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, nn.Module]:
    data = graphs.path()
    arguments = model_arguments("dagnn", data, hidden_channels=8, batch_norm=True)
    model = create_model("dagnn", **arguments).train()
    model(data.x, data.edge_index)
    save_model(
        tmp_path / "model.pt", "dagnn", arguments, model.state_dict(), {"train": {"lr": 0.01}, "model": arguments}
    )
    return tmp_path / "model.pt", model.eval()


def test_a_saved_model_comes_back(saved: tuple[Path, nn.Module]) -> None:
    path, model = saved
    data, again = graphs.path(), gnnzoo.load_model(path)
    assert not again.training
    assert torch.equal(again(data.x, data.edge_index), model(data.x, data.edge_index))
    assert read_model_file(path)["config"]["train"] == {"lr": 0.01}
    assert set(read_model_file(path)) == {"format", "model", "arguments", "config", "state_dict"}


def test_double_precision_stays(tmp_path: Path) -> None:
    arguments = model_arguments("mlp", in_channels=3, out_channels=2)
    model = create_model("mlp", **arguments).double()
    save_model(tmp_path / "m.pt", "mlp", arguments, model.state_dict(), {})
    again = load_model(tmp_path / "m.pt")
    assert all(
        torch.equal(a, b) and b.dtype == a.dtype for a, b in zip(again.parameters(), model.parameters(), strict=True)
    )


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch evil-was-here",)


def test_bad_files_are_one_line_and_run_nothing(
    saved: tuple[Path, nn.Module], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    path, _ = saved
    whole = path.read_bytes()
    bad = tmp_path / "bad.pt"

    def expect(match: str, kind: type[GnnzooError] = StorageError) -> None:
        with pytest.raises(kind, match=match) as caught:
            load_model(bad)
        assert "\n" not in str(caught.value)
        assert "bad.pt" in str(caught.value)

    expect("cannot read .*No such file")
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 30):
        bad.write_bytes(whole[:size])
        expect("not a model that gnnzoo saved")
    bad.write_text("epoch,loss\n1,0.5\n")
    expect("not a model that gnnzoo saved")
    bad.write_bytes(pickle.dumps(Evil(), protocol=2))
    expect("code")
    torch.save(Evil(), bad)
    expect("code")
    assert not (tmp_path / "evil-was-here").exists()
    torch.save({"weight": torch.ones(2)}, bad)
    expect("not a model that gnnzoo saved")

    content = torch.load(path, weights_only=True)
    for change, match, kind in (
        ({"format": 2}, "format 2 is newer", StorageError),
        ({"state_dict": None}, "no state_dict", StorageError),
        ({"state_dict": {"weight": 5}}, "state_dict holds more than weights", StorageError),
        ({"model": "dagnm"}, "unknown model 'dagnm'; did you mean 'dagnn'", ConfigError),
        ({"arguments": {**content["arguments"], "depth": 2}}, r"unknown key model\.depth", ConfigError),
        ({"arguments": {**content["arguments"], "hidden_channels": 9}}, "has changed since", ConfigError),
    ):
        torch.save(content | change, bad)
        expect(match, kind)
    bad.unlink()
    bad.mkdir()
    expect("cannot read")


def test_save_model_reports_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        save_model(tmp_path / "file" / "m.pt", "mlp", {}, {}, {})


def test_one_import_does_not_import_the_other_models() -> None:
    code = (
        "import sys; from gnnzoo.models import MLP;"
        "print(sorted(m for m in sys.modules if m.startswith('gnnzoo.models.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "['gnnzoo.models.mlp']\n", done.stderr


def test_unknown_name_error_is_a_key_error_too() -> None:
    with pytest.raises(KeyError):
        create_model("no-such-model")
    assert issubclass(UnknownNameError, ConfigError)
