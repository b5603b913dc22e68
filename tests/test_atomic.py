"""Files are old or new, never half: on a full disk, in a read-only folder, after a kill in the middle."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from gnnzoo import atomic
from gnnzoo.errors import StorageError


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    atomic.write_text(path, "eins\n")
    atomic.write_text(path, "zwei ü\n")
    assert path.read_text(encoding="utf-8") == "zwei ü\n"
    atomic.save_tensors(path, {"a": torch.arange(3)})
    assert torch.equal(torch.load(path, weights_only=True)["a"], torch.arange(3))
    assert os.listdir(path.parent) == ["file.txt"]


def test_permissions_follow_the_old_file_or_the_mask(tmp_path: Path) -> None:
    path = tmp_path / "file"
    before = os.umask(0o027)
    try:
        atomic.write_bytes(path, b"1")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640
    path.chmod(0o600)
    atomic.write_bytes(path, b"2")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    atomic.write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_long_names(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)
    atomic.write_bytes(path, b"x")
    assert path.read_bytes() == b"x"


LIMITED = """
import resource, sys
from gnnzoo import atomic
from gnnzoo.errors import StorageError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    atomic.write_bytes(sys.argv[1], b"n" * 5000)
except StorageError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit on file sizes here")
def test_no_room_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    done = run(LIMITED, str(path))
    assert done.stdout == f"cannot write {path}: File too large\n", done.stderr
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "blocker").write_bytes(b"not a folder")
    with pytest.raises(StorageError, match=r"^cannot write \S+/blocker/file: ") as caught:
        atomic.write_bytes(tmp_path / "blocker" / "file", b"new")
    assert "\n" not in str(caught.value)
    with pytest.raises(StorageError, match="Is a directory"):
        atomic.write_bytes(tmp_path, b"new")
    assert sorted(os.listdir(tmp_path)) == ["blocker", "file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_read_only_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(StorageError, match="Permission denied"):
            atomic.write_bytes(tmp_path / "file", b"new")
    finally:
        tmp_path.chmod(0o755)
    assert (tmp_path / "file").read_bytes() == b"old"


def test_an_error_while_syncing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(handle: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="Input/output error"):
        atomic.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


STUCK = """
import os, sys, time
from gnnzoo import atomic
def stuck(handle):
    print("in the middle", flush=True)
    time.sleep(60)
os.fsync = stuck
atomic.write_bytes(sys.argv[1], b"new" * 1000)
"""


def test_a_kill_before_the_rename_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    child = subprocess.Popen([sys.executable, "-c", STUCK, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "in the middle\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert path.read_bytes() == b"old"


BUSY = """
import sys
from gnnzoo import atomic
number = 0
while True:
    number += 1
    atomic.write_bytes(sys.argv[1], bytes([number % 256]) * 300_000)
    if number == 1:
        print("writing", flush=True)
"""


def test_kills_at_any_moment_leave_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for number in range(5):
        child = subprocess.Popen([sys.executable, "-c", BUSY, str(path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.003 * number)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        content = path.read_bytes()
        assert len(content) == 300_000
        assert content == content[:1] * 300_000


def test_needs_no_torch() -> None:
    done = run("import sys, gnnzoo.atomic; print('torch' in sys.modules)")
    assert done.stdout == "False\n", done.stderr
