"""A study: what it may see, what it tries, what it survives, and what it names."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import optuna
import pytest
import torch
import yaml
from harness import Command
from optuna.trial import TrialState
from torch_geometric.data import Data

import gnnzoo
from gnnzoo.cards import METRICS, Domain
from gnnzoo.datasets import Split
from gnnzoo.errors import ConfigError, GnnzooError, Interrupted, StorageError
from gnnzoo.leaderboard import Store
from gnnzoo.registry import MODELS, register_dataset
from gnnzoo.runner import cell as cells
from gnnzoo.runner import resolve
from gnnzoo.runner.bench import bench
from gnnzoo.runner.config import RESERVED, DataConfig, TrainConfig
from gnnzoo.runner.standings import standings
from gnnzoo.runner.tune import TuneReporter, execute, prepare, tune
from gnnzoo.runner.tuning import search as searching
from gnnzoo.runner.tuning import studies
from gnnzoo.runner.tuning.search import MedianPruner, Outcome
from gnnzoo.runner.tuning.space import grid, grid_size, nearest, tidy, widen
from gnnzoo.runner.tuning.studies import OUTCOME, load_study, reclaim, tally
from gnnzoo.signature import check, validate

NODES = 60
FAST = {"train.epochs": 12, "train.stopping": "none", "model.num_layers": 2}


def load_toy(card, protocol, files):
    """Return a graph of three classes whose features tell them, and one or four splits."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(NODES) % 3
    x = torch.eye(3)[y] + torch.randn(NODES, 3, generator=generator)
    pairs = torch.randint(NODES, (2, 150), generator=generator)
    data = Data(x=x, edge_index=torch.cat([pairs, pairs.flip(0)], 1), y=y)
    splits = []
    for index in range(card.protocols[protocol].splits):
        train, val, test = torch.randperm(NODES, generator=generator).split([20, 20, 20])
        splits.append(Split(index, train, val if protocol != "habit" else test, test))
    return data, splits


@pytest.fixture(scope="module", autouse=True)
def _toy(_registries):
    common = {"summary": "s", "metric": "accuracy"}
    card = {
        "name": "toy",
        "summary": "three classes",
        "family": "tests",
        "task": "node",
        "num_outputs": 3,
        "counts": {"nodes": NODES, "edges": 300, "features": 3},
        "protocols": {
            "four": {**common, "splits": 4},
            "one": {**common, "splits": 1},
            "habit": {**common, "splits": 1, "selection": "on-test"},
        },
        "default_protocol": "four",
    }
    register_dataset(card, load_toy)


class Spy(TuneReporter):
    """Keeps what it hears."""

    def __init__(self):
        self.trials, self.finals, self.begun = [], [], []

    def begin(self, tuning, done):
        self.begun.append(done)

    def trial(self, tuning, number, outcome, state):
        self.trials.append((number, state, outcome))

    def final(self, tuning, cell, number, total, outcome, state):
        self.finals.append((cell[0].trial, cell[1], cell[2], state))


def toy(folder, dataset="toy@four", settings=FAST, **changes):
    options = {"trials": 6, "finalists": 1, "splits": [0], "studies": folder} | changes
    return tune("gcn", dataset, settings=settings, **options)


def tried(folder):
    """Return what the trials of a study were and came to, in their order; retried ones once."""
    study, _ = load_study(folder)
    return [(t.params, t.state.name, t.value, t.intermediate_values) for t in tally(study).trials]


def only(folder):
    (found,) = folder.iterdir()
    return found


# --- the space -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS.names())
def test_every_model_has_a_search_space_of_possible_values(model):
    card = MODELS.card(model)
    assert card.search, f"{model}: its YAML has no search space"
    required = [*RESERVED]
    for key, domain in card.search.items():
        section, _, rest = key.partition(".")
        for value in domain.ends:
            if section == "model":
                validate(MODELS.get(model), {rest: value}, "model", tuple(required))
            elif rest.startswith("groups."):
                _, tag, name = rest.split(".")
                assert tag in card.parameter_groups
                check(TrainConfig, {"groups": {tag: {name: value}}}, "train")
            else:
                check({"train": TrainConfig, "data": DataConfig}[section], {rest: value}, section)


