"""Adjoint, pseudo-inverse and decomposition of every operator, and what it is meant to compute."""

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dtir import registry
from dtir.core.errors import ConfigError
from dtir.diffusion.operators import (
    AverageDownsampling,
    BicubicDownsampling,
    BoxInpainting,
    CircularBlur,
    CircularGaussianBlur,
    CircularMotionBlur,
    Colorization,
    FileInpainting,
    Inpainting,
    LinearOperator,
    RandomInpainting,
    SeparableOperator,
    WalshHadamard,
    gaussian_kernel,
    motion_kernel,
)
from dtir.testing import check_operator


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


OPERATORS = {
    "inpainting": Inpainting((random(16, 8, seed=3) > 0).double()),
    "colorization": Colorization(),
    "average": AverageDownsampling(4),
    "bicubic": BicubicDownsampling(2, 16, 8),
    "separable_tall": SeparableOperator(random(20, 16), random(5, 8)),
    "box": BoxInpainting(16, 8, 0.5),
    "random": RandomInpainting(16, 8, 0.7),
    "blur": CircularBlur(motion_kernel(3, 0, 7) + 0.1 * gaussian_kernel(1.5, 7)),
    "gaussian": CircularGaussianBlur(1.5, 7),
    "motion": CircularMotionBlur(5, 30, 7),
    "hadamard": WalshHadamard(16, 8, 0.3),
}
EVERY = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
X = random(2, 3, 16, 8)


def test_every_registered_linear_operator_is_tested_here():
    linear = {name for name, kind in registry.OPERATORS.module_dict.items() if issubclass(kind, LinearOperator)}
    # The one with a mask from a file is below.
    assert linear - {"FileInpainting"} == {type(operator).__name__ for operator in OPERATORS.values()}


@EVERY
def test_measurements_can_be_seen(operator):
    y = operator.A(X)
    seen = operator.y_as_picture(y)
    assert (seen.ndim, seen.shape[:2]) == (4, (2, 3))
    if not isinstance(operator, WalshHadamard):
        torch.testing.assert_close(operator.y_from_picture(seen), y)


def test_measurements_that_are_no_picture_are_refused():
    with pytest.raises(ConfigError, match="--simulate"):
        OPERATORS["hadamard"].y_from_picture(X)


def test_sizes_that_go_with_an_operator():
    assert AverageDownsampling.fitting_size(31, 17, factor=4) == (28, 16)
    assert BicubicDownsampling.picture_size(7, 5, factor=4, threshold=0.1) == (28, 20)
    assert WalshHadamard.fitting_size(300, 256, ratio=0.5) == (256, 256)
    assert Colorization.fitting_size(31, 17) == Colorization.picture_size(31, 17) == (31, 17)


def test_masks():
    box, pixels = BoxInpainting(16, 8, 0.5).mask, RandomInpainting(100, 100, 0.7).mask
    assert box.sum() == 16 * 8 * 0.75
    assert box[4:12, 2:6].sum() == 0
    assert pixels.mean().item() == pytest.approx(0.3, abs=0.02)
    assert not torch.equal(pixels, RandomInpainting(100, 100, 0.7, seed=1).mask)


def test_a_mask_from_a_file(tmp_path):
    pixels = np.full((10, 8, 3), 255, np.uint8)
    pixels[2:5, 3:] = 0
    assert cv2.imwrite(str(tmp_path / "mask.png"), pixels)
    mask = FileInpainting(tmp_path / "mask.png", height=10, width=7).mask
    assert torch.equal(mask, torch.from_numpy(pixels[:, :7, 0] > 0).float())
    with pytest.raises(ConfigError, match=r"mask.png' has 10 x 8 pixels, the pictures have 12 x 8"):
        FileInpainting(tmp_path / "mask.png", height=12, width=8)


@EVERY
def test_adjoint_pseudo_inverse_and_gradient(operator):
    check_operator(operator, (3, 16, 8))


@EVERY
def test_the_pseudo_inverse_gives_the_picture_of_least_norm(operator):
    least = operator.project(X)
    unseen = random(*X.shape, seed=2) - operator.project(random(*X.shape, seed=2))
    torch.testing.assert_close(operator.A(least + unseen), operator.A(X), rtol=0, atol=1e-9)
    assert least.norm() <= (least + unseen).norm()


