"""What a run survives: kills at any moment, Ctrl-C, full disks, damaged files, a second process in the same folder."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness
import psutil
import pytest
import torch
from harness import Command

RUN = ["model=gcn", "dataset=karate", "train.epochs=30", "train.stopping=none"]
EIGHT = [*RUN, "splits=0-3", "seeds=2"]
TWO = [*RUN, "splits=0,1"]


@pytest.fixture
def folder():
    """A folder in memory where there is one: syncing every epoch to a disk would be the longest part of these tests."""
    shm = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="gnnzoo-", dir=shm if os.access(shm, os.W_OK) else None))
    path.chmod(0o755)  # also for a test that runs as nobody
    yield path
    while Command.running:  # what a failed test has left
        Command.running.pop().kill()
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Records of all eight cells, from a run that nothing disturbed and that saved no state."""
    folder = tmp_path_factory.mktemp("undisturbed")
    command = Command([*EIGHT, f"results={folder}"], folder / "log")
    assert command.wait() == 0, command.output()
    records = harness.read(folder)
    assert len(records) == 8
    return records


class Guard:
    """Sees to it that what is recorded stays as it is: lines, weights, and that nobody trains it again."""

    def __init__(self, results):
        self.results = results

    def before(self):
        self.lines = {p: p.read_bytes() for p in self.results.glob("*@*/*.jsonl")}
        self.cells = set(harness.read(self.results))
        self.weights = {p: p.stat() for p in self.results.glob("work/*/*/*-*/model.pt") if self._cell(p) in self.cells}

    def after(self, command):
        for path, content in self.lines.items():
            assert path.read_bytes().startswith(content)
        for path, stat in self.weights.items():
            now = path.stat()
            assert (now.st_ino, now.st_mtime_ns) == (stat.st_ino, stat.st_mtime_ns)
        begun = [tuple(map(int, line.split())) for line in command.trained()[command.before :]]
        assert not self.cells & set(begun), "a finished split was trained again"

    @staticmethod
    def _cell(path):
        return tuple(map(int, path.parent.name.split("-")))


def finish(arguments, results, log, expected, change=None):
    """Run to the end and compare with an undisturbed run; nothing may be left of the state."""
    guard = Guard(results)
    guard.before()
    command = Command([*arguments, f"results={results}"], log, change)
    assert command.wait() == 0, command.output()
    guard.after(command)
    found = harness.read(results)
    assert found == {cell: expected[cell] for cell in found}
    assert not list(results.glob("work/*/*/*-*/state"))
    return found


def complaint(command):
    """Return the only line of complaint."""
    lines = [line for line in command.output().splitlines() if line.startswith("gnnzoo:")]
    assert len(lines) == 1, command.output()
    assert "Traceback" not in command.output()
    return lines[0]


# --- SIGKILL ---


def test_killed_at_random_moments(folder, undisturbed):
    """At least 25 kills, spread over start-up, training and writing; every restart goes on."""
    rng, kills, rounds = random.Random(0), 0, 0
    while kills < 25:
        results, rounds = folder / f"round{rounds}", rounds + 1
        guard, ended = Guard(results), False
        while not ended:
            guard.before()
            command = Command([*EIGHT, "checkpoint=0", f"results={results}"], folder / "log")
            ended = not command.kill(rng.uniform(0.05, 0.9))
            kills += not ended
            guard.after(command)
            assert kills < 200, "no progress"
        assert command.wait() == 0, command.output()
        assert harness.read(results) == undisturbed


