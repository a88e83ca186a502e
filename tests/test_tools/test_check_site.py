import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "misc" / "check_site.py"


@pytest.fixture(scope="module")
def check_site():
    spec = importlib.util.spec_from_file_location("check_site", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_files_and_anchors_of_a_site(tmp_path, check_site):
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text(
        '<a href="sub/b.html#there">1</a><a href="sub/b.html#gone">2</a><a href="gone.html">3</a><a href="#here">4</a>'
        '<p id="here"><a href="https://elsewhere.org/x">5</a><img src="a%20b.png"><img src="data:,x">'
    )
    (tmp_path / "a b.png").write_bytes(b"")
    (tmp_path / "sub" / "b.html").write_text(
        '<h1 id="there">.</h1><a href="..">up</a><script src="https://cdn.org/x.js"></script>'
        '<link rel="canonical" href="https://site.org/b"><link rel="stylesheet" href="//cdn.org/x.css">'
    )
    assert check_site.problems(tmp_path) == [
        "index.html: gone.html: no such file",
        "index.html: sub/b.html#gone: no such anchor",
        "sub/b.html: //cdn.org/x.css: loaded from the network",
        "sub/b.html: https://cdn.org/x.js: loaded from the network",
    ]


def test_a_folder_without_a_site_is_an_error(tmp_path, check_site, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["check_site.py", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        check_site.main()
    assert "build the site first" in capsys.readouterr().err
