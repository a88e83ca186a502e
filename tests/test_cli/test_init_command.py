"""`dtir init`: the project is green at once, from a folder outside of the repository."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dtir.cli import EXIT_ERROR, main

REPO = Path(__file__).parents[2]


def test_the_project_is_green_at_once(tmp_path, capsys):
    project = tmp_path / "stripes"
    assert main(["init", str(project)]) == 0

    assert "dtir train config.py --smoke" in capsys.readouterr().out
    names = {path.name for path in (project / "stripes").iterdir()}
    parts = ["backbone", "dataset", "degradation", "metric", "regularizer", "scheduler", "loss", "hook"]
    assert names == {"__init__.py", *(f"{part}.py" for part in parts)}
    assert "my_project" not in "".join(path.read_text() for path in project.rglob("*.*"))

    environment = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_stripes.py"]
    tests = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert tests.returncode == 0, tests.stdout[-3000:]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my-project", "such as 'my_project'"),
        ("class", "such as 'my_class'"),
        ("torch", "is a module that is installed"),
        ("sys", "is a module that is installed"),
    ],
)
def test_a_name_that_python_cannot_import_or_has_already(name, message, tmp_path, capsys):
    assert main(["init", str(tmp_path / name)]) == EXIT_ERROR
    assert message in capsys.readouterr().err
    assert not (tmp_path / name).exists()


def test_a_folder_with_files_is_left_alone(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("mine")
    assert main(["init", str(tmp_path)]) == EXIT_ERROR
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