@EVERY
def test_constants_follow_the_pictures_type_and_size(operator):
    """They are kept from call to call; what is kept of one picture must not be used for another."""
    operator.A_pinv(operator.A(X.float()))
    torch.testing.assert_close(operator.project(operator.project(X)), operator.project(X))
    with torch.inference_mode():
        operator.A(X.float())
    x = X.float().requires_grad_()
    operator.A(x).sum().backward()
    assert x.grad.isfinite().all()


def test_a_blur_takes_pictures_of_any_size():
    operator = CircularBlur(gaussian_kernel(1.0, 5))
    for x in (random(1, 1, 12, 9), random(1, 1, 7, 16), random(1, 1, 12, 9)):
        expected = CircularBlur(gaussian_kernel(1.0, 5)).A(x)
        torch.testing.assert_close(operator.A(x), expected)


@EVERY
def test_decomposition(operator):
    z = operator.to_spectrum(X)
    torch.testing.assert_close(operator.from_spectrum(z), X)
    assert z.square().sum().item() == pytest.approx(X.square().sum().item())
    s = operator.singular_values(X)
    assert (s >= 0).all()
    torch.testing.assert_close(operator.measured_spectrum(operator.A(X)), (s * z).expand_as(X))


@EVERY
def test_single_precision(operator):
    found = operator.A(X.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), operator.A(X), rtol=1e-4, atol=1e-4)


def test_they_compute_what_they_are_called():
    torch.testing.assert_close(OPERATORS["average"].A(X), F.avg_pool2d(X, 4))
    torch.testing.assert_close(OPERATORS["colorization"].A(X), X.mean(1, keepdim=True))
    torch.testing.assert_close(OPERATORS["inpainting"].A(X), X * OPERATORS["inpainting"].mask)
    kernel = gaussian_kernel(1.0, 5)
    expected = F.conv2d(F.pad(X, (2, 2, 2, 2), mode="circular"), kernel.flip(0, 1).expand(3, 1, 5, 5), groups=3)
    torch.testing.assert_close(CircularBlur(kernel, threshold=0).A(X), expected, rtol=1e-6, atol=1e-6)
    kernel = motion_kernel(3, 40, 5) + 0.01 * random(5, 5).abs()
    expected = F.conv2d(F.pad(X, (2, 2, 2, 2), mode="circular"), kernel.flip(0, 1).expand(3, 1, 5, 5), groups=3)
    torch.testing.assert_close(CircularBlur(kernel, threshold=0).A(X), expected, rtol=1e-6, atol=1e-6)


def test_hadamard_coefficients_are_those_of_the_matrix():
    operator = WalshHadamard(2, 4, 1.0)
    matrix = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(3):
        matrix = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64), matrix) / 2**0.5
    x = random(1, 1, 2, 4)
    shuffled = x.flatten(2)[..., operator.order]
    torch.testing.assert_close(operator.A(x), (shuffled @ matrix.t())[..., operator.kept])


@pytest.mark.parametrize("factor", [2, 4])
def test_bicubic_is_matlabs(factor, parity_dir):
    with np.load(parity_dir / "metrics.npz") as arrays:
        picture, expected = arrays["imresize_in"], arrays[f"imresize_{1 / factor:.4f}"]
    x = torch.from_numpy(picture).double().permute(2, 0, 1)[None]
    found = BicubicDownsampling(factor, *x.shape[2:], threshold=0).A(x)
    np.testing.assert_allclose(found[0].permute(1, 2, 0).numpy(), expected, atol=1e-5 * np.abs(expected).max())


def test_motion_kernel_is_a_line():
    kernel = motion_kernel(9, 0, 15)
    assert kernel.sum().item() == pytest.approx(1)
    assert (kernel.sum(1) > 0).nonzero().flatten().tolist() == [7]
    assert (kernel.sum(0) > 0).sum() == 9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AverageDownsampling(0), "factor=0"),
        (lambda: AverageDownsampling(3).A(X), "16 x 8"),
        (lambda: BicubicDownsampling(3, 16, 9), "16"),
        (lambda: CircularBlur(torch.ones(2, 3)), "odd sides"),
        (lambda: CircularMotionBlur(9, 0, side=7), "side=7"),
        (lambda: BoxInpainting(8, 8, 1.0), "share=1"),
        (lambda: RandomInpainting(8, 8, 0.0), "missing=0"),
        (lambda: WalshHadamard(6, 4, 0.5), "power of 2"),
    ],
)
def test_wrong_settings_are_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