@pytest.mark.parametrize(
    ("domain", "value", "expected"),
    [
        ({"choices": [8, 16]}, 16, {"choices": [8, 16]}),
        ({"choices": [8, 16]}, 20, {"choices": [8, 16, 20]}),
        ({"choices": [0, 1]}, True, {"choices": [0, 1, True]}),
        ({"choices": [200]}, None, {"choices": [200, None]}),
        ({"low": 0.1, "high": 0.5}, 0.7, {"low": 0.1, "high": 0.7}),
        ({"low": 0.0, "high": 0.8, "step": 0.1}, 0.5, {"low": 0.0, "high": 0.8, "step": 0.1}),
        ({"low": 0.0, "high": 0.8, "step": 0.1}, 0.9, {"low": 0.0, "high": 0.9, "step": 0.1}),
        ({"low": 0.0, "high": 0.8, "step": 0.1}, 0.7276, {"low": 0.0, "high": 0.8}),
        ({"low": 1e-4, "high": 1e-3, "log": True}, 5e-3, {"low": 1e-4, "high": 5e-3, "log": True}),
        ({"low": 1e-4, "high": 1e-3, "log": True}, 0.0, {"low": 1e-4, "high": 1e-3, "log": True}),
        ({"low": 1e-4, "high": 1e-3, "log": True}, None, {"low": 1e-4, "high": 1e-3, "log": True}),
        ({"low": 1, "high": 4}, 6, {"low": 1, "high": 6}),
        ({"low": 1, "high": 4}, 2.5, {"low": 1, "high": 4}),
    ],
)
def test_the_space_is_widened_to_hold_the_shipped_value(domain, value, expected):
    wide = widen(Domain(**domain), value)
    assert wide == Domain(**expected)
    found = nearest(wide, value)
    inside = wide.choices is not None or wide.low <= found <= wide.high
    assert inside
    assert found == value or wide == Domain(**domain)


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ({"choices": ["a", None, True]}, ["a", None, True]),
        ({"low": 1, "high": 3}, [1, 2, 3]),
        ({"low": 0, "high": 100}, [0, 25, 50, 75, 100]),
        ({"low": 0.0, "high": 0.3, "step": 0.1}, [0.0, 0.1, 0.2, 0.3]),
        ({"low": 1.0, "high": 2.0}, [1.0, 1.25, 1.5, 1.75, 2.0]),
        ({"low": 1e-4, "high": 1.0, "log": True}, [1e-4, 1e-3, 1e-2, 1e-1, 1.0]),
    ],
)
def test_grid(domain, expected):
    assert grid(Domain(**domain)) == pytest.approx(expected) if isinstance(expected[0], float) else expected
    assert grid_size({"a": Domain(**domain), "b": Domain(choices=[1, 2])}) == 2 * len(expected)


def test_steps_leave_no_rounding():
    assert tidy(Domain(low=0.0, high=0.9, step=0.1), 0.30000000000000004) == 0.3


@pytest.mark.parametrize(
    "domain",
    [{}, {"choices": []}, {"low": 1}, {"low": 2, "high": 1}, {"low": 0, "high": 1, "log": True}]
    + [{"choices": [1], "low": 0, "high": 1}, {"low": 0, "high": 1, "step": 0}, {"low": 0.1, "high": 1, "stepp": 0.1}],
)
def test_domains_that_cannot_be(domain):
    with pytest.raises(ValueError, match=r"choices|low|step"):
        Domain(**domain)


def test_trial_0_is_the_shipped_configuration_as_far_as_the_space_has_it(tmp_path):
    """The authors' sweep for sheaf does not hold the settings of their own script for texas."""
    tuning = prepare({"model": "sheaf", "dataset": "texas", "studies": str(tmp_path)})
    assert tuning.base.hash == resolve("sheaf", "texas").hash
    assert tuning.start["train.weight_decay"] == 5e-3
    assert tuning.start["model.hidden_channels"] == 20
    # which is not set there, and so is that of all parameters
    assert tuning.start["train.groups.sheaf_learner.weight_decay"] == 5e-3
    for key, domain in tuning.space.items():
        value = tuning.start[key]
        assert value in domain.choices if domain.choices else domain.low <= value <= domain.high
    assert tuning.config({"model.hidden_channels": 8}).sections["model"]["hidden_channels"] == 8


def test_what_is_set_is_not_searched(tmp_path):
    values = {"model": "gcn", "dataset": "karate", "train.lr": 0.5, "model.dropout": 0.0}
    tuning = prepare(values)
    assert not {"train.lr", "model.dropout"} & tuning.space.keys()
    config = tuning.config({"model.num_layers": 1})
    assert (config.sections["train"]["lr"], config.sections["model"]["dropout"]) == (0.5, 0.0)


# --- what a study sees -----------------------------------------------------------------------------------------------


