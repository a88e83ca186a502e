"""JPEG, HDR and the blur of light: what they compute, their gradients, and DPS with them."""

import cv2
import numpy as np
import pytest
import torch
from test_guidance import sample, scheduler, truth

from dtir.core.errors import ConfigError
from dtir.datasets import resolve_root
from dtir.diffusion.domain import to_centred, to_image
from dtir.diffusion.guidance import DDNM, DDRM, DPS, ILVR, MCG, PiGDM, RePaint
from dtir.diffusion.operators import HDR, JPEG, GammaBlur, gaussian_kernel
from dtir.diffusion.operators.jpeg import CHROMINANCE, LUMINANCE, quantisation_table
from dtir.diffusion.operators.nonlinear import fast_length
from dtir.diffusion.schedulers import DDPMScheduler
from dtir.imaging.files import read_rgb
from dtir.registry import OPERATORS
from dtir.testing.stationary_prior import StationaryPrior

SAMPLING = {"4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444}


def photo(side: int = 256) -> np.ndarray:
    return read_rgb(resolve_root("asset://photos") / "astronaut.png")[:side, :side]


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return to_centred(torch.from_numpy(pixels).double().permute(2, 0, 1)[None] / 255)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return 2 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1


def opencv_jpeg(pixels: np.ndarray, quality: int, subsampling: str) -> np.ndarray:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLING[subsampling]]
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(pixels[..., ::-1]), options)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


@pytest.mark.parametrize(
    ("quality", "subsampling", "bound"),
    [(10, "4:4:4", 1.3), (75, "4:4:4", 1.0), (95, "4:4:4", 0.9), (10, "4:2:0", 2.5), (75, "4:2:0", 1.7)],
)
def test_jpeg_is_close_to_a_codecs(quality, subsampling, bound):
    """Root mean square of the difference, in levels of 255; what is left is named in the docstring."""
    pixels = photo()
    found = to_image(JPEG(quality, subsampling).A(tensor(pixels))).clamp(0, 1)[0].permute(1, 2, 0).numpy() * 255
    expected = opencv_jpeg(pixels, quality, subsampling).astype(float)
    difference = np.sqrt(np.square(found.round() - expected).mean())
    assert difference < bound
    # Far nearer to the codec's picture than that is to the original.
    assert difference < 0.4 * np.sqrt(np.square(pixels - expected).mean())


def test_jpeg_tables_are_scaled_as_libjpeg_scales_them():
    assert torch.equal(quantisation_table(LUMINANCE, 50), torch.tensor(LUMINANCE).double())
    assert (quantisation_table(CHROMINANCE, 100) == 1).all()
    assert quantisation_table(LUMINANCE, 25)[0, :3].tolist() == [32, 22, 20]
    assert quantisation_table(LUMINANCE, 90)[0, :3].tolist() == [3, 2, 2]
    assert quantisation_table(LUMINANCE, 1).max() == 255


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
@pytest.mark.parametrize("quality", [5, 50, 75])
def test_jpeg_of_a_jpeg_is_that_jpeg(quality, subsampling):
    operator, x = JPEG(quality, subsampling), tensor(photo(64))
    once = operator.A(x)
    assert (once - x).abs().max() > 0.02
    torch.testing.assert_close(operator.A(once), once, rtol=0, atol=1e-9)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_jpegs_gradient_is_the_slope_over_steps_much_longer_than_the_quantisation(subsampling):
    operator, x, direction, length = JPEG(20, subsampling), random(1, 3, 32, 32), random(1, 3, 32, 32, seed=1), 1e5
    _, slope = torch.autograd.functional.jvp(operator.A, x, direction)
    torch.testing.assert_close(slope, (operator.A(x + length * direction) - operator.A(x)) / length, rtol=0, atol=1e-4)
    # Without subsampling nothing but the rounding is lost.
    assert torch.allclose(slope, direction) == (subsampling == "4:4:4")


def test_hdr_clips_and_passes_the_gradient_through():
    operator, x = HDR(2.0), torch.tensor([-0.9, -0.3, 0.2, 0.7], dtype=torch.float64).view(1, 1, 2, 2).requires_grad_()
    y = operator.A(x)
    torch.testing.assert_close(y.flatten(), torch.tensor([-1, -0.6, 0.4, 1], dtype=torch.float64))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.flatten().tolist() == [2, 2, 2, 2]
    assert torch.autograd.gradcheck(operator.A, (0.4 * random(1, 1, 2, 2)).requires_grad_())
    assert operator.A(torch.tensor(0.1 + 1e7)).item() == 1


