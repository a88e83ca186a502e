"""The model of the package on a GPU beside the CPU."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dtir.apis import RestorationInferencer
from dtir.imaging.files import read_rgb

REPO = Path(__file__).parents[3]
DAMAGED = REPO / "dtir" / "assets" / "damaged"

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

# Half precisions are off by at most this much of [0, 1] on average, and by 50 times as much in the worst pixel.
MEAN_ERROR = {"bf16": 4e-3, "fp16": 1e-3}


@pytest.fixture(scope="module", name="picture")
def picture_fixture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (150, 131, 3), dtype=np.uint8)


@pytest.fixture(scope="module", name="on_cpu")
def on_cpu_fixture(picture: np.ndarray) -> np.ndarray:
    return RestorationInferencer(device="cpu").restore_array(picture, task="noisy")


@pytest.fixture(name="exact")
def exact_fixture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def test_the_gpu_is_taken_by_itself():
    assert RestorationInferencer().device.type == "cuda"


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("options", [dict(tile=None), dict(self_ensemble=True)])
def test_float32_is_that_of_the_cpu(picture, options):
    expected = RestorationInferencer(device="cpu", **options).restore_array(picture, task="noisy")
    np.testing.assert_allclose(
        RestorationInferencer(**options).restore_array(picture, task="noisy"), expected, rtol=0, atol=2e-4
    )


@pytest.mark.usefixtures("exact")
def test_tiles_in_batches_are_those_of_the_cpu(picture):
    options = dict(tile=64, overlap=32)
    expected = RestorationInferencer(device="cpu", **options).restore_array(picture, task="noisy")
    for batch_size in (1, 4, "auto"):
        got = RestorationInferencer(**options, batch_size=batch_size).restore_array(picture, task="noisy")
        np.testing.assert_allclose(got, expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("precision", MEAN_ERROR)
def test_half_precisions_are_near(picture, on_cpu, precision):
    error = np.abs(RestorationInferencer(precision=precision).restore_array(picture, task="noisy") - on_cpu)
    assert 0 < error.mean() < MEAN_ERROR[precision]
    assert error.max() < 50 * MEAN_ERROR[precision]


def test_compiled_is_near(picture, on_cpu):
    got = RestorationInferencer(compiled=True).restore_array(picture, task="noisy")
    np.testing.assert_allclose(got, on_cpu, rtol=0, atol=5e-3)


@pytest.mark.usefixtures("exact")
def test_what_is_found_is_what_the_cpu_finds():
    on_cpu, on_gpu = (RestorationInferencer(device=device).judge for device in ("cpu", "cuda"))
    for path in sorted(DAMAGED.glob("*.jpg")):
        image = torch.from_numpy(read_rgb(path)[:256, :256]).permute(2, 0, 1)[None] / 255
        expected, got = on_cpu.estimate(image), on_gpu.estimate(image)
        assert got.task == expected.task
        assert got.confidence == pytest.approx(expected.confidence, abs=1e-3)
