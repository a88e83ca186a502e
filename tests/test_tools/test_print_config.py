"""tools/analysis/print_config.py."""

import subprocess
import sys
from pathlib import Path

from mmengine.config import Config

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "analysis" / "print_config.py"


def print_config(folder: Path, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        cwd=folder,
        env={"PYTHONPATH": str(SCRIPT.parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_output_is_the_config_with_origins(tmp_path):
    (tmp_path / "base.py").write_text("randomness = dict(seed=1)\nlog_level = 'INFO'\n")
    (tmp_path / "child.py").write_text("_base_ = 'base.py'\nrandomness = dict(deterministic=True)\n")

    result = print_config(tmp_path, "child.py", "--cfg-options", "randomness.seed=5")

    assert result.returncode == 0, result.stderr
    assert "# from base.py, child.py, --cfg-options\nrandomness" in result.stdout
    assert "# from base.py\nlog_level" in result.stdout
    assert "# from default\nwork_dir" in result.stdout
    resolved = Config.fromstring(result.stdout, ".py")
    assert resolved.randomness == {"seed": 5, "deterministic": True}


def test_a_typo_is_an_error_without_traceback(tmp_path):
    (tmp_path / "c.py").write_text("randomnes = dict(seed=1)\n")

    result = print_config(tmp_path, "c.py")

    assert result.returncode == 2
    assert "Did you mean 'randomness'?" in result.stderr
    assert "Traceback" not in result.stderr
