"""Names, aliases, globs, filters, plug-ins; and YAML that is wrong."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gnnzoo import registry, resources
from gnnzoo.cards import DatasetCard, ModelCard
from gnnzoo.errors import ConfigError, UnknownNameError, closest
from gnnzoo.registry import DATASETS, MODELS, Registry, import_object
from gnnzoo.resources import load_yaml, parse_value

CARD = """\
name: {name}
class: collections.OrderedDict
summary: a test
tasks: [{task}]
structures: [graph]
aliases: [{aliases}]
"""

Make = Callable[..., "Registry[ModelCard]"]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return a function that makes a registry of ``name=(task, aliases)`` or of ``name=yaml``."""

    def build(**cards: tuple[str, str] | str) -> Registry[ModelCard]:
        (tmp_path / "models").mkdir(exist_ok=True)
        for name, card in cards.items():
            file = name.replace("_", "-")
            text = card if isinstance(card, str) else CARD.format(name=file, task=card[0], aliases=card[1])
            (tmp_path / "models" / f"{file}.yaml").write_text(text)
        monkeypatch.setattr(registry, "config_dir", lambda: tmp_path)
        return Registry("model", "models", ModelCard)

    return build


def test_names_aliases_and_case(make: Make) -> None:
    found = make(big_net=("node", "BN, bignet2"), other=("graph", ""))
    assert found.names() == ["big-net", "other"]
    for name in ("big-net", "BIG_NET", "bn", "BigNet2"):
        assert found.canonical(name) == "big-net"
    assert found.card("bn").name == "big-net"
    assert found.get("bn").__name__ == "OrderedDict"


def test_unknown_names_come_with_the_nearest(make: Make) -> None:
    found = make(big_net=("node", "hugenet"), other=("graph", ""))
    with pytest.raises(UnknownNameError, match="unknown model 'bignet'; did you mean 'big-net'"):
        found.card("bignet")
    with pytest.raises(UnknownNameError, match="did you mean 'hugenet'"):
        found.card("hugnet")
    with pytest.raises(UnknownNameError, match="choose from: big-net, hugenet, other"):
        found.card("zzz")
    assert closest("x", []) == "; there are none"


def test_ambiguous_alias(make: Make) -> None:
    found = make(one=("node", "net"), two=("node", "NET"))
    with pytest.raises(ConfigError, match="'net' may be 'one' or 'two': write which"):
        found.card("net")


def test_a_name_goes_before_an_alias(make: Make) -> None:
    assert make(net=("node", ""), two=("node", "net")).canonical("net") == "net"


def test_globs_and_filters(make: Make) -> None:
    found = make(gcn=("node", ""), gcn2=("graph", ""), mlp=("node", "gcn-without-graph"))
    assert found.list() == ["gcn", "gcn2", "mlp"]
    assert found.list("GCN?") == ["gcn2"]
    assert found.list("gcn*") == ["gcn", "gcn2", "mlp"]
    assert found.list("*", task="node") == ["gcn", "mlp"]
    assert found.list("gcn", task="graph", structure="graph") == []
    assert found.list("nothing*") == []


def test_unknown_filters(make: Make) -> None:
    found = make(gcn=("node", ""))
    with pytest.raises(ConfigError, match="unknown filter 'taks' for models; did you mean 'task'"):
        found.list(taks="node")
    with pytest.raises(ConfigError, match="no model has task=nodes; did you mean 'node'"):
        found.list(task="nodes")


def test_wrong_cards(make: Make) -> None:
    with pytest.raises(ConfigError, match=r"bad\.yaml: name 'good' is not the file's name"):
        make(bad=CARD.format(name="good", task="node", aliases="")).names()
    with pytest.raises(ConfigError, match=r"bad\.yaml: colour: unknown key"):
        make(bad=CARD.format(name="bad", task="node", aliases="") + "colour: red\n").names()
    with pytest.raises(ConfigError, match=r"bad\.yaml: tasks\.0: .*'nodes'"):
        make(bad=("nodes", "")).names()
    with pytest.raises(ConfigError, match=r"bad\.yaml: tasks: Field required"):
        make(bad="name: bad\nclass: a.b\nsummary: s\nstructures: [graph]\n").names()
    with pytest.raises(ConfigError, match=r"bad\.yaml:3: not valid YAML"):
        make(bad="name: bad\nsummary: x\n  tasks: [\n").names()
    with pytest.raises(ConfigError, match=r"bad\.yaml:1: expected 'key: value' lines, found a list"):
        make(bad="- a\n- b\n").names()