@pytest.mark.parametrize(
    "change",
    [
        ("die", "gnnzoo.runner.cell:train_cell", "before", 2),
        ("die", "gnnzoo.runner.checkpoint:save_tensors", "before", 45),
        ("die", "gnnzoo.atomic:os.replace", "before", 45),
        ("die", "gnnzoo.atomic:os.replace", "after", 45),
        ("die", "gnnzoo.runner.cell:read_result", "before", 2),
        ("die", "gnnzoo.runner.cell:read_result", "after", 2),
        ("die", "gnnzoo.runner.cell:save_model", "after", 2),
        ("die", "gnnzoo.leaderboard:Store.save_config", "after", 2),
        ("die", "gnnzoo.leaderboard:Store.append", "before", 2),
        ("die_inside_a_line", 2),
        ("die", "gnnzoo.leaderboard:Store.append", "after", 2),
        ("die", "gnnzoo.runner.checkpoint:Checkpoint.discard", "before", 2),
        ("die", "gnnzoo.runner.checkpoint:Checkpoint.discard", "after", 2),
        ("die", "gnnzoo.leaderboard:Store.append", "after", 1),
        ("die_inside_a_line", 1),
    ],
    ids=lambda change: "-".join(str(part).rpartition(":")[2] for part in change),
)
def test_killed_between_two_steps(folder, undisturbed, change):
    """The moments that a random kill seldom meets, one by one."""
    results = folder / "results"
    command = Command([*TWO, "checkpoint=0", f"results={results}"], folder / "log", change)
    assert command.wait() == -signal.SIGKILL, command.output()
    assert len(finish(TWO, results, folder / "log", undisturbed)) == 2


