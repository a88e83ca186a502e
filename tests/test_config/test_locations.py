"""Configs that come with the package, from anywhere, and files with a byte-order mark."""

import subprocess
import sys
from pathlib import Path

import pytest

from dtir.cli import main
from dtir.cli.launching import load_config
from dtir.config.files import config_chain, key_origins
from dtir.config.locations import config_root, locate
from dtir.core.errors import ConfigError

ROOT = Path(__file__).parents[2]
QUICK = "dtir::dtir/nafnet_10task_quick.py"


def test_a_scoped_name_is_a_file_of_the_package():
    assert locate(QUICK) == config_root() / "dtir" / "nafnet_10task_quick.py"
    assert locate("a/b.py") == Path("a/b.py")
    assert locate("b.py", Path("a")) == Path("a/b.py")


def test_a_scoped_config_is_read_like_its_file():
    assert load_config(QUICK).model == load_config(ROOT / "configs/dtir/nafnet_10task_quick.py").model
    assert load_config(QUICK).work_dir == "work_dirs/nafnet_10task_quick"


def test_a_scoped_base_works_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(f"_base_ = '{QUICK}'\nrandomness = dict(seed=5)\n")

    cfg = load_config("mine.py")

    assert cfg.randomness.seed == 5
    assert cfg.model.network.backbone.type == "NAFNet"
    chain = config_chain("mine.py")
    assert [chain[-2].name, chain[-1].name] == ["nafnet_10task_quick.py", "mine.py"]
    assert key_origins("mine.py")["randomness"][-1] == Path("mine.py")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("dtir::dtir/nafnet_10task_quik.py", "Did you mean"),
        ("no_such_package_here::a.py", "no package 'no_such_package_here' is installed"),
        ("rich::a.py", "comes without configs"),
        ("::a.py", "no package '' is installed"),
    ],
)
def test_a_scoped_name_that_is_none(name, part):
    with pytest.raises(ConfigError, match=part):
        load_config(name)


@pytest.mark.parametrize("suffix", [".py", ".json", ".yaml"])
def test_a_byte_order_mark_is_fine(tmp_path, suffix):
    texts = {
        ".py": "_base_ = 'base.py'\nexperiment_name = '{{ fileBasenameNoExtension }}'\n",
        ".json": '{"_base_": "base.py", "experiment_name": "{{ fileBasenameNoExtension }}"}',
        ".yaml": "_base_: base.py\nexperiment_name: '{{ fileBasenameNoExtension }}'\n",
    }
    (tmp_path / "base.py").write_text("randomness = dict(seed=3)\n", encoding="utf-8-sig")
    config = tmp_path / f"marked{suffix}"
    config.write_text(texts[suffix], encoding="utf-8-sig")

    cfg = load_config(config)

    assert (cfg.randomness.seed, cfg.experiment_name) == (3, "marked")


def test_every_config_has_a_line(capsys):
    assert main(["configs"]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert len(lines) >= 70
    assert not [line for line in lines if len(line.split(maxsplit=1)) < 2]
    assert main(["configs", "quick", "whole METHOD"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [QUICK]
    assert main(["configs", "nothing like this"]) == 1
    assert main(["configs", "--parts", "_base_/default"]) == 0


def test_the_configs_are_part_of_the_wheel(tmp_path):
    pytest.importorskip("setuptools")
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path / "lib")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    built, own = tmp_path / "lib" / "dtir" / "configs", ROOT / "configs"
    assert {p.relative_to(built) for p in built.rglob("*.py")} == {p.relative_to(own) for p in own.rglob("*.py")}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.json", "[1]", "expected keys with values"),
        ("c.yaml", "", "expected keys with values"),
        ("c.py", "_base_ = 3", "expected the name of a config"),
        ("c.py", "_base_ = ['a.py', 3]", "expected the name of a config"),
        ("c.py", "_base_ = name()", "must be written out"),
        ("c.py", "from no_such_package import part", "no_such_package"),
        ("c.py", "log_level = 'LOUD'", "log_level is 'LOUD'"),
        ("c.py", "launcher = 'rocket'", "launcher is 'rocket'"),
    ],
)
def test_a_file_that_is_no_config_is_explained(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / name)