def test_the_blur_of_light_has_the_gradient_of_its_differences():
    x = 0.8 * random(1, 2, 6, 5)
    assert torch.autograd.gradcheck(GammaBlur(1.0, 5).A, x.requires_grad_())


def test_the_blur_of_light_leads_saturated_and_too_dark_estimates_back():
    operator = GammaBlur(1.0, 3, exposure=1.0)
    for value, sign in ((1.5, 1), (-1.5, 1)):
        x = torch.full((1, 1, 4, 4), value, dtype=torch.float64, requires_grad=True)
        y = operator.A(x)
        assert torch.equal(y, torch.full_like(y, 1.0 if value > 0 else y[0, 0, 0, 0].item()))
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert (sign * gradient > 0).all()


@pytest.mark.parametrize("clip", [None, (-1.0, 1.0)])
def test_dps_corrects_wrongly_saturated_estimates(clip):
    """With the exact denoiser: the loss of the gradient where it clips cost 3 dB."""
    prior, process = StationaryPrior(32, 32), DDPMScheduler(50).double()
    x = prior.draw(2).clamp(-1, 1)
    y = HDR(2.0).A(x)

    def quality(forward) -> float:
        generator = torch.Generator().manual_seed(0)
        start = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        guided = DPS(forward, y, scale=25.0, clip=clip)
        found = guided.sample(prior.denoiser(process), process, start, generator=generator).sample
        return (-10 * ((found.clamp(-1, 1) - x) / 2).square().mean().log10()).item()

    assert quality(HDR(2.0)) > quality(lambda x: (2 * x).clamp(-1, 1)) + 2
    assert quality(HDR(2.0)) > 23


def test_fast_lengths():
    assert [fast_length(n) for n in (1, 7, 31, 268, 1025)] == [1, 8, 32, 270, 1080]


def test_the_blur_of_light_in_closed_form():
    flat = torch.full((1, 3, 8, 8), to_centred(torch.tensor(0.5)).item(), dtype=torch.float64)
    seen = to_image(GammaBlur(gamma=2.0, exposure=1.5).A(flat))
    torch.testing.assert_close(seen, torch.full_like(seen, 0.5 * 1.5**0.5))
    assert (GammaBlur(exposure=5.0).A(flat) == 1).all()
    # A bright point is spread over more of the picture by blur of light than of pixels, and darkness has a gradient.
    x = -torch.ones(1, 1, 15, 15, dtype=torch.float64)
    x[..., 7, 7] = 1
    y = GammaBlur(1.0, 7, exposure=1.0).A(x.requires_grad_())
    assert to_image(y)[..., 7, 7] > gaussian_kernel(1.0, 7).max()
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("operator", [HDR(2.0), GammaBlur(1.0, 3)])
def test_dps_moves_to_what_was_measured(operator):
    x = truth(8)
    y = operator.A(x)
    free, led = (sample(DPS(operator, y, scale=32 * scale), scheduler(200), 8) for scale in (0.0, 0.5))
    misfit = [(y - operator.A(found)).square().mean().item() for found in (free, led)]
    assert misfit[1] < 0.1 * misfit[0]


def test_dps_brings_a_jpeg_nearer_to_the_file():
    operator, x = JPEG(30, "4:4:4"), truth(4)
    y = operator.A(x)
    free, led = (sample(DPS(operator, y, scale=32 * scale), scheduler(200), 4) for scale in (0.0, 0.5))
    misfit = [(y - operator.A(found)).square().mean().item() for found in (free, led)]
    assert misfit[1] < 0.25 * misfit[0]


@pytest.mark.parametrize("kind", [ILVR, RePaint, DDNM, DDRM, MCG, PiGDM])
def test_other_guidance_refuses_them(kind):
    with pytest.raises(ConfigError, match=rf"{kind.__name__} needs .*, not HDR. DPS takes any"):
        kind(HDR(), torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: JPEG(0), "quality=0"),
        (lambda: JPEG(50, "4:2:2"), "4:2:0, |4:4:4, 4:2:0"),
        (lambda: JPEG(50).A(random(1, 3, 24, 32)), "24 x 32"),
        (lambda: HDR(0), "scale=0"),
        (lambda: GammaBlur(side=4), "side odd"),
    ],
)
def test_wrong_settings_are_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_they_are_registered():
    assert {"JPEG", "HDR", "GammaBlur"} <= set(OPERATORS.module_dict)
