import fcntl
import socket
import sys
import tempfile

import pytest

from dtir import cli
from dtir.app.address import listen, url_of
from dtir.app.workplace import workplace
from dtir.core.errors import ConfigError


def test_the_page_is_reached_from_this_machine_alone_unless_asked():
    with listen("127.0.0.1", 0) as address:
        assert address.getsockname()[0] == "127.0.0.1"
        assert url_of(address) == f"http://127.0.0.1:{address.getsockname()[1]}"
    with listen("0.0.0.0", 0) as address:
        assert url_of(address).startswith("http://127.0.0.1:")


def test_a_port_in_use_is_a_sentence(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert cli.main(["app", "--port", str(port)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert said == (
        f"Error: port {port} of 127.0.0.1 is in use, perhaps by another dtir app; choose another: --port {port + 1}."
    )


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("a..b", 0, "--host a..b is no address"),
        ("127.0.0.1", 65536, "--port 65536 is no port"),
        ("192.0.2.1", 0, "cannot serve on port 0 of 192.0.2.1"),
    ],
)
def test_addresses_that_are_none_are_named(host, port, said):
    with pytest.raises(ConfigError, match=said):
        listen(host, port)


def test_without_gradio_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert cli.main(["app", "--port", "0"]) == 2
    assert "pip install 'dtir[app]'" in capsys.readouterr().err


def test_a_workplace_goes_with_its_run_and_that_of_a_killed_run_with_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed, starting = tmp_path / "dtir-app-killed", tmp_path / "dtir-app-starting"
    for folder in (killed, starting, killed / "files"):
        folder.mkdir()
    (killed / "lock").touch()
    (tmp_path / "other").mkdir()
    with workplace() as folder:
        (folder / "picture.png").touch()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([folder.name, starting.name, "other"])
        # One beside it leaves it alone.
        with workplace() as second:
            assert second != folder
            assert (folder / "picture.png").exists()
        with (folder / "lock").open("rb") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert not folder.exists()
