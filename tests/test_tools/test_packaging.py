"""What setup.py tells pip."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import dtir

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def metadata() -> dict:
    """The arguments that setup.py passes to setuptools."""
    record = "setuptools.setup = lambda **arguments: print(json.dumps(arguments, default=repr))"
    code = f"import json, runpy, setuptools; {record}; runpy.run_path('setup.py')"
    pytest.importorskip("setuptools")
    out = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True).stdout
    return json.loads(out)


def test_version_is_that_of_the_package(metadata):
    assert metadata["version"] == dtir.__version__


def test_requirements(metadata):
    names = [requirement.split(">")[0] for requirement in metadata["install_requires"]]

    assert {"torch", "torchvision", "mmengine", "mmcv-lite", "opencv-python", "lpips"} <= set(names)
    assert not any("#" in requirement or "<" in requirement for requirement in metadata["install_requires"])
    assert metadata["extras_require"]["optional"] == ["wandb"]
    assert metadata["extras_require"]["onnx"] == ["onnx", "onnxruntime"]
    assert set(metadata["extras_require"]["all"]) >= set(metadata["extras_require"]["tests"])


def test_every_folder_with_modules_is_packaged(metadata):
    # What `dtir init` copies is data.
    modules = (path for path in (REPO / "dtir").rglob("*.py") if "assets" not in path.parts)
    folders = {path.parent.relative_to(REPO) for path in modules}

    assert {".".join(folder.parts) for folder in folders} <= set(metadata["packages"])


def test_photographs_are_package_data(metadata):
    patterns = metadata["package_data"]["dtir"]
    found = {path.name for pattern in patterns for path in (REPO / "dtir").glob(pattern)}

    assert {"coffee.png", "flower.jpg", "astronaut.png"} <= found


def test_a_build_has_the_configs_and_nothing_of_an_earlier_one(tmp_path):
    pytest.importorskip("setuptools")
    old = tmp_path / "dtir" / "moved_since.py"
    old.parent.mkdir()
    old.touch()
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path)]
    subprocess.run(command, cwd=REPO, capture_output=True, check=True)

    assert not old.exists()
    assert (tmp_path / "dtir" / "version.py").is_file()
    assert (tmp_path / "dtir" / "configs" / "dtir" / "nafnet_10task_quick.py").is_file()
