import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from dtir.core.assets import ASSETS
from dtir.core.errors import ConfigError, DatasetError
from dtir.diffusion.operators.resampling import bicubic_matrix
from dtir.evaluation import NIQE, get_protocol
from dtir.evaluation.metrics.niqe import (
    PARAMETERS_FILE,
    PristineModel,
    find_parameters,
    fit_asymmetric_gaussian,
    niqe,
    niqe_features,
    read_pristine_model,
)
from dtir.imaging.files import read_rgb

PHOTOS = ASSETS / "photos"


def luma_of(rgb: np.ndarray) -> torch.Tensor:
    return get_protocol("y_8bit").prepare(torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None] / 255)


def model_of(features: torch.Tensor) -> PristineModel:
    return PristineModel(features.mean(0), features.T.cov())


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    return [read_rgb(PHOTOS / name)[:288, :384] for name in ("chelsea.png", "coffee.png", "rocket.jpg")]


def slow_fit(values: np.ndarray) -> tuple[float, float, float]:
    shapes = 0.2 + 0.001 * np.arange(9801)
    table = [math.gamma(2 / s) ** 2 / (math.gamma(1 / s) * math.gamma(3 / s)) for s in shapes]
    left, right = (np.sqrt(np.mean(part**2)) for part in (values[values < 0], values[values > 0]))
    ratio = left / right
    moment = np.mean(np.abs(values)) ** 2 / np.mean(values**2)
    wanted = moment * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shape = shapes[np.argmin(np.abs(np.array(table) - wanted))]
    scale = math.sqrt(math.gamma(1 / shape) / math.gamma(3 / shape))
    return shape, left * scale, right * scale


def slow_features(block: np.ndarray) -> list[float]:
    shape, left, right = slow_fit(block.ravel())
    features = [shape, (left + right) / 2]
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        neighbour = np.roll(np.roll(block, down, 0), across, 1)
        shape, left, right = slow_fit((block * neighbour).ravel())
        features += [shape, (right - left) * math.gamma(2 / shape) / math.gamma(1 / shape), left, right]
    return features


