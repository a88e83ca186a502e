"""The comparison of the diffusion family: lengths, seeds and metrics."""

import json
import math
from types import SimpleNamespace

import pytest
import torch

from benchmarks import diffusion_measure
from benchmarks.diffusion import (
    described,
    folder_of,
    is_measured,
    lab_config,
    print_table,
    read_results,
    trained,
)
from benchmarks.diffusion_estimates import known_at, print_estimates, write_estimates
from benchmarks.diffusion_measure import measure, print_references, require_measurable
from dtir.core.errors import ConfigError
from dtir.registry import RESTORERS

LPIPS = {"LPIPS": {"higher_is_better": False, "measured": "alexnet"}}


def write(out, name: str, seed: int, rows: list[dict], metrics: dict | None = None, side: int = 128):
    file = out / "results" / f"{folder_of(name, out, seed).name}_4.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"name": name, "side": side, "metrics": metrics or {}, "rows": rows}), encoding="utf-8")
    return file


def row(steps: int, value: float, **more: float) -> dict:
    return {"steps": steps, "evaluations": steps, "PSNR": value, "SSIM": 0.5, "seconds": 1.0, **more}


class Brightness:
    """A metric that is not defined for black pictures."""

    name, higher_is_better = "brightness", False

    def __init__(self, smallest: int = 1) -> None:
        self.smallest = smallest

    def describe(self) -> str:
        return f"mean from {self.smallest} pixels"

    def measure(self, pictures, gt):
        if not pictures.any() or pictures.shape[-1] < self.smallest:
            raise ValueError("too dark or too small.")
        return pictures.mean((1, 2, 3))


@pytest.fixture(name="pictures")
def pictures_fixture(monkeypatch):
    generator = torch.Generator().manual_seed(0)

    def drawn(side: int):
        gt = torch.randint(256, (2, 3, side, side), generator=generator).double() / 255
        return gt.float() / 2, gt

    monkeypatch.setattr(diffusion_measure, "test_pictures", drawn)


def test_seeds_are_averaged_step_by_step(tmp_path, capsys):
    write(tmp_path, "I2SB", 0, [row(1, 14.0, LPIPS=0.1), row(5, 16.0, LPIPS=0.2)], LPIPS)
    write(tmp_path, "I2SB", 1, [row(1, 15.0, LPIPS=0.3), row(5, 18.0, LPIPS=0.4)], LPIPS)
    write(tmp_path, "InDI", 0, [row(1, 13.0)])
    found = read_results(tmp_path)
    assert [r["PSNR"] for r in found.rows["I2SB"]] == [14.5, 17.0]
    assert found.rows["I2SB"][1]["spread"]["PSNR"] == pytest.approx(2**0.5)
    assert math.isnan(found.rows["InDI"][0]["spread"]["PSNR"])
    print_table(found)
    header, _, first, second = capsys.readouterr().out.splitlines()
    assert header.startswith("| process | best at steps | evaluations | PSNR | SSIM | LPIPS | s / picture |")
    assert first.startswith("| I2SB | 5 | 5 | 17.00 ± 1.41 | 0.500 | 0.300 | 1.00 | 14.50 | - | 17.00 |")
    assert second.startswith("| InDI | 1 | 1 | 13.00 | 0.500 | - | 1.00 | 13.00 |")
    print_table(found, "LPIPS")
    _, _, first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("| I2SB | 1 | 1 | 14.50 | 0.500 | 0.200 ± 0.141 | 1.00 | 0.200 | - | 0.300 |")
    assert second.startswith("| InDI | 1 | 1 | 13.00 | 0.500 | - | 1.00 | - |")


def test_a_metric_of_one_seed_is_that_of_this_seed(tmp_path, capsys):
    write(tmp_path, "I2SB", 0, [row(1, 14.0)])
    write(tmp_path, "I2SB", 1, [row(1, 15.0, LPIPS=0.3)], LPIPS)
    results = read_results(tmp_path)
    (found,) = results.rows["I2SB"]
    assert (found["PSNR"], found["LPIPS"]) == (14.5, 0.3)
    assert found["spread"]["PSNR"] == pytest.approx(0.5**0.5)
    assert math.isnan(found["spread"]["LPIPS"])
    print_table(results)
    assert "| 14.50 ± 0.71 | 0.500 | 0.300 (seeds: 1) |" in capsys.readouterr().out


def test_a_value_that_is_not_defined_is_not_the_best(tmp_path, capsys):
    rows = [row(1, 14.0, LPIPS=math.nan), row(2, 13.0, LPIPS=0.4), row(5, 12.0, LPIPS=0.3)]
    write(tmp_path, "I2SB", 0, rows, LPIPS)
    write(tmp_path, "I2SB", 1, rows, LPIPS)
    write(tmp_path, "InDI", 0, rows[:1], LPIPS)
    print_table(read_results(tmp_path), "LPIPS")
    _, _, first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("| I2SB | 5 | 5 | 12.00 | 0.500 | 0.300 ± 0.000 | 1.00 | - | 0.400 | 0.300 |")
    assert second.startswith("| InDI | 1 | 1 | 14.00 | 0.500 | - | 1.00 | - |")