def test_real_command_killed(folder, undisturbed):
    """The installed command itself: while it imports, while it trains, and to its end."""
    results, words = folder / "results", [sys.executable, "-m", "gnnzoo", "run", *TWO, "checkpoint=0"]

    def start():
        return subprocess.Popen(
            [*words, f"results={results}"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    process = start()
    time.sleep(1)
    process.kill()
    process.communicate()
    process = start()
    while not list(results.glob("work/*/*/*-*/state/checkpoint.pt")):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    process = start()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "accuracy" in out
    found = harness.read(results)
    assert found == {cell: undisturbed[cell] for cell in ((0, 0), (1, 0))}


# --- workers ---

SLOW = ["model=gcn", "dataset=csbm", "train.epochs=150", "train.stopping=none", "splits=0-2", "checkpoint=0", "jobs=2"]


class InWorkers(Command):
    """A run in two workers, which have started when the constructor returns."""

    def __init__(self, results, log):
        self.results, self.start = results, time.time()
        super().__init__([*SLOW, f"results={results}"], log)
        self.until(lambda: len(self.workers()) == 2)

    def workers(self):
        children = psutil.Process(self.process.pid).children()
        return [c for c in children if any("spawn_main" in word for word in c.cmdline())]

    def until_training(self):
        """Wait until a worker has saved a state, and return the workers."""

        def saved(path):
            try:
                return path.stat().st_mtime > self.start
            except FileNotFoundError:  # its cell has ended
                return False

        self.until(lambda: any(map(saved, self.results.glob("work/*/*/*-*/state/checkpoint.pt"))))
        return self.workers()

    def ctrl_c(self):
        """Interrupt as a terminal does: parent and workers alike."""
        os.killpg(self.process.pid, signal.SIGINT)


def gone(processes):
    return not psutil.wait_procs(processes, timeout=30)[1]


def test_workers_stop_and_end_with_their_parent(folder):
    """Ctrl-C while workers start, Ctrl-C in training, a killed parent; then the rest, with one process's results."""
    results = folder / "results"
    command = InWorkers(results, folder / "log0")
    time.sleep(0.3)
    command.ctrl_c()
    assert command.wait() == 130, command.output()
    assert complaint(command).endswith("goes on from there")

    command = InWorkers(results, folder / "log1")
    workers = command.until_training()
    command.ctrl_c()
    assert command.wait() == 130, command.output()
    assert complaint(command).endswith("goes on from there")
    assert gone(workers)

    command = InWorkers(results, folder / "log2")
    workers = command.until_training()
    command.send(signal.SIGKILL)
    assert command.wait() == -signal.SIGKILL
    assert gone(workers)

    serial = Command([*SLOW[:-1], f"results={folder / 'serial'}"], folder / "log3")
    assert serial.wait() == 0, serial.output()
    assert len(finish(SLOW, results, folder / "log4", harness.read(folder / "serial"))) == 3


@pytest.mark.slow
def test_killed_worker(folder):
    command = InWorkers(folder / "results", folder / "log")
    first, second = command.until_training()
    first.kill()
    assert command.wait() == 2, command.output()
    assert "a worker was killed" in complaint(command)
    assert gone([second])


def test_a_cell_that_fails_ends_the_workers(folder):
    """One of them is idle then, and holds the lock of the queue that the others read."""
    words = ["model=gcn", "dataset=csbm", "splits=0-3", "train.epochs=5", "train.lr=1e38", "jobs=2"]
    command = Command([*words, f"results={folder / 'results'}"], folder / "log")
    assert command.wait() == 2, command.output()
    assert "training diverged" in complaint(command)


@pytest.mark.slow
def test_second_ctrl_c_ends_workers(folder):
    command = InWorkers(folder / "results", folder / "log")
    workers = command.until_training()
    for worker in workers:
        worker.suspend()  # as good as an epoch that takes for ever
    command.ctrl_c()
    time.sleep(2)
    assert command.process.is_alive()
    command.ctrl_c()
    assert command.wait(20) == 130, command.output()
    assert gone(workers)


# --- Ctrl-C ---


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_stop_finishes_the_epoch_and_saves(folder, undisturbed, number):
    results, log = folder / "results", folder / "log"
    command = Command([*TWO, f"results={results}"], log, ("slow_epoch", 37, 0.5))
    command.until(lambda: "slow epoch" in command.output())
    command.send(number)
    assert command.wait() == 130
    line = complaint(command)
    assert "split 1 seed 0" in line
    assert "epoch 7" in line
    assert line.endswith("the same command goes on from there")
    (state,) = results.glob("work/*/*/1-0/state/checkpoint.pt")
    assert torch.load(state, weights_only=True)["epoch"] == 7
    no_more = ("die", "gnnzoo.strategies:ERM.step", "before", 30 - 7 + 1)  # what is left, and not one step more
    assert len(finish(TWO, results, log, undisturbed, no_more)) == 2


def test_second_ctrl_c_stops_at_once(folder, undisturbed):
    results, log = folder / "results", folder / "log"
    command = Command([*TWO, "checkpoint=0", f"results={results}"], log, ("slow_epoch", 37, 60))
    command.until(lambda: "slow epoch" in command.output())
    command.send(signal.SIGINT)
    time.sleep(0.3)
    assert command.process.is_alive()
    command.send(signal.SIGINT)
    assert command.wait(5) == 130
    assert "Traceback" not in command.output()
    assert len(finish(TWO, results, log, undisturbed)) == 2


# --- disks ---


@pytest.mark.parametrize("size", [500, 3000, 8000])
def test_disk_full_while_saving(folder, undisturbed, size):
    """Whatever file comes first that does not fit: one line, and no half of anything."""
    results = folder / "results"
    finish([*RUN, "splits=0"], results, folder / "log", undisturbed)
    before = harness.read(results)
    change = ("limit_file_size", size)
    command = Command([*TWO, "checkpoint=0", f"results={results}"], folder / "err", change)
    assert command.wait() == 2
    assert "File too large" in complaint(command)
    assert harness.read(results) == before
    assert not list(results.rglob("*.part"))
    assert len(finish(TWO, results, folder / "log", undisturbed)) == 2


def test_disk_full_inside_a_record(folder, undisturbed):
    results = folder / "results"
    finish([*RUN, "splits=0"], results, folder / "log", undisturbed)
    (path,) = results.glob("*@*/gcn.jsonl")
    before = path.read_bytes()
    command = Command([*TWO, f"results={results}"], folder / "err", ("limit_records", str(path), 100))
    assert command.wait() == 2
    assert "cannot write the record" in complaint(command)
    assert path.read_bytes() == before
    assert len(finish(TWO, results, folder / "log", undisturbed)) == 2


def test_read_only_folder(folder, undisturbed):
    """A new folder where nothing may be made, and one that holds records already."""
    results = folder / "results"
    finish([*RUN, "splits=0"], results, folder / "log", undisturbed)
    before = harness.read(results)
    for path in (results / "new", results):
        log = folder / f"log-{path.name}"
        folders = [results, *(p for p in results.rglob("*") if p.is_dir())]
        for p in folders:
            p.chmod(0o555)
        command = Command([*TWO, f"results={path}"], log, ("nobody",))
        assert command.wait() == 2
        assert f"results={path} cannot be written to: Permission denied" in complaint(command)
        assert not command.trained()
        for p in folders:
            p.chmod(0o755)
    assert not (results / "new").exists()
    assert harness.read(results) == before


def test_results_below_a_file(folder):
    (folder / "file").write_text("precious")
    command = Command([*TWO, f"results={folder / 'file' / 'results'}"], folder / "log")
    assert command.wait() == 2
    assert "cannot be written to: Not a directory" in complaint(command)
    assert (folder / "file").read_text() == "precious"


# --- damage ---


def test_damaged_state(folder, undisturbed):
    """Such a state is set aside and the cell starts anew; one of another format or of other code is not mistaken."""
    start = folder / "start"
    change = ("die", "gnnzoo.runner.checkpoint:save_tensors", "after", 10)
    assert Command([*TWO, "checkpoint=0", f"results={start}"], folder / "log", change).wait() == -signal.SIGKILL
    (state,) = start.glob("work/*/*/0-0/state/checkpoint.pt")
    whole = state.read_bytes()
    for number, content in enumerate(
        (b"", b"\0" * 100, whole[:-500], whole[: len(whole) // 2], whole[:99] + whole[100:])
    ):
        results, log = folder / f"results{number}", folder / f"log{number}"
        shutil.copytree(start, results)
        (results / state.relative_to(start)).write_bytes(content)
        finish(TWO, results, log, undisturbed)
        assert "damaged" in log.read_text()
    for number, content in enumerate(([1, 2], {"format": 99})):
        results = folder / f"other{number}"
        shutil.copytree(start, results)
        torch.save(content, results / state.relative_to(start))
        finish(TWO, results, folder / "log", undisturbed)


def test_state_of_other_code(folder):
    results = folder / "results"
    change = ("die", "gnnzoo.runner.checkpoint:save_tensors", "after", 10)
    assert Command([*TWO, "checkpoint=0", f"results={results}"], folder / "log", change).wait() == -signal.SIGKILL
    (state,) = results.glob("work/*/*/0-0/state/checkpoint.pt")
    content = torch.load(state, weights_only=True)
    content["model"]["another.weight"] = torch.ones(2)
    torch.save(content, state)
    command = Command([*TWO, f"results={results}"], folder / "log2")
    assert command.wait() == 2
    assert "remove the folder to start anew" in complaint(command)
    assert str(state.parent) in complaint(command)


# --- two at once ---


def test_two_processes_share_a_folder(folder, undisturbed):
    results = folder / "results"
    commands = [Command([*EIGHT, "checkpoint=0", f"results={results}"], folder / f"log{i}") for i in range(2)]
    for command in commands:
        assert command.wait() == 0, command.output()
    assert harness.read(results) == undisturbed
    trained = [cell for command in commands for cell in command.trained()]
    assert len(trained) == len(set(trained)) == 8


def test_ctrl_c_while_another_process_trains_the_cell(folder):
    results = folder / "results"
    first = Command([*TWO, f"results={results}"], folder / "log0", ("slow_epoch", 3, 60))
    first.until(lambda: "slow epoch" in first.output())
    second = Command([*TWO, f"results={results}"], folder / "log1")
    time.sleep(1)
    second.send(signal.SIGINT)
    assert second.wait(5) == 130
    assert "another process" in complaint(second)
    assert not second.trained()
    assert first.kill(0)
