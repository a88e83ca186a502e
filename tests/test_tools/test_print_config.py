"""tools/analysis/print_config.py."""

import sys

import pytest
from mmengine.config import Config

from dtir.cli import exit_code
from tools.analysis.print_config import main


@pytest.fixture
def print_config(tmp_path, monkeypatch, capsys):
    """Runs the tool in the test's folder; gives its exit code, and what it said."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["print_config.py", *words])
        code = exit_code(main)
        return code, *capsys.readouterr()

    return run


def test_the_output_is_the_config_with_origins(tmp_path, print_config):
    (tmp_path / "base.py").write_text("randomness = dict(seed=1)\nlog_level = 'INFO'\n")
    (tmp_path / "child.py").write_text("_base_ = 'base.py'\nrandomness = dict(deterministic=True)\n")

    code, out, _ = print_config("child.py", "--cfg-options", "randomness.seed=5")

    assert code == 0
    assert "# from base.py, child.py, --cfg-options\nrandomness" in out
    assert "# from base.py\nlog_level" in out
    assert "# from default\nwork_dir" in out
    resolved = Config.fromstring(out, ".py")
    assert resolved.randomness == {"seed": 5, "deterministic": True}


def test_a_typo_is_an_error_without_traceback(tmp_path, print_config):
    (tmp_path / "c.py").write_text("randomnes = dict(seed=1)\n")

    code, _, error = print_config("c.py")

    assert code == 2
    assert "Did you mean 'randomness'?" in error
    assert "Traceback" not in error