def test_poisoned_test_labels_change_nothing(tmp_path, monkeypatch):
    honest = toy(tmp_path / "honest", "toy@one", seeds=2)
    load = cells.load_dataset

    def load_poisoned(*args, **kwargs):
        bundle = load(*args, **kwargs)
        data = bundle.data.clone()
        test = bundle.splits[0].test
        data.y[test] = (data.y[test] + 1) % 3
        assert (data.y != bundle.data.y).sum() == len(test)
        return bundle.replace(data=data)

    cells._load_sealed.cache_clear()
    monkeypatch.setattr(cells, "load_dataset", load_poisoned)
    poisoned = toy(tmp_path / "poisoned", "toy@one", seeds=2)
    cells._load_sealed.cache_clear()
    assert tried(only(tmp_path / "honest")) == tried(only(tmp_path / "poisoned"))
    assert [f.values for f in honest.finalists] == [f.values for f in poisoned.finalists]
    assert honest.best == poisoned.best


def test_a_trial_has_no_test_rows(tmp_path, monkeypatch):
    """Neither what it trains on, nor what it leaves behind."""
    seen = []
    train = searching.train_cell

    def spy(*args, **kwargs):
        trained = train(*args, **kwargs)
        for bundle in (trained.bundle, trained.blind):
            (split,) = bundle.splits
            assert len(split.test) == 0
            assert split.extra == {}
            hidden = torch.ones(NODES, dtype=torch.bool)
            hidden[torch.cat([split.train, split.val])] = False
            assert (bundle.data.y[hidden] == -1).all()
        seen.append(trained)
        return trained

    def never(*args, **kwargs):
        raise AssertionError("a study reads no test metric")

    monkeypatch.setattr(searching, "train_cell", spy)
    monkeypatch.setattr(cells, "read_result", never)
    monkeypatch.setattr(cells, "load_prepared", never)
    toy(tmp_path)
    assert len(seen) > 6
    assert not [name for name in Outcome.__dataclass_fields__ if "test" in name]
    kept = "".join(path.read_text() for path in only(tmp_path).iterdir() if path.is_file())
    assert "test" not in kept.replace(str(tmp_path), "")