def test_a_class_that_cannot_be_imported(make: Make) -> None:
    found = make(bad=CARD.format(name="bad", task="node", aliases="").replace("OrderedDict", "NoSuchClass"))
    with pytest.raises(ConfigError, match=r"cannot import 'collections\.NoSuchClass'"):
        found.get("bad")
    for path in ("nothing", "no_such_package.x", ""):
        with pytest.raises(ConfigError, match="cannot import"):
            import_object(path)


def test_register(make: Make) -> None:
    found = make(gcn=("node", ""))
    card = ModelCard.model_validate(
        {"name": "mine", "class": "a.B", "summary": "s", "tasks": ["node"], "structures": ["graph"]}
    )
    found.register(card, dict)
    found.register(card, list)
    assert found.get("MINE") is list
    with pytest.raises(ConfigError, match="'gcn' exists already"):
        found.register(card.model_copy(update={"name": "gcn"}), dict)


def test_plugins(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "my_plugin"
    (package / "configs" / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('a plug-in is not imported before it is used')\n")
    (package / "configs" / "models" / "theirs.yaml").write_text(CARD.format(name="theirs", task="node", aliases=""))

    class Entry:
        def __init__(self, name: str, value: str) -> None:
            self.name, self.value = name, value

    entries = [Entry("my", "my_plugin"), Entry("gone", "no_such_package")]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with pytest.warns(UserWarning, match="plug-in 'gone'"):
        assert make(gcn=("node", "")).names() == ["gcn", "theirs"]
    (package / "configs" / "models" / "gcn.yaml").write_text(CARD.format(name="gcn", task="node", aliases=""))
    with (
        pytest.warns(UserWarning, match="plug-in 'gone'"),
        pytest.raises(ConfigError, match=r"model 'gcn' stands in .*/models/gcn\.yaml and in .*my_plugin"),
    ):
        make(gcn=("node", "")).names()


def test_yaml_numbers_and_doubled_keys(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1e-3\nb: 5e4\nc: '1e-3'\nd: [1E2, -2.5e+1, .5e1]\ne: 0x10\nf: 12e\n")
    assert load_yaml(path) == {"a": 0.001, "b": 50000.0, "c": "1e-3", "d": [100.0, -25.0, 5.0], "e": 16, "f": "12e"}
    path.write_text("a: 1\nb:\n  c: 2\n  d: 3\n  c: 4\n")
    with pytest.raises(ConfigError, match=r"a\.yaml:5: not valid YAML: key 'c' stands twice"):
        load_yaml(path)
    path.write_text("base: &base {lr: 0.1, x: 1}\nmore: {<<: *base, x: 2}\n")
    assert load_yaml(path)["more"] == {"lr": 0.1, "x": 2}


def test_yaml_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for content, match in (
        (b"a: \xff\xfe\n", "not a text file"),
        (b"a: !!python/object/apply:os.system ['true']\n", r"a\.yaml:1: not valid YAML"),
        (b"a: b: c\n", r"a\.yaml:1: not valid YAML"),
        (b"a: \x00\n", "not valid YAML"),
        (b"? [a, b]\n: c\n", r"a\.yaml:1: not valid YAML: a key must be a word"),
        (b"just words\n", "found a str"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=match) as caught:
            load_yaml(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"cannot read .*No such file"):
        load_yaml(tmp_path / "absent.yaml")
    path.write_text("")
    assert load_yaml(path) == {}


def test_command_line_values_are_yaml() -> None:
    expected = {
        "1e-3": 0.001,
        "true": True,
        "[1, 2]": [1, 2],
        "word": "word",
        "": None,
        "a: [": "a: [",
        "{a: 1}": {"a": 1},
    }
    assert {text: parse_value(text) for text in expected} == expected


def test_configs_are_found_in_the_checkout_or_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "gnnzoo"
    package.mkdir()
    monkeypatch.setattr(resources, "__file__", str(package / "resources.py"))
    find = resources.config_dir.__wrapped__
    with pytest.raises(ConfigError, match="reinstall"):
        find()
    for folder in (tmp_path / "configs", package / "configs"):  # the second wins
        folder.mkdir()
        (folder / "defaults.yaml").write_text("")
        assert find() == folder


def test_all_shipped_cards_are_valid() -> None:
    assert {"gcn", "mlp", "gin", "dagnn"} <= set(MODELS.names())
    assert {"texas", "cora"} <= set(DATASETS.names())
    for name in DATASETS.names():
        assert isinstance(DATASETS.card(name), DatasetCard)


def test_names_need_no_torch() -> None:
    code = (
        "import sys; from gnnzoo.registry import MODELS, DATASETS, STRATEGIES, SUITES;"
        "[r.list() for r in (MODELS, DATASETS, STRATEGIES, SUITES)]; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n", done.stderr
