"""NIQE's model fitted on clean photographs, and the tool that writes it."""

import shutil

import cv2
import numpy as np
import pytest
import torch

from dtir import cli
from dtir.core.assets import ASSETS
from dtir.core.errors import ConfigError, DatasetError
from dtir.evaluation import NIQE, get_protocol
from dtir.evaluation.metrics.niqe import PristineModel, block_sharpness, niqe, niqe_features, read_pristine_model
from dtir.evaluation.metrics.pristine import fit_pristine_model, sharp_features, write_pristine_model
from dtir.imaging.files import read_rgb
from tools.misc import fit_niqe

PHOTOS = [ASSETS / "photos" / name for name in ("chelsea.png", "coffee.png", "rocket.jpg")]


def luma_of(rgb: np.ndarray) -> torch.Tensor:
    return get_protocol("y_8bit").prepare(torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None] / 255)


def write(path, rgb: np.ndarray) -> None:
    cv2.imwrite(str(path), rgb[..., ::-1])


@pytest.fixture(name="folder", scope="module")
def folder_fixture(tmp_path_factory):
    """Several cuts of each photograph, so that there are blocks enough."""
    folder = tmp_path_factory.mktemp("photographs")
    for shift in range(0, 105, 15):
        (folder / f"{shift}").mkdir()
        for photo in PHOTOS:
            write(folder / f"{shift}" / f"{photo.stem}.png", read_rgb(photo)[shift : shift + 192, shift : shift + 288])
    return folder


