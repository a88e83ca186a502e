"""The examples of the gallery and the notebooks run from top to bottom, in little time."""

import ast
import json
import runpy
import time
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from mmengine.registry import Registry

import dtir.registry as registries

DOCS = Path(__file__).parents[1] / "docs"
EXAMPLES = sorted((DOCS / "examples").glob("plot_*.py"))
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
# Processor seconds, of one thread.
MOST_SECONDS = 20


@pytest.fixture(autouse=True)
def aside(monkeypatch):
    """Figures are not shown, and parts that an example registers do not stay."""
    before = {r: dict(r.module_dict) for r in vars(registries).values() if isinstance(r, Registry)}
    mpl.use("Agg")
    monkeypatch.setattr(plt, "show", lambda: None)
    yield
    plt.close("all")
    for registry, known in before.items():
        for name in registry.module_dict.keys() - known.keys():
            if registry.module_dict[name].__module__ in ("__main__", "example"):
                del registry.module_dict[name]


def test_there_are_examples():
    assert len(EXAMPLES) >= 6
    assert NOTEBOOKS


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path):
    begin = time.process_time()
    names = runpy.run_path(str(path), run_name="example")
    assert time.process_time() - begin < MOST_SECONDS
    assert plt.get_fignums()
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).splitlines()[1].strip("=") == ""
    RESULTS.get(path.stem, lambda names: None)(names)


def fills_the_mask_alone(names: dict) -> None:
    changed = (names["filled"] != names["scratched"]).any(2)
    assert changed[names["mask"] > 0].mean() > 0.9
    assert not changed[names["mask"] == 0].any()


def removes_more_with_more_strength(names: dict) -> None:
    change = [abs(picture.astype(float) - names["photo"]).mean() for picture in names["pictures"]]
    assert change[0] == 0
    assert change == sorted(change)


def learns(names: dict) -> None:
    assert names["losses"][-1] < (names["noisy"] - names["clean"]).abs().mean() < names["losses"][0]


def draws_both(names: dict) -> None:
    assert 0.4 < names["share"] < 0.6
    assert names["drawn"].sample.abs().mean() == pytest.approx(names["VALUE"], abs=0.05)
    assert names["mean"].sample.abs().max() < 1e-3


# What a page says of its own result, by its file.
RESULTS = {
    "plot_1_restore": lambda names: names["outcome"].changed or pytest.fail("nothing was restored"),
    "plot_2_mask": fills_the_mask_alone,
    "plot_3_strength": removes_more_with_more_strength,
    "plot_5_backbone": learns,
    "plot_6_bridge": draws_both,
}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert cells[0]["cell_type"] == "markdown"
    names: dict = {"__name__": "example"}
    for number, cell in enumerate(cell for cell in cells if cell["cell_type"] == "code"):
        assert cell["outputs"] == []
        exec(compile("".join(cell["source"]), f"{path.name}, code cell {number}", "exec"), names)
    assert all(full > part > 0 for _, part, full in names["rows"][1:])
