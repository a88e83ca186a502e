"""Outputs that cannot be written are refused before the work, and lines of several processes stay whole."""

import errno
import multiprocessing
import os
from pathlib import Path

import pytest

from dtir.cli import EXIT_ERROR, main
from dtir.core.atomic import append_line, atomic_write, remove_abandoned, require_writable, require_writable_folder
from dtir.core.errors import ConfigError

TINY = Path(__file__).parents[1] / "configs" / "tiny_3task.py"


def test_a_folder_that_can_be_written_is_made(tmp_path):
    require_writable_folder(tmp_path / "a" / "b", "--work-dir")
    require_writable(tmp_path / "c" / "metrics.json", "--out")

    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["a", "b", "c"]


def test_what_cannot_be_written_is_named(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")

    with pytest.raises(ConfigError, match=r"--work-dir .*file is a file; name a folder"):
        require_writable_folder(file, "--work-dir")
    with pytest.raises(ConfigError, match="file/below cannot be written: Not a directory"):
        require_writable_folder(file / "below", "--work-dir")
    with pytest.raises(ConfigError, match=r"--out .* is a folder; name a file in it"):
        require_writable(tmp_path, "--out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into read-only folders")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="cannot be written: Permission denied"):
        require_writable_folder(tmp_path, "--work-dir")


def test_a_folder_of_the_system_that_takes_no_files():
    with pytest.raises(ConfigError, match="--work-dir /proc/x cannot be written"):
        require_writable_folder("/proc/x", "--work-dir")


@pytest.mark.parametrize(
    "words", [["train", "CONFIG", "--work-dir", "FILE"], ["test", "CONFIG", "w.pth", "--out", "."]]
)
def test_the_command_line_says_so_before_any_work(words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("x")

    assert main([str(TINY) if word == "CONFIG" else word for word in words]) == EXIT_ERROR
    message = capsys.readouterr().err
    assert "is a file" in message or "is a folder" in message


def append_many(path, letter):
    for length in range(1, 200):
        append_line(path, letter * 100 * length + b"\n")


def test_lines_of_several_processes_stay_whole(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"unfinished")
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=append_many, args=(path, letter)) for letter in (b"a", b"b")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    first, *lines = path.read_bytes().splitlines()
    assert first == b"unfinished"
    assert sorted(lines) == sorted(letter * 100 * n for letter in (b"a", b"b") for n in range(1, 200))


def without_locks(file, flags):
    raise OSError(errno.ENOLCK, "No locks available")


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    monkeypatch.setattr("fcntl.flock", without_locks)
    with atomic_write(tmp_path / "a") as file:
        file.write(b"x")
    append_line(tmp_path / "a", b"y\n")
    assert (tmp_path / "a").read_bytes() == b"x\ny\n"
    # Nobody can tell whether it is still being written.
    (tmp_path / ".a.12345678.tmp").touch()
    remove_abandoned(tmp_path / ".a.12345678.tmp")
    assert (tmp_path / ".a.12345678.tmp").exists()


def test_other_answers_to_a_lock_are_errors(tmp_path, monkeypatch):
    def refuse(file, flags):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(OSError, match="Input/output"), atomic_write(tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_no_line_makes_the_file_and_ends_none(tmp_path):
    append_line(tmp_path / "log", b"")
    assert (tmp_path / "log").read_bytes() == b""
    (tmp_path / "log").write_bytes(b"unfinished")
    append_line(tmp_path / "log", b"")
    assert (tmp_path / "log").read_bytes() == b"unfinished"
