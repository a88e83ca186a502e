"""Models of an index, from a server on this machine."""

import functools
import http.server
import json
import threading

import pytest

import dtir.testing.models  # noqa: F401 - registers TinyBackbone.
from dtir import cli
from dtir.apis.models.build import load_restorer
from dtir.apis.models.files import write_model_file
from dtir.apis.models.index import fetch, listed_models, write_index
from dtir.apis.models.names import find_model
from dtir.core.errors import CheckpointError
from dtir.registry import RESTORERS

CONFIG = {"type": "SupervisedRestorer", "backbone": {"type": "TinyBackbone", "width": 2}, "tasks": ["hazy"]}


@pytest.fixture
def shelf(tmp_path):
    """A folder with one model file and its index."""
    folder = tmp_path / "shelf"
    model = RESTORERS.build(CONFIG)
    model.model_cfg = CONFIG
    write_model_file(folder / "fog.safetensors", model, description="Haze off", licence="CC0-1.0")
    write_index(folder)
    return folder


class Handler(http.server.SimpleHTTPRequestHandler):
    asked: list

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(shelf, tmp_path, monkeypatch):
    """Serves the folder; `asked` are the paths that were asked for."""
    handler = type("Asked", (Handler,), {"asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(shelf)))
    server.asked = handler.asked
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    monkeypatch.setenv("DTIR_MODEL_INDEX", f"http://127.0.0.1:{server.server_port}/index.json")
    monkeypatch.setenv("DTIR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield server
    server.shutdown()
    server.server_close()


def find(name, tmp_path):
    return find_model(name, tmp_path / "nothing packaged")


def test_a_model_is_downloaded_once_and_then_works_without_the_network(server, shelf, tmp_path):
    path = find("fog", tmp_path)
    assert path.read_bytes() == (shelf / "fog.safetensors").read_bytes()
    assert path.parent == tmp_path / "cache" / "models"
    assert load_restorer(path).tasks == ("hazy",)
    find("fog", tmp_path)
    assert server.asked.count("/fog.safetensors") == 1
    server.shutdown()
    server.server_close()
    assert find("fog", tmp_path) == path


def test_the_index_lists_what_people_want_to_know(server, shelf, capsys, monkeypatch):
    monkeypatch.setattr("dtir.apis.models.names.packaged_models", dict)
    assert cli.main(["models"]) == 0
    shown = capsys.readouterr().out
    for words in ("fog  Haze off", "tasks: hazy", "licence: CC0-1.0", "/fog.safetensors (downloaded when it is first"):
        assert words in shown
    fetch(listed_models()["fog"])
    assert cli.main(["models"]) == 0
    assert "downloaded when" not in capsys.readouterr().out


def changed_index(shelf, **values):
    index = json.loads((shelf / "index.json").read_text())
    index["models"][0] |= values
    (shelf / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sha256": "0" * 64}, "checksum differs"),
        ({"size": 100}, "size differs"),
        ({"size": 10**9}, "size differs"),
        ({"file": "gone.safetensors"}, "cannot be downloaded from .*gone.safetensors.*[Nn]ot found"),
        ({"name": "../fog"}, "no name of a model"),
        ({"file": "ftp://127.0.0.1/fog.safetensors"}, "only http, https and file"),
    ],
)
def test_what_is_not_the_described_file_is_not_kept(server, shelf, tmp_path, values, message):
    changed_index(shelf, **values)
    with pytest.raises(CheckpointError, match=message):
        find("fog", tmp_path)
    assert not list((tmp_path / "cache").rglob("fog*"))


def test_a_damaged_file_in_the_cache_is_downloaded_again(server, shelf, tmp_path):
    path = find("fog", tmp_path)
    path.write_bytes(path.read_bytes()[:-7])
    assert find("fog", tmp_path).read_bytes() == (shelf / "fog.safetensors").read_bytes()


def test_an_unknown_name_lists_those_of_the_index(server, tmp_path):
    with pytest.raises(CheckpointError, match=r"no model 'fogg'.*Did you mean 'fog'"):
        find("fogg", tmp_path)


def test_no_network_and_nothing_kept_is_said(server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(CheckpointError, match=r"index of models 'http.*cannot be read"):
        find("fog", tmp_path)


def test_an_index_may_be_a_file(shelf, tmp_path, monkeypatch):
    monkeypatch.setenv("DTIR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DTIR_MODEL_INDEX", str(shelf / "index.json"))
    assert find("fog", tmp_path).read_bytes() == (shelf / "fog.safetensors").read_bytes()
    (shelf / "index.json").write_text("{}")
    with pytest.raises(CheckpointError, match="is no index of models"):
        find("fog", tmp_path)


def test_a_folder_is_indexed_by_command(shelf, tmp_path, capsys):
    (shelf / "index.json").unlink()
    assert cli.main(["models", "index", str(shelf)]) == 0
    assert json.loads((shelf / "index.json").read_text())["models"][0]["name"] == "fog"
    (tmp_path / "empty").mkdir()
    assert cli.main(["models", "index", str(tmp_path / "empty")]) == 2
    assert "no model files" in capsys.readouterr().err


def test_an_index_is_used_where_it_cannot_be_kept(server, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DTIR_CACHE", str(tmp_path / "file"))
    assert set(listed_models()) == {"fog"}
    assert "cannot be kept" in caplog.text


@pytest.mark.parametrize("wrong", [{"sha256": 3}, {"size": "big"}])
def test_an_entry_without_checksum_or_size_is_named(shelf, wrong):
    (entry,) = json.loads((shelf / "index.json").read_text())["models"]
    (shelf / "index.json").write_text(json.dumps({"models": [{**entry, **wrong}]}))
    with pytest.raises(CheckpointError, match="'fog' has no checksum"):
        listed_models(str(shelf / "index.json"))