def slow_normalised(picture: np.ndarray) -> np.ndarray:
    x = np.arange(7) - 3
    window = np.exp(-(x[:, None] ** 2 + x[None] ** 2) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    height, width = picture.shape
    padded = np.pad(picture, 3, mode="edge")
    parts = [(window[i, j], padded[i : i + height, j : j + width]) for i, j in np.ndindex(7, 7)]
    mean = sum(w * part for w, part in parts)
    variance = sum(w * part**2 for w, part in parts) - mean**2
    return (picture - mean) / (np.sqrt(np.abs(variance)) + 1)


def test_features_equal_a_loop_over_blocks(photos):
    luma = luma_of(photos[0][:110, :200])
    picture = luma[0, 0].numpy()[:96, :192] * 255
    small = bicubic_matrix(96, 2).numpy() @ picture @ bicubic_matrix(192, 2).numpy().T
    large, halved = slow_normalised(picture), slow_normalised(small)
    expected = [
        slow_features(large[:, 96 * k : 96 * k + 96]) + slow_features(halved[:, 48 * k : 48 * k + 48]) for k in range(2)
    ]
    np.testing.assert_allclose(niqe_features(luma[0]).numpy(), expected, rtol=0, atol=1e-9)


def test_distance_is_mahalanobis_of_the_two_means(photos):
    luma = luma_of(photos[0])
    features = niqe_features(luma[0])
    assert features.shape == (12, 36)
    own = model_of(features)
    assert niqe(luma, own).item() == pytest.approx(0, abs=1e-6)
    shift = torch.linspace(-1, 1, 36, dtype=torch.float64)
    covariance = torch.diag(torch.arange(1, 37, dtype=torch.float64)) - own.covariance
    moved = niqe(luma, PristineModel(own.mean + shift, covariance)).item()
    assert moved == pytest.approx((2 * shift.square() / torch.arange(1, 37)).sum().sqrt().item(), rel=1e-6)


@pytest.mark.parametrize(("shape", "left", "right"), [(2.0, 1.0, 1.0), (1.0, 0.5, 0.5), (1.4, 0.7, 1.5)])
def test_fit_finds_the_distribution_that_values_come_from(shape, left, right):
    rng = np.random.default_rng(0)
    count = 400_000
    # |x| ** shape of a generalised Gaussian is Gamma-distributed; a side's weight is proportional to its scale.
    size = rng.gamma(1 / shape, 1, count) ** (1 / shape)
    values = np.where(rng.random(count) < left / (left + right), -left * size, right * size)
    fitted = [x.item() for x in fit_asymmetric_gaussian(torch.from_numpy(values)[None])]
    assert fitted == pytest.approx([shape, left, right], rel=0.02)


def test_damage_raises_the_value(photos):
    model = model_of(torch.cat([niqe_features(luma_of(photo)[0]) for photo in photos]))
    rng = np.random.default_rng(0)
    for photo in photos:
        noisy = np.clip(photo + rng.normal(0, 25, photo.shape), 0, 255).astype(np.uint8)
        assert niqe(luma_of(noisy), model) > 1.5 * niqe(luma_of(photo), model)


def test_batches_and_crops(photos):
    model = model_of(niqe_features(luma_of(photos[1])[0]))
    both = torch.cat([luma_of(photo) for photo in photos[:2]])
    singles = torch.cat([niqe(picture[None], model) for picture in both])
    torch.testing.assert_close(niqe(both, model), singles, rtol=0, atol=1e-9)
    cropped = get_protocol("y_8bit_crop4").prepare(torch.from_numpy(photos[0]).permute(2, 0, 1)[None] / 255)
    torch.testing.assert_close(cropped, luma_of(photos[0][4:-4, 4:-4]))


def write_parameters(path: Path, model: PristineModel) -> Path:
    np.savez(path, mu_pris_param=model.mean[None].numpy(), cov_pris_param=model.covariance.numpy())
    return path


def test_metric_measures_predictions_alone(tmp_path, photos):
    model = model_of(niqe_features(luma_of(photos[1])[0]))
    metric = NIQE(parameters=str(write_parameters(tmp_path / "p.npz", model)))
    photo = torch.from_numpy(photos[0]).permute(2, 0, 1)
    sample = {"pred": photo / 255, "gt": photo * 0, "lq": photo * 0, "task_name": "noisy", "name": "a"}
    metric.process({}, [sample])
    assert metric.evaluate(1)["noisy/NIQE"] == pytest.approx(niqe(luma_of(photos[0]), model).item(), abs=1e-9)
    assert metric.describe().startswith(f"pristine model p.npz ({model.digest()}), protocol 'y_8bit' (")
    again = NIQE(parameters=str(write_parameters(tmp_path / "again.npz", model)))
    other = NIQE(parameters=str(write_parameters(tmp_path / "other.npz", PristineModel(model.mean, model.mean.diag()))))
    assert again.model.digest() == model.digest() != other.model.digest()
    small = {**sample, "pred": sample["pred"][:, :191, :100], "name": "b"}
    with pytest.raises(DatasetError, match=r"NIQE .*of picture 'b' .*two blocks of 96x96 .*got 191x100"):
        metric.process({}, [small])
    flat = {**sample, "pred": torch.full_like(sample["pred"], 0.5)}
    with pytest.raises(DatasetError, match="two blocks of 96x96 pixels that are not flat, got 0"):
        metric.process({}, [flat])


def test_nothing_is_measured_without_the_pristine_model(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"there is no file '.*niqe_pris_params.npz'. Put BasicSR's"):
        NIQE()
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"PK not a zip")
    with pytest.raises(ConfigError, match=r"broken.npz' does not hold NIQE's pristine model: expected an .npz"):
        NIQE(parameters=str(broken))
    np.savez(tmp_path / "other.npz", mu_pris_param=np.zeros(35), cov_pris_param=np.eye(36))
    with pytest.raises(ConfigError, match="does not hold NIQE's pristine model"):
        NIQE(parameters=str(tmp_path / "other.npz"))
    np.savez(tmp_path / "keys.npz", mean=np.zeros(36))
    with pytest.raises(ConfigError, match="does not hold NIQE's pristine model"):
        NIQE(parameters=str(tmp_path / "keys.npz"))
    with pytest.raises(ConfigError, match=r"use protocol 'y_8bit' or 'y_8bit_crop4', not 'rgb'"):
        NIQE(protocol="rgb")


@pytest.mark.parametrize("crop", [0, 4])
def test_published_values(parity_dir, crop):
    try:
        found = find_parameters(parity_dir / PARAMETERS_FILE if (parity_dir / PARAMETERS_FILE).is_file() else None)
    except ConfigError as error:
        pytest.skip(str(error))
    arrays = np.load(parity_dir / "metrics.npz")
    picture = torch.from_numpy(arrays["niqe_img"][..., ::-1].copy()).permute(2, 0, 1)[None] / 255
    luma = get_protocol("y_8bit_crop4" if crop else "y_8bit").prepare(picture)
    value = json.loads(str(arrays["meta"]))["values"][f"basicsr_niqe_crop{crop}_y"]
    # The published code works in float32, where a shape can fall on the neighbouring entry of its table.
    assert niqe(luma, read_pristine_model(found)).item() == pytest.approx(value, rel=1e-3)