def test_no_test_index_is_in_the_memory_of_the_process(tmp_path):
    script = f"""
import gc, gnnzoo
from gnnzoo.datasets import Split
for part in (1, 2):
    options = dict(trials=2, finalists=1, splits=[0], studies={str(tmp_path)!r}, seed=part)
    gnnzoo.tune("gcn", "karate", settings={FAST}, **options)
gc.collect()
splits = [s for s in gc.get_objects() if isinstance(s, Split)]
assert len(splits) >= 10
assert not [s for s in splits if len(s.test)]
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_study_on_a_protocol_that_selects_on_test(tmp_path):
    with pytest.raises(ConfigError, match="toy@habit selects on test, so that tuning would be done on test"):
        toy(tmp_path, "toy@habit")
    with pytest.raises(ConfigError, match="nothing is trained on rook-shrikhande"):
        tune("gin", "rook-shrikhande", studies=tmp_path)
    assert not list(tmp_path.iterdir())


# --- what it tries ---------------------------------------------------------------------------------------------------


def test_same_seed_same_trials_also_in_parts(tmp_path):
    toy(tmp_path / "a", trials=9)
    whole = tried(only(tmp_path / "a"))
    for count in (3, 3, 9):
        spy = Spy()
        toy(tmp_path / "b", trials=count, reporter=spy)
        assert [number for number, *_ in spy.trials] == {0: [0, 1, 2], 3: [] if count == 3 else [3, 4, 5, 6, 7, 8]}[
            spy.begun[0]
        ]
    assert tried(only(tmp_path / "b")) == whole
    toy(tmp_path / "c", trials=4, seed=1)
    assert [t[0] for t in tried(only(tmp_path / "c"))[1:]] != [t[0] for t in whole[1:4]]


@pytest.mark.parametrize("sampler", ["random", "gp", "grid"])
def test_samplers(tmp_path, sampler):
    settings = FAST | {"train.weight_decay": 1e-4, "model.dropout": 0.1}
    for folder in ("a", "b"):
        result = toy(tmp_path / folder, sampler=sampler, trials=12, pruner="none", settings=settings)
    assert result.trials == 12
    found = tried(only(tmp_path / "a"))
    assert found == tried(only(tmp_path / "b"))
    assert len({json.dumps(params) for params, *_ in found}) == 12


def test_a_grid_ends(tmp_path):
    fixed = dict.fromkeys(("train.weight_decay", "model.dropout", "train.lr"), 0.1)
    result = toy(tmp_path, sampler="grid", settings=FAST | fixed)
    assert result.trials == 5  # four widths, and the shipped one
    widths = [params["model.hidden_channels"] for params, *_ in tried(only(tmp_path))]
    assert sorted(set(widths)) == [16, 32, 64, 128]
    with pytest.raises(ConfigError, match="sampler=grid: the grid of 12 keys has 1,200,000 points; fix some of"):
        prepare({"model": "sheaf", "dataset": "texas", "sampler": "grid"})


def test_the_same_configuration_is_trained_once(tmp_path):
    fixed = dict.fromkeys(("train.weight_decay", "model.dropout", "train.lr"), 0.1)
    spy = Spy()
    toy(tmp_path, sampler="random", trials=12, settings=FAST | fixed, reporter=spy)
    trained = [outcome.config for _, _, outcome in spy.trials if outcome.same_as is None]
    assert len(trained) == len(set(trained)) <= 4
    first = {}
    for number, state, outcome in spy.trials:
        kept = first.setdefault(outcome.config, (number, state, outcome.values))
        assert (state, outcome.values) == kept[1:]
        assert outcome.same_as in (None, kept[0])


@pytest.mark.parametrize("pruner", ["median", "hyperband", "none"])
def test_pruners(tmp_path, pruner):
    spy = Spy()
    settings = FAST | {"train.epochs": 24}
    result = toy(tmp_path, pruner=pruner, trials=14, splits=[0, 1], settings=settings, reporter=spy)
    pruned = [outcome for _, state, outcome in spy.trials if state == "pruned"]
    assert result.pruned == len(pruned)
    assert bool(pruned) == (pruner != "none")
    assert all(len(outcome.values) < 2 for outcome in pruned)  # never when all is trained
    assert spy.trials[0][1] == "complete"
    study, _ = load_study(result.path.parent)
    first = tally(study).trials[0]
    steps = 1 if pruner == "none" else 2  # epoch 12, and the end
    assert list(first.intermediate_values) == list(range(1, 2 * steps + 1))
    for place in (1, 2):
        mean = sum(first.user_attrs[OUTCOME]["values"][:place]) / place
        assert first.intermediate_values[place * steps] == pytest.approx(mean)


def test_the_median_is_that_of_the_same_step():
    study = optuna.create_study(direction="maximize", pruner=MedianPruner())
    for value in (0.5, 0.6, 0.7, 0.8, 0.9):
        trial = study.ask()
        trial.report(1.0, 1)
        trial.report(value, 2)
        study.tell(trial, value)
    verdicts = []
    for value in (0.71, 0.69, float("nan")):
        trial = study.ask()
        trial.report(1.0, 1)  # good on an easy split
        assert not trial.should_prune()
        trial.report(value, 2)
        verdicts.append(trial.should_prune())
    assert verdicts == [False, True, True]


# --- what fails ------------------------------------------------------------------------------------------------------


def failing(monkeypatch, action):
    """Let ``action(config, split)`` go before every training."""
    train = searching.train_cell

    def changed(cell, execution, checkpoint, hear, sealed):
        action(cell.config, cell.split)
        return train(cell, execution, checkpoint, hear, sealed=sealed)

    monkeypatch.setattr(searching, "train_cell", changed)


def test_failed_trials_are_written_down_and_end_nothing(tmp_path, monkeypatch):
    def action(config, split):
        width = config.sections["model"]["hidden_channels"]
        if width == 128:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 1 TB")
        if width == 32:
            raise GnnzooError("training diverged: the loss is nan in epoch 3; try a lower train.lr")

    failing(monkeypatch, action)
    result = toy(tmp_path, trials=20, sampler="random", finalists=3)
    assert result.complete + result.pruned + len(result.failures) == result.trials == 20
    reasons = set(result.failures.values())
    assert {reason.split(":")[0] for reason in reasons} == {"out of memory", "training diverged"}
    assert json.loads((result.path.parent / "summary.json").read_text())["trials"]["failed"] == {
        str(number): reason for number, reason in result.failures.items()
    }
    assert all(f.config.sections["model"]["hidden_channels"] in (16, 64) for f in result.finalists)


def test_a_trial_that_takes_too_long_fails(tmp_path, monkeypatch):
    failing(monkeypatch, lambda config, split: time.sleep(0.3 * (config.sections["model"]["hidden_channels"] == 128)))
    result = toy(tmp_path, trials=10, sampler="random", trial_timeout=0.25)
    assert set(result.failures.values()) == {"timeout: it took more than 0.25 s"}


def test_a_configuration_that_cannot_be_is_a_failed_trial(tmp_path, monkeypatch):
    monkeypatch.setattr(MODELS.card("gcn"), "search", {"train.eval_every": Domain(choices=[1, 50])})
    result = toy(tmp_path, trials=6, sampler="random")
    assert set(result.failures.values()) == {"train.eval_every=50 is more than train.epochs=12"}


def test_when_nothing_completes_the_reasons_are_told(tmp_path, monkeypatch):
    def action(config, split):
        raise ValueError("no such thing")

    failing(monkeypatch, action)
    with pytest.raises(GnnzooError, match=r"none of 3 trials completed; ValueError: no such thing \(test_tune.py:"):
        toy(tmp_path, trials=3)
    monkeypatch.undo()
    result = toy(tmp_path, trials=5)  # the study goes on
    assert (len(result.failures), result.complete) == (3, 2)


def test_a_finalist_that_fails_is_not_named(tmp_path, monkeypatch):
    def action(config, split):
        if split == 3 and config.sections["model"]["hidden_channels"] != 64:
            raise GnnzooError("training diverged: the loss is nan in epoch 1")

    failing(monkeypatch, action)
    result = toy(tmp_path, trials=8, finalists=3, sampler="random")
    assert {f.config.sections["model"]["hidden_channels"] for f in result.finalists if not f.reason} == {64}
    assert result.finalists[-1].reason == "split 3: training diverged: the loss is nan in epoch 1"


def test_the_time_for_the_search_ends_it_and_the_finalists_follow(tmp_path, monkeypatch):
    failing(monkeypatch, lambda config, split: time.sleep(0.3))
    result = toy(tmp_path, trials=1000, timeout=1.0)
    assert 1 <= result.trials < 10
    assert len(result.finalists[0].values) == 4
    study, _ = load_study(only(tmp_path))
    interrupted = [t for t in study.get_trials() if t.state == TrialState.FAIL]
    assert len(interrupted) <= 1
    again = toy(tmp_path, trials=result.trials + 2)
    assert (again.trials, again.failures) == (result.trials + 2, {})


def test_no_time_at_all(tmp_path):
    with pytest.raises(GnnzooError, match="none of 0 trials completed"):
        toy(tmp_path, timeout=1e-9)


# --- what it names ---------------------------------------------------------------------------------------------------


def test_finalists_are_trained_on_all_splits_with_seeds_that_nobody_has_seen(tmp_path, monkeypatch):
    seeds = {"search": set(), "finals": set()}
    train = searching.train_cell

    def spy(cell, *args, **kwargs):
        part = "finals" if (only(tmp_path) / "journal.log").read_text().count(".final-") else "search"
        seeds[part].add(cell.seed)
        return train(cell, *args, **kwargs)

    monkeypatch.setattr(searching, "train_cell", spy)
    reporter = Spy()
    result = toy(tmp_path, trials=6, finalists=2, seeds=2, reporter=reporter)
    assert len(seeds["search"]) == 1
    assert len(seeds["finals"]) == 2
    assert not seeds["search"] & seeds["finals"]
    assert not {0, 1, 2, 3, 4} & (seeds["search"] | seeds["finals"])  # those of records
    cells_ = {(split, seed) for split in range(4) for seed in seeds["finals"]}
    assert all(set(f.values) == cells_ for f in result.finalists)
    assert len(result.finalists) == 3
    assert 0 in {f.trial for f in result.finalists}
    assert result.finalists == sorted(result.finalists, key=lambda f: -f.mean)
    searched = {t.user_attrs[OUTCOME]["config"] for t in tally(load_study(only(tmp_path))[0]).trials}
    assert {f.config.hash for f in result.finalists} <= searched


def test_the_difference_is_reported_also_when_it_is_zero(tmp_path, monkeypatch):
    monkeypatch.setattr(searching, "read_validation", lambda trained, config: 0.5)
    result = toy(tmp_path, trials=8, finalists=2)
    assert not result.improved
    assert result.best.hash == resolve("gcn", "toy", layers=[("x", FAST)]).hash
    assert (result.difference.difference, result.difference.half_width, result.difference.n) == (0.0, 0.0, 4)
    summary = json.loads((result.path.parent / "summary.json").read_text())
    assert summary["difference"]["difference"] == 0.0
    assert summary["best"]["is_shipped"] is True
    assert "tuned" not in yaml.safe_load(result.path.read_text())


def test_the_interval_is_paired_over_splits(tmp_path, monkeypatch):
    """Of differences 0.1 on all splits but one, where it is 0.3."""
    best = []

    def read(trained, config):
        width = config.sections["model"]["hidden_channels"]
        best.append(width)
        (split,) = trained.blind.splits
        return 0.5 + split.index / 10 + (0.1 + 0.2 * (split.index == 3)) * (width == 128)

    monkeypatch.setattr(searching, "read_validation", read)
    result = toy(tmp_path, trials=10, sampler="random")
    assert result.best.sections["model"]["hidden_channels"] == 128
    assert result.improved
    found = result.difference
    assert found.difference == pytest.approx(0.15)
    variance = 0.01 * (1 / 4 + 20 / 20)  # unbiased, times 1/n + val/train
    assert found.half_width == pytest.approx(3.182446 * variance**0.5, rel=1e-5)
    assert found.n == 4


def test_one_split_is_compared_over_seeds(tmp_path):
    result = toy(tmp_path, "toy@one")
    assert len(result.finalists[0].values) == 5
    assert result.difference.n == 5
    assert toy(tmp_path / "one", "toy@one", seeds=1).difference.half_width is None


def test_the_named_configuration_is_run_and_its_records_say_where_it_is_from(tmp_path):
    result = toy(tmp_path / "studies", trials=10, sampler="random")
    monkey = result.finalists[0].trial
    assert result.improved, f"trial {monkey}"
    run = gnnzoo.run(config=str(result.path), results=tmp_path / "results", splits=[0, 1])
    assert run.plan.configs[0].hash == result.best.hash
    name = result.path.parent.name
    for record in Store(tmp_path / "results").read(tmp_path / "results" / "toy@four" / "gcn.jsonl"):
        assert record.tuned.model_dump() == {"source": f"tuned here, study {name}", "trials": 10}
    other = gnnzoo.run(config=str(result.path), results=tmp_path / "results", splits=[0], settings={"train.lr": 0.5})
    assert other.records[0].tuned is None
    assert "tuned" not in json.loads(other.records[0].line())
    (board,) = standings("toy@four", results=tmp_path / "results")
    assert any(a.reason.startswith(f"tuned here, study {name}, 10 trials: other settings") for a in board.apart)
    (board,) = standings("toy@four", results=tmp_path / "results", tuned=10, studies=tmp_path / "studies")
    assert [(row.model, row.config, row.trials) for row in board.rows] == [("gcn", result.best.hash, 10)]
    (board,) = standings("toy@four", results=tmp_path / "results", tuned=11, studies=tmp_path / "studies")
    assert board.rows == []
    assert "no study of 11 trials" in board.apart[0].reason


def test_a_file_with_something_else_for_its_origin(tmp_path):
    stored = resolve("gcn", "karate").to_dict() | {"tuned": {"source": "me"}}
    (tmp_path / "best.yaml").write_text(yaml.safe_dump(stored))
    with pytest.raises(ConfigError, match=r"tuned in .*best.yaml: source, trials, config"):
        gnnzoo.run(config=str(tmp_path / "best.yaml"), results=tmp_path / "results")


def test_more_trials_use_what_finalists_gave_before(tmp_path):
    first, second = Spy(), Spy()
    toy(tmp_path, trials=5, reporter=first)
    toy(tmp_path, trials=6, reporter=second)
    assert [len(spy.finals) for spy in (first, second)] == [8, 8]
    study, _ = load_study(only(tmp_path))
    outcomes = [
        t.user_attrs[OUTCOME]
        for name in optuna.get_all_study_names(study._storage)
        if name.endswith(".final-6-1-1")
        for t in optuna.load_study(study_name=name, storage=study._storage).get_trials()
    ]
    assert sum(outcome["cpu_seconds"] < 0.005 for outcome in outcomes) >= 4  # the shipped configuration's


def test_other_finalists_of_the_same_search(tmp_path):
    one = toy(tmp_path, trials=6, pruner="none")
    three = toy(tmp_path, trials=6, pruner="none", finalists=3, seeds=2)
    assert [len(r.finalists) for r in (one, three)] == [2, 4]
    kept = {f.config.hash: f.values for f in three.finalists}
    for finalist in one.finalists:
        assert finalist.values.items() <= kept[finalist.config.hash].items()


def test_a_study_of_that_name_is_about_something_else(tmp_path):
    toy(tmp_path, study="mine", trials=2)
    with pytest.raises(ConfigError, match="study mine was begun with sampler tpe, now it is random: give this one ano"):
        toy(tmp_path, study="mine", trials=2, sampler="random")
    assert toy(tmp_path, study="mine", trials=2).trials == 2


def test_an_error_metric_is_minimized(tmp_path, monkeypatch):
    assert not METRICS["mae"].higher_is_better
    monkeypatch.setattr("gnnzoo.cards.METRICS", METRICS)
    monkeypatch.setitem(METRICS, "accuracy", METRICS["mae"])
    result = toy(tmp_path, trials=5, pruner="none")
    values = [value for _, state, value, _ in tried(only(tmp_path)) if state == "COMPLETE"]
    others = [f for f in result.finalists if f.trial]
    assert min(values) in {f.searched for f in result.finalists}
    assert others
    assert result.finalists[0].mean == min(f.mean for f in result.finalists)


# --- a bench of tuned models -----------------------------------------------------------------------------------------


def test_a_bench_tunes_every_model_with_as_many_trials(tmp_path, monkeypatch):
    monkeypatch.setattr("gnnzoo.runner.bench._only_here", lambda work: True)
    options = {"models": ["gcn", "mlp"], "datasets": "toy@four", "settings": {"train.epochs": 12}, "tune": 4}
    folders = {"results": tmp_path / "results", "studies": str(tmp_path / "studies"), "finalists": 1}
    result = bench(**options, **folders)
    assert len(result.records) == 8
    summaries = [json.loads(path.read_text()) for path in (tmp_path / "studies").glob("*/summary.json")]
    assert {s["model"]: s["trials"]["tried"] for s in summaries} == {"gcn": 4, "mlp": 4}
    named = {s["model"]: s["best"]["config"] for s in summaries}
    assert {r.key.model: r.key.config for r in result.records} == named
    (board,) = standings("toy@four", results=tmp_path / "results", tuned=4, studies=tmp_path / "studies")
    assert [row.trials for row in board.rows] == [4, 4]
    assert {row.rank for row in board.rows} == {1, 2}
    again = bench(**options, **folders)
    assert again.trained == 0


def test_a_bench_does_not_run_what_could_not_be_tuned(tmp_path, monkeypatch):
    monkeypatch.setattr("gnnzoo.runner.bench._only_here", lambda work: True)

    def action(config, split):
        if config.model == "mlp":
            raise GnnzooError("training diverged")

    failing(monkeypatch, action)
    options = {"models": ["gcn", "mlp"], "datasets": "toy@four", "settings": {"train.epochs": 12}, "tune": 3}
    result = bench(**options, results=tmp_path / "results", studies=str(tmp_path / "studies"))
    assert list(result.work.untuned) == [("mlp", "toy@four")]
    assert {r.key.model for r in result.records} == {"gcn"}


def test_a_bench_whose_budget_ends_while_it_tunes_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("gnnzoo.runner.bench._only_here", lambda work: True)
    failing(monkeypatch, lambda config, split: time.sleep(0.2))
    options = {"models": ["gcn"], "datasets": "toy@four", "settings": {"train.epochs": 12}, "tune": 50}
    result = bench(**options, budget=1.0, results=tmp_path / "results", studies=str(tmp_path / "studies"))
    assert result.stopped
    assert result.records == []
    assert result.left.cells == 4


# --- what it survives ------------------------------------------------------------------------------------------------

WORDS = ["model=gcn", "dataset=karate", "train.epochs=12", "train.stopping=none", "splits=0,1", "finalists=1"]


@pytest.fixture
def folder():
    """A folder in memory where there is one: the journal is synced at every step."""
    shm = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="gnnzoo-", dir=shm if os.access(shm, os.W_OK) else None))
    yield path
    while Command.running:  # what a failed test has left
        Command.running.pop().kill()
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The trials of a study that nothing disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    tuning = prepare({word.split("=")[0]: word.split("=")[1] for word in WORDS} | {"studies": str(folder), "trials": 8})
    execute(tuning, TuneReporter())
    return tried(only(folder))


def words(folder, storage):
    return [*WORDS, f"studies={folder / 'studies'}", *([f"storage=sqlite:///{folder}/db.sqlite"] if storage else [])]


@pytest.mark.parametrize("storage", [False, True], ids=["journal", "sqlite"])
def test_two_workers_one_of_them_killed(folder, storage):
    """The other one repeats the trial that was lost; nothing else is lost, and none is tried too often."""
    arguments = [*words(folder, storage), "trials=10"]
    slow = ("slow_epoch", 30, 60)  # in its second trial or so
    victim = Command(arguments, folder / "victim", slow, "tune")
    victim.until(lambda: "slow epoch" in victim.output(), 60)
    other = Command(arguments, folder / "other", None, "tune")
    other.until(lambda: other.output().count("trial ") >= 3, 60)
    assert victim.kill(0)
    assert other.wait(120) == 0, other.output()
    study, about = load_study(only(folder / "studies"))
    found = tally(study)
    assert (found.finished, about["trials"]) == (10, 10)
    assert not found.failed
    repeats = [t for t in study.get_trials() if "failed_trial" in t.system_attrs]
    assert len(repeats) == 1
    lost = study.get_trials()[repeats[0].system_attrs["failed_trial"]]
    assert lost.state == TrialState.FAIL
    assert lost.params.items() <= repeats[0].params.items()
    assert repeats[0].state in (TrialState.COMPLETE, TrialState.PRUNED)
    assert (only(folder / "studies") / "best.yaml").exists()
    assert not list((only(folder / "studies")).glob("workers/*"))


@pytest.mark.parametrize("storage", [False, True], ids=["journal", "sqlite"])
def test_killed_and_called_again_the_trials_are_those_of_an_undisturbed_study(folder, storage, undisturbed):
    arguments = [*words(folder, storage), "trials=8"]
    kills = 0
    for number in (11, 31, 53):
        command = Command(arguments, folder / "log", ("die", "gnnzoo.strategies:ERM.step", "before", number), "tune")
        kills += command.wait(60) == -signal.SIGKILL
    assert kills == 3
    command = Command(arguments, folder / "log", None, "tune")
    assert command.wait(60) == 0, command.output()
    assert tried(only(folder / "studies")) == undisturbed


def test_ctrl_c_and_again(folder, undisturbed):
    arguments = [*words(folder, False), "trials=8"]
    command = Command(arguments, folder / "log", ("slow_epoch", 30, 1), "tune")
    command.until(lambda: "slow epoch" in command.output(), 60)
    command.send(signal.SIGINT)
    assert command.wait() == 130
    assert command.output().endswith("gnnzoo: stopped: the same command goes on from there\n")
    command = Command(arguments, folder / "log", None, "tune")
    assert command.wait() == 0, command.output()
    assert tried(only(folder / "studies")) == undisturbed


@pytest.mark.slow
def test_two_jobs_one_of_them_killed(folder):
    """The command itself puts another worker in its place."""
    import psutil

    arguments = [word.replace("epochs=12", "epochs=60") for word in words(folder, False)]
    command = Command([*arguments, "trials=6", "jobs=2"], folder / "log", None, "tune")
    command.until(lambda: command.output().count("trial ") >= 2, 120)
    children = psutil.Process(command.process.pid).children(recursive=True)
    workers = [p for p in children if "spawn_main" in " ".join(p.cmdline())]
    assert len(workers) == 2
    workers[0].kill()
    assert command.wait(180) == 0, command.output()
    assert "a worker was killed (out of memory?): another one goes on" in command.output()
    study, _ = load_study(only(folder / "studies"))
    assert tally(study).finished == 6


def test_a_torn_line_of_the_journal_is_removed(tmp_path):
    toy(tmp_path, trials=3)
    journal = only(tmp_path) / "journal.log"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":5,"worker_id":"a machine that stopped he')
    studies._open.cache_clear()  # as another process finds it
    result = toy(tmp_path, trials=5)
    assert result.trials == 5
    assert journal.read_bytes().startswith(whole)
    for line in journal.read_text().splitlines():
        json.loads(line)


def test_a_full_disk_leaves_the_journal_whole(folder):
    arguments = [*words(folder, False), "trials=8"]
    command = Command(arguments, folder / "log", ("limit_file_size", 12_000), "tune")
    assert command.wait() == 2
    assert "gnnzoo: cannot write" in command.output()
    for line in (only(folder / "studies") / "journal.log").read_text().splitlines():
        json.loads(line)
    command = Command(arguments, folder / "log", None, "tune")
    assert command.wait() == 0, command.output()


def test_a_trial_that_kills_its_process_fails_in_the_end(tmp_path):
    toy(tmp_path, trials=2)
    folder = only(tmp_path)
    study, _ = load_study(folder)
    for _ in range(studies.ATTEMPTS):
        with studies.quiet():
            trial = study.ask()
            trial.set_user_attr(studies.WORKER, "one that is gone")
        reclaim(study, folder)
    found = tally(study)
    assert [studies.reason(t) for t in found.failed] == ["its process was killed 3 times (out of memory?)"]
    assert not found.of(TrialState.WAITING)
    result = toy(tmp_path, trials=3)
    assert result.failures == {2: "its process was killed 3 times (out of memory?)"}


def test_a_worker_that_is_alive_keeps_its_trial(tmp_path):
    toy(tmp_path, trials=2)
    folder = only(tmp_path)
    study, _ = load_study(folder)
    with studies.Worker(folder) as worker:
        trial = study.ask()
        trial.set_user_attr(studies.WORKER, worker.name)
        reclaim(study, folder)
        assert study.get_trials()[-1].state == TrialState.RUNNING
    reclaim(study, folder)
    assert [t.state for t in study.get_trials()[-2:]] == [TrialState.FAIL, TrialState.WAITING]


def test_storages_that_cannot_be(tmp_path):
    for storage, message in (
        ("mydatabase://here", "driver|storage=mydatabase"),
        ("postgresql://someone:secret@nowhere.invalid/db", r"storage=postgresql://someone:\*\*\*@nowhere.invalid/db"),
        (f"sqlite:///{tmp_path}/missing/db.sqlite", "unable to open database file"),
    ):
        with pytest.raises((ConfigError, StorageError), match=message) as error:
            toy(tmp_path / "studies", storage=storage)
        assert "\n" not in str(error.value)
        assert "secret" not in str(error.value)


def test_interrupted_is_told_apart_from_failed(tmp_path, monkeypatch):
    def action(config, split):
        if config.sections["model"]["hidden_channels"] == 128:
            raise Interrupted("stopped")

    failing(monkeypatch, action)
    with pytest.raises(Interrupted):
        toy(tmp_path, trials=10, sampler="random")
    monkeypatch.undo()
    assert toy(tmp_path, trials=10, sampler="random").failures == {}