@pytest.fixture(name="fitted", scope="module")
def fitted_fixture(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("fitted") / "new" / "ours.npz"
    assert fit_niqe.main([str(folder), str(out)]) == 0
    return out


def test_sharpness_is_the_mean_of_the_local_deviation():
    rgb = read_rgb(PHOTOS[0])[:100, :290]
    luma = luma_of(rgb)
    picture = luma[0, 0, :96, :288].numpy() * 255
    x = np.arange(7) - 3
    window = np.exp(-(x[:, None] ** 2 + x[None] ** 2) / (2 * (7 / 6) ** 2))
    padded = np.lib.stride_tricks.sliding_window_view(np.pad(picture, 3, mode="edge"), (7, 7))
    mean, square = ((padded**k * window / window.sum()).sum((2, 3)) for k in (1, 2))
    deviation = np.sqrt(np.abs(square - mean**2))
    expected = [deviation[:, 96 * k : 96 * k + 96].mean() for k in range(3)]
    np.testing.assert_allclose(block_sharpness(luma[0]).numpy(), expected, rtol=1e-9)


def test_only_the_sharpest_blocks_of_a_photograph_count(tmp_path):
    rng = np.random.default_rng(0)
    # Standard deviations; those over three quarters of the largest are the first, third and fifth.
    levels = [20, 14, 16, 5, 19, 0]
    grey = np.concatenate([128 + rng.normal(0, level, (96, 96)) for level in levels], axis=1)
    rgb = np.repeat(grey.round().clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    write(tmp_path / "a.png", rgb)
    features = niqe_features(luma_of(rgb)[0])
    torch.testing.assert_close(sharp_features(tmp_path / "a.png"), features[[0, 2, 4]], rtol=0, atol=0)


@pytest.mark.parametrize("level", [0, 77, 254])
def test_a_photograph_of_one_colour_has_no_sharp_blocks(tmp_path, level):
    rgb = np.full((200, 300, 3), level, np.uint8)
    write(tmp_path / "a.png", rgb)
    assert sharp_features(tmp_path / "a.png").shape == (0, 36)
    rgb[50, 150] += 1
    write(tmp_path / "b.png", rgb)
    assert sharp_features(tmp_path / "b.png").shape == (1, 36)


def test_clean_photographs_are_nearer_to_their_model_than_damaged_ones(fitted):
    metric, rng = NIQE(parameters=str(fitted)), np.random.default_rng(0)
    for path in PHOTOS:
        clean = read_rgb(path)[:192, :288]
        damaged = [
            cv2.GaussianBlur(clean, (0, 0), 2),
            np.clip(clean + rng.normal(0, 25, clean.shape), 0, 255).astype(np.uint8),
        ]
        values = [niqe(luma_of(rgb), metric.model).item() for rgb in (clean, *damaged)]
        assert min(values[1:]) > 1.3 * values[0]


def test_folders_are_measured_by_a_model_of_ones_own(fitted, tmp_path, capsys):
    crop = read_rgb(PHOTOS[0])[:192, :288]
    for name in ("out", "gt"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "a.png", crop)
    words = ["eval", str(tmp_path / "out"), str(tmp_path / "gt"), "--metrics"]
    assert cli.main([*words, "NIQE:y_8bit", "--pristine", str(fitted)]) == 0
    printed = capsys.readouterr().out
    assert f"{niqe(luma_of(crop), read_pristine_model(fitted)).item():.4f}" in printed
    assert fitted.name in printed
    assert cli.main([*words, "PSNR", "--pristine", str(fitted)]) == 2
    assert "NIQE's, which is not among the metrics" in capsys.readouterr().err


def test_a_model_is_read_as_it_was_written(folder, fitted):
    blocks = torch.cat([sharp_features(path) for path in sorted(folder.rglob("*.png"))])
    model = read_pristine_model(fitted)
    torch.testing.assert_close(model.mean, blocks.mean(0))
    torch.testing.assert_close(model.covariance, torch.from_numpy(np.cov(blocks.numpy(), rowvar=False)))
    write_pristine_model(fitted.with_name("again.npz"), model)
    again = read_pristine_model(fitted.with_name("again.npz"))
    assert torch.equal(again.mean, model.mean)
    assert torch.equal(again.covariance, model.covariance)
    with np.load(fitted) as arrays:
        assert {key: arrays[key].shape for key in arrays} == {"mu_pris_param": (1, 36), "cov_pris_param": (36, 36)}
    assert {path.name for path in fitted.parent.iterdir()} == {"ours.npz", "again.npz"}


@pytest.mark.parametrize("part", ["mean", "covariance"])
def test_a_model_that_is_not_finite_is_refused(part, tmp_path):
    model = PristineModel(torch.zeros(36, dtype=torch.float64), torch.eye(36, dtype=torch.float64))
    getattr(model, part).view(-1)[7] = torch.nan
    write_pristine_model(tmp_path / "a.npz", model)
    with pytest.raises(ConfigError, match=r"a.npz' does not hold NIQE's pristine model.*not finite"):
        read_pristine_model(tmp_path / "a.npz")


def test_entries_that_are_not_defined_leave_the_others_to_the_mean():
    features = torch.randn(60, 36, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    features[0, 3] = torch.nan
    model = fit_pristine_model(features)
    torch.testing.assert_close(model.mean[0], features[:, 0].mean())
    torch.testing.assert_close(model.mean[3], features[1:, 3].mean())
    torch.testing.assert_close(model.covariance, features[1:].T.cov())


def test_too_few_blocks_and_equal_ones_are_refused():
    features = torch.randn(37, 36, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert fit_pristine_model(features).covariance.shape == (36, 36)
    with pytest.raises(DatasetError, match=r"36 sharp blocks of 96x96 pixels are too few for the covariance"):
        fit_pristine_model(features[:36])
    with pytest.raises(DatasetError, match=r"60 sharp blocks .* are too few that differ \(rank 19\) .*Add clean"):
        fit_pristine_model(features[:20].repeat(3, 1))


def test_the_tool_names_what_is_wrong(tmp_path):
    out = tmp_path / "out.npz"
    with pytest.raises(DatasetError, match=rf"no pictures in '{tmp_path}': name a folder of clean photographs"):
        fit_niqe.main([str(tmp_path), str(out)])
    shutil.copy(PHOTOS[0], tmp_path)
    with pytest.raises(DatasetError, match=r"sharp blocks of 96x96 pixels are too few"):
        fit_niqe.main([str(tmp_path), str(out)])
    write(tmp_path / "small.png", read_rgb(PHOTOS[0])[:95, :300])
    with pytest.raises(DatasetError, match=r"small.png' has 95x300 pixels, .* blocks of 96x96; take it out"):
        fit_niqe.main([str(tmp_path), str(out)])
    assert not out.exists()
    with pytest.raises(ConfigError, match=rf"OUT '{tmp_path}' is a folder; name a file in it"):
        fit_niqe.main([str(tmp_path), str(tmp_path)])
    with pytest.raises(ConfigError, match=r"OUT .*chelsea.png is a file; name a folder"):
        fit_niqe.main([str(tmp_path), str(tmp_path / "chelsea.png" / "out.npz")])