def test_a_table_is_of_one_way_of_measuring(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no results; `run` it first"):
        read_results(tmp_path)
    write(tmp_path, "I2SB", 0, [row(1, 14.0)])
    write(tmp_path, "InDI", 0, [row(1, 14.0)], side=288)
    with pytest.raises(ConfigError, match=r"InDI_4.json' was not measured as '.*I2SB_4.json' was; `run` all with one"):
        read_results(tmp_path)
    write(tmp_path, "InDI", 0, [row(1, 14.0, LPIPS=0.1)], LPIPS)
    assert read_results(tmp_path).metrics == LPIPS
    write(tmp_path, "I2SB", 0, [row(1, 14.0, LPIPS=0.1)], {"LPIPS": {**LPIPS["LPIPS"], "measured": "vgg16"}})
    with pytest.raises(ConfigError, match="was not measured as"):
        read_results(tmp_path)


def test_another_side_or_metric_is_measured_again(tmp_path):
    judge = Brightness()
    file = write(tmp_path, "I2SB", 0, [row(1, 14.0, brightness=0.5)], {"brightness": described(judge)})
    assert is_measured(file, [judge], 128)
    assert is_measured(file, [], 128)
    assert not is_measured(file, [judge], 288)
    assert not is_measured(file, [Brightness(smallest=9)], 128)
    assert not is_measured(write(tmp_path, "InDI", 0, [row(1, 14.0)]), [judge], 128)
    assert not is_measured(tmp_path / "none.json", [], 128)


def test_metrics_are_measured_at_every_number_of_steps(pictures):
    class Model:
        sampling_scheduler = SimpleNamespace(num_timesteps=10)

        def set_sampling(self, steps):
            self.num_evals = self.steps = steps

        def restore(self, lq, t):
            assert lq.shape == (2, 3, 16, 16)
            return lq * (self.steps - 1) + 0 * torch.rand(1)

    rows = measure(Model(), [Brightness()], side=16)
    assert [r["steps"] for r in rows] == [1, 2, 5, 10]
    assert math.isnan(rows[0]["brightness"])
    assert 0.2 < rows[1]["brightness"] < 0.3 < rows[2]["brightness"] < rows[3]["brightness"] <= 1


def test_a_metric_that_cannot_measure_the_pictures_is_named_first(pictures):
    require_measurable([Brightness()], 11)
    with pytest.raises(ConfigError, match=r"brightness cannot measure 11x11 pixels; name another --side. too dark or"):
        require_measurable([Brightness(smallest=12)], 11)
    with pytest.raises(ConfigError, match=r"SSIM cannot measure 10x10 pixels; name another --side."):
        require_measurable([], 10)


def test_references_are_the_gt_and_what_damages_it(pictures, capsys):
    print_references([Brightness()], 24)
    header, _, *lines = capsys.readouterr().out.splitlines()
    assert header == "| pictures | PSNR | SSIM | brightness |"
    values = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")[1:] for line in lines}
    assert values["GT"][:2] == ["inf", "1.000"]
    assert float(values["input"][2]) == pytest.approx(float(values["GT"][2]) / 2, abs=2e-3)
    assert 27 < float(values["GT, noise 10"][0]) < 30
    assert float(values["GT, blur 1"][0]) > float(values["GT, blur 2"][0])


def test_what_an_exact_network_knows_is_the_clean_picture_and_errors_grow_with_the_noise(pictures, tmp_path, capsys):
    lq, gt = diffusion_measure.test_pictures(16)
    model = RESTORERS.build(lab_config("GOUB, mean ODE", 10, 0).model)
    process = model.scheduler
    error = 0.0

    def exact(state, given, level):
        return process.eps_from_x0(state, gt.float(), lq, int(level[0])) + error

    model.evaluate = exact
    assert {row["PSNR"] for row in known_at(model, lq, gt)} == {math.inf}
    error = 0.05
    for row in known_at(model, lq, gt)[2:4]:
        assert row["PSNR"] == pytest.approx(-20 * math.log10(error / row["share"]), abs=0.3)
    write_estimates({"GOUB, mean ODE": model, "regression": torch.nn.Identity()}, lq, gt, tmp_path)
    print_estimates(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("| GOUB")]) == 1
    assert "regression" not in str(lines)


def test_without_a_training_there_is_nothing_to_estimate(tmp_path):
    with pytest.raises(ConfigError, match="holds no training that has ended"):
        trained(tmp_path)
