"""What is saved or typed in place of a checkpoint is named as what it is."""

import os
import re
import subprocess
import sys
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from dtir.apis import load_backbone
from dtir.core import checkpoint
from dtir.core.checkpoint import load_checkpoint
from dtir.core.checkpoint_files import check_checkpoint_file
from dtir.core.errors import CheckpointError
from dtir.models.backbones import PReNet_r

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html><title>Sign in</title>", "is a web page"),
        (b"\n  <HTML>", "is a web page"),
        (LFS, "pointer of a git-lfs file"),
        (b'{"error": "not found"}', "is a text file.*error"),
        (b"\xef\xbb\xbf<!-- page --><html>", "is a web page"),
        ("<html>".encode("utf-16"), "is a web page"),
        ("Übertragung fehlgeschlagen".encode(), "is a text file.*Übertragung"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "it is a PNG picture"),
        (b"\x1f\x8b\x08\0", "packed with gzip; unpack it first"),
        (bytes(600), "begins with zeros alone"),
        (b"", "is empty"),
    ],
)
def test_what_is_no_checkpoint(content, message, tmp_path):
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"net\.pth' .*{message}"):
        load_backbone(tmp_path / "net.pth")


@pytest.mark.parametrize(("member", "message"), [("a.txt", "zip archive"), ("net/constants.pkl", "TorchScript")])
def test_archives_of_something_else(member, message, tmp_path):
    with zipfile.ZipFile(tmp_path / "net.pth", "w") as archive:
        archive.writestr(member, b"")
    with pytest.raises(CheckpointError, match=message):
        check_checkpoint_file(tmp_path / "net.pth")


@pytest.mark.parametrize("name", ["net.pth", "old.pth", "net.safetensors"])
@pytest.mark.parametrize("kept", [0.001, 0.05, 0.3, 0.99])
def test_files_that_are_cut_off(name, kept, tmp_path):
    path, state = tmp_path / name, {"a": torch.rand(300), "b": torch.rand(40, 40)}
    if name.endswith("safetensors"):
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=name == "net.pth")
    content = path.read_bytes()
    assert load_checkpoint(path)["b"].equal(state["b"])
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(CheckpointError, match=rf"{name}' (is cut off|is damaged|has a damaged header|is a text file)"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")], ids=type
)
def test_too_little_memory_is_no_damage(error, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise error

    torch.save({"a": torch.rand(3)}, tmp_path / "net.pth")
    save_file({"a": torch.rand(3)}, tmp_path / "net.safetensors")
    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(checkpoint, "load_file", refuse)
    for name in ("net.pth", "net.safetensors"):
        with pytest.raises(CheckpointError, match=rf"not enough memory to read '.*{re.escape(name)}' of \d+ bytes"):
            load_checkpoint(tmp_path / name)


def test_paths_that_are_none(tmp_path):
    (tmp_path / "deraining.pth").write_bytes(b"\x80\x02")
    for url in ("https://example.org/net.pth", "S3://bucket/net.pth", "file:///net.pth"):
        with pytest.raises(CheckpointError, match="is a URL; download the file"):
            check_checkpoint_file(url)
    with pytest.raises(CheckpointError, match="is a folder"):
        check_checkpoint_file(tmp_path)
    with pytest.raises(CheckpointError, match=r"no checkpoint at .* Did you mean 'deraining\.pth'"):
        check_checkpoint_file(tmp_path / "derainng.pth")
    (tmp_path / "link.pth").symlink_to("moved.pth")
    with pytest.raises(CheckpointError, match=r"is a link to 'moved\.pth', which is not there"):
        check_checkpoint_file(tmp_path / "link.pth")
    assert check_checkpoint_file(str(tmp_path / "deraining.pth")) == tmp_path / "deraining.pth"


def test_safetensors_are_recognised_by_their_content(tmp_path):
    save_file(PReNet_r().state_dict(), tmp_path / "net.pth")
    assert type(load_backbone(tmp_path / "net.pth")) is PReNet_r


@pytest.mark.parametrize(
    "words",
    [
        ["restore", "a.png", "--model", "gone.pth", "--out", "out"],
        ["test", "config.py", "gone.pth"],
        ["train", "config.py", "--resume", "gone.pth"],
        ["guide", "a.png", "--config", "config.py", "--checkpoint", "gone.pth", "--out", "out"],
    ],
)
def test_a_missing_checkpoint_is_said_before_anything_heavy_is_imported(words, tmp_path):
    code = (
        "import sys; from dtir import cli; code = cli.main(sys.argv[1:]); "
        "print(code, [name for name in ('torch', 'mmengine', 'cv2') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert "gone.pth" in done.stderr, done.stderr
    assert done.stdout.strip() == "2 []"
