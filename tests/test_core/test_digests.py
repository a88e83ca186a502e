"""Digests of files."""

import hashlib

import pytest

from dtir.core import digests
from dtir.core.digests import file_sha256


@pytest.mark.parametrize("size", [0, 5, 8, 20])
def test_is_that_of_the_whole_file(size, tmp_path, monkeypatch):
    monkeypatch.setattr(digests, "_BLOCK", 8)
    content = bytes(range(size))
    (tmp_path / "file").write_bytes(content)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()
