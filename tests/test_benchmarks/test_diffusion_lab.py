"""The comparison of the diffusion family: lengths, seeds and metrics."""

import json

import pytest

from benchmarks.diffusion import check_length, folder_of, lab_config, print_table, read_results
from dtir.core.errors import ConfigError


def write(out, name: str, seed: int, rows: list[dict]) -> None:
    file = out / "results" / f"{folder_of(name, out, seed).name}_4.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"name": name, "rows": rows}), encoding="utf-8")


def row(steps: int, value: float, **more: float) -> dict:
    return {"steps": steps, "evaluations": steps, "PSNR": value, "SSIM": 0.5, "seconds": 1.0, **more}


def test_seeds_are_averaged_step_by_step(tmp_path, capsys):
    write(tmp_path, "I2SB", 0, [row(1, 14.0, LPIPS=0.2), row(5, 16.0, LPIPS=0.1)])
    write(tmp_path, "I2SB", 1, [row(1, 15.0, LPIPS=0.4), row(5, 18.0, LPIPS=0.3)])
    write(tmp_path, "InDI", 0, [row(1, 13.0)])
    found = read_results(tmp_path)
    assert [r["PSNR"] for r in found["I2SB"]] == [14.5, 17.0]
    assert found["I2SB"][1]["spread"] == pytest.approx(2**0.5)
    assert found["InDI"][0]["spread"] is None
    print_table(found)
    header, _, first, second = capsys.readouterr().out.splitlines()
    assert header.startswith("| process | best at steps | evaluations | PSNR | SSIM | LPIPS | s / picture |")
    assert first.startswith("| I2SB | 5 | 5 | 17.00 ± 1.41 | 0.500 | 0.200 | 1.00 | 14.50 | - | 17.00 |")
    assert second.startswith("| InDI | 1 | 1 | 13.00 | 0.500 | - | 1.00 | 13.00 |")


def test_a_folder_keeps_one_length(tmp_path):
    folder = folder_of("InDI", tmp_path, 1)
    assert folder != folder_of("InDI", tmp_path)
    check_length(folder, 6)
    folder.mkdir()
    lab_config("InDI", 6, 1).dump(folder / "lab.py")
    check_length(folder, 6)
    with pytest.raises(ConfigError, match="a training of 6 iterations, not 600; name another --out"):
        check_length(folder, 600)
