"""Packaging of dtir: `pip install -e .`, an extra for each file of requirements/ but runtime.txt, and `all`."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


def read_version() -> str:
    text = (ROOT / "dtir" / "version.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE).group(1)


def read_requirements(name: str) -> list[str]:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    stripped = (line.split("#")[0].strip() for line in lines)
    return [line for line in stripped if line]


EXTRAS = {
    path.stem: read_requirements(path.stem)
    for path in sorted((ROOT / "requirements").glob("*.txt"))
    if path.stem != "runtime"
}


class BuildWithConfigs(build_py):
    """Puts the configs into the wheel, as the folder `dtir/configs`: `_base_ = "dtir::dtir/nafnet_10task.py"`."""

    def run(self) -> None:
        # An earlier build leaves modules there that have been moved since, which would come along.
        if not self.editable_mode:
            shutil.rmtree(Path(self.build_lib) / "dtir", ignore_errors=True)
        super().run()
        if not self.editable_mode:
            shutil.copytree(ROOT / "configs", Path(self.build_lib) / "dtir" / "configs", dirs_exist_ok=True)


setup(
    name="dtir",
    version=read_version(),
    description="Image restoration trained the diffusion way: many degradations, any backbone, one command",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    keywords="image restoration, diffusion, denoising, deblurring, dehazing, deraining, low light, PyTorch",
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Image Processing",
    ],
    python_requires=">=3.10",
    packages=find_packages(include=["dtir", "dtir.*"]),
    package_data={"dtir": ["assets/**/*", "py.typed"]},
    install_requires=read_requirements("runtime"),
    extras_require={**EXTRAS, "all": sorted({line for lines in EXTRAS.values() for line in lines})},
    entry_points={"console_scripts": ["dtir = dtir.cli:main"]},
    cmdclass={"build_py": BuildWithConfigs},
    zip_safe=False,
)
