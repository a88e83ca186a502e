import pytest
import torch
from parity_case import ParityCase

from dtir.core.errors import ConfigError
from dtir.models.codecs.colour_fix import (
    adaptive_instance_normalization,
    check_colour_fix,
    colour_fix,
    wavelet_reconstruction,
)


@pytest.mark.parametrize(
    ("name", "fix"), [("adain", adaptive_instance_normalization), ("wavelet", wavelet_reconstruction)]
)
def test_equals_the_published_fix(name, fix, parity_dir):
    case = ParityCase(parity_dir, "stablesr_colorfix")
    found = fix(case.array("content"), case.array("style"))
    assert (found - case.array(name)).abs().max() <= 2e-6
    assert torch.equal(colour_fix(name, case.array("content"), case.array("style")), found)


def test_means_and_deviations_are_the_styles():
    torch.manual_seed(0)
    content, style = torch.rand(2, 3, 8, 8), 3 * torch.rand(2, 3, 4, 6) - 1
    found = adaptive_instance_normalization(content, style)
    torch.testing.assert_close(found.mean((2, 3)), style.mean((2, 3)))
    torch.testing.assert_close(found.std((2, 3)), style.std((2, 3)), rtol=1e-3, atol=1e-3)


def test_constant_shifts_go_and_detail_stays():
    torch.manual_seed(0)
    picture = torch.rand(1, 3, 40, 40)
    torch.testing.assert_close(wavelet_reconstruction(picture + 0.3, picture), picture)
    assert colour_fix(None, picture, 0 * picture) is picture


def test_unknown_fix_is_named():
    check_colour_fix(None)
    with pytest.raises(ConfigError, match=r"colour_fix='hue'; expected one of adain, wavelet"):
        check_colour_fix("hue")
