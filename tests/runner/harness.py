"""The command line in processes that can be killed, forked from one that has torch in memory but has run nothing."""

import contextlib
import importlib
import json
import multiprocessing
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import ClassVar

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(
    ["pytest", "gnnzoo.cli.progress", "gnnzoo.cli.show", "gnnzoo.runner.grid", "gnnzoo.models.gcn"]
)


class Command:
    """``gnnzoo run ...`` in a process of its own.

    Args:
        arguments: the words of the command line.
        log: file that gets stdout and stderr; ``<log>.trained`` gets a line for each cell whose training begins.
        change: ``(name, *arguments)`` of a function below that changes the child before it starts.
        command: ``run``, or another of gnnzoo's.
    """

    running: ClassVar[list[multiprocessing.Process]] = []

    def __init__(self, arguments, log, change=None, command="run"):
        self.log, self._trained = Path(log), Path(f"{log}.trained")
        self.log.touch()
        self.before = len(self.trained())
        self.process = context.Process(target=_run, args=([command, *map(str, arguments)], str(log), change))
        self.process.start()
        self.running.append(self.process)

    def trained(self):
        """Return the cells whose training has begun, ``"split seed"``, by all commands with this log."""
        with contextlib.suppress(FileNotFoundError):
            return self._trained.read_text().splitlines()
        return []

    def wait(self, timeout=60):
        """Return the exit status: negative for a signal."""
        self.process.join(timeout)
        if self.process.is_alive():
            self.process.kill()
            raise AssertionError(f"still running after {timeout} s: {self.output()}")
        return self.process.exitcode

    def kill(self, after):
        """SIGKILL after so many seconds; return False where the command ended before."""
        self.process.join(after)
        self.process.kill()
        self.process.join()
        return self.process.exitcode == -signal.SIGKILL

    def send(self, number):
        os.kill(self.process.pid, number)

    def output(self):
        return self.log.read_text()

    def until(self, condition, timeout=30):
        """Wait for something to become true while the command runs."""
        end = time.monotonic() + timeout
        while not condition():
            assert self.process.is_alive(), self.output()
            assert time.monotonic() < end, self.output()
            time.sleep(0.005)


def _run(arguments, log, change):
    os.setsid()
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    import torch

    from gnnzoo.runner import cell as module

    torch.set_num_threads(1)
    original = module.train_cell

    def train_cell(cell, *args, **kwargs):
        with open(f"{log}.trained", "a") as file:
            file.write(f"{cell.split} {cell.seed}\n")
        return original(cell, *args, **kwargs)

    module.train_cell = train_cell
    if change:
        globals()[change[0]](*change[1:])
    from gnnzoo.cli import main

    sys.argv = ["gnnzoo", *arguments]
    main()


def _attribute(path):
    module, _, names = path.partition(":")
    owner = importlib.import_module(module)
    *parents, name = names.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    return owner, name


def die(path, when, count):
    """Die by SIGKILL before or after the ``count``-th call of ``module:Class.function``."""
    owner, name = _attribute(path)
    original, calls = getattr(owner, name), []

    def function(*args, **kwargs):
        calls.append(None)
        if when == "before" and len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if when == "after" and len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, function)


def die_inside_a_line(count):
    """Die with half of the ``count``-th record's line written."""
    from gnnzoo.leaderboard import Store

    original, calls = Store.append, []

    def append(self, record):
        calls.append(None)
        if len(calls) == count:
            path = self.path(record.key.benchmark, record.key.model)
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "a") as file:
                file.write(record.line()[: len(record.line()) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        original(self, record)

    Store.append = append


def limit_file_size(size):
    """Let no file grow past ``size`` bytes, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def limit_records(path, room):
    """Let the disk be full ``room`` bytes past the present end of ``path``, from the first append on."""
    from gnnzoo.leaderboard import Store

    original = Store.append

    def append(self, record):
        limit_file_size(os.path.getsize(path) + room)
        original(self, record)

    Store.append = append


def nobody():
    """Give up root's right to write anywhere."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


def slow_epoch(number, seconds):
    """Let one epoch of the first cell take long."""
    from gnnzoo.strategies import ERM

    original, calls = ERM.step, []

    def step(self, batch):
        calls.append(None)
        if len(calls) == number:
            sys.stderr.write("slow epoch\n")
            time.sleep(seconds)
        return original(self, batch)

    ERM.step = step


def read(results):
    """Return ``{(split, seed): (key, result)}`` of all records as JSON texts; every cell must stand there once."""
    found = {}
    for path in sorted(Path(results).glob("*@*/*.jsonl")):
        for line in path.read_text().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            key = record["key"]
            cell = (key["split"], key["seed"])
            assert cell not in found, f"two records of {cell}"
            found[cell] = json.dumps(key), json.dumps(record["result"])
    return found
