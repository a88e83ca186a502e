"""LPIPS (Zhang et al., CVPR 2018) through the lpips package, from weights on disk."""

import contextlib
import io
from pathlib import Path

import torch
from torch import Tensor, nn
from typing_extensions import override

from dtir.core.checkpoint import load_checkpoint
from dtir.core.errors import CheckpointError, ConfigError
from dtir.registry import METRICS

from .base import PictureMetric

# torchvision's ImageNet weights of the networks that LPIPS looks through.
TRUNKS = {"alex": ("alexnet", "alexnet-owt-7be5be79.pth"), "vgg": ("vgg16", "vgg16-397923af.pth")}

# The paper's table says LPIPS for AlexNet; the other has a name of its own, so that both can stand in one table.
NAMES = {"alex": "LPIPS", "vgg": "LPIPS_VGG"}

# Pictures with a shorter side leave nothing after the networks' strides.
MIN_SIDE = {"alex": 31, "vgg": 16}


@METRICS.register_module()
class LPIPS(PictureMetric):
    """Learned perceptual distance; smaller is better.

    The package brings the linear layers; the network below them is torchvision's, whose weights are read from a file
    and never downloaded.

    Args:
        net: "alex" (the paper's; its value is named LPIPS) or "vgg" (named LPIPS_VGG).
        weights: File with torchvision's weights of the network; None looks in torch's hub cache.
        protocol: Name of the protocol; RGB ones only.
        **kwargs: Of mmengine's `BaseMetric`.

    Raises:
        ConfigError: The weights are not there, of another network, or the protocol is not RGB.
    """

    name = "LPIPS"
    higher_is_better = False

    def __init__(self, net: str = "alex", weights: str | None = None, protocol: str = "rgb", **kwargs) -> None:
        super().__init__(protocol, **kwargs)
        if net not in TRUNKS:
            raise ConfigError(f"LPIPS net must be one of {', '.join(TRUNKS)}, got '{net}'.")
        if self.protocol.luma:
            raise ConfigError(f"LPIPS compares RGB; protocol '{protocol}' is luma.")
        self.net = net
        self.name = NAMES[net]
        self.model = build_lpips(net, find_weights(net, weights))

    @override
    def describe(self) -> str:
        """With the network."""
        return f"{TRUNKS[self.net][0]}, {super().describe()}"

    @torch.no_grad()
    def measure(self, picture: Tensor, gt: Tensor) -> Tensor:
        """LPIPS by the protocol.

        Raises:
            ValueError: The shapes differ, or the pictures are too small for the network.
        """
        height, width = picture.shape[-2:]
        if picture.shape != gt.shape:
            raise ValueError(f"expected two pictures of one shape, got {tuple(picture.shape)}, {tuple(gt.shape)}.")
        if min(height, width) - 2 * self.protocol.crop < MIN_SIDE[self.net]:
            raise ValueError(
                f"LPIPS with '{self.net}' needs pictures of at least {MIN_SIDE[self.net]}x{MIN_SIDE[self.net]} pixels "
                f"after the border is cropped, got {height}x{width} before it."
            )
        self.model.to(picture.device)
        prepared = [self.protocol.prepare(x).float() * 2 - 1 for x in (picture, gt)]
        return self.model(*prepared).flatten()


def find_weights(net: str, weights: str | None) -> Path:
    """The file of a network's ImageNet weights.

    Raises:
        ConfigError: It is not there.
    """
    arch, filename = TRUNKS[net]
    path = Path(weights) if weights else Path(torch.hub.get_dir()) / "checkpoints" / filename
    if not path.is_file():
        raise ConfigError(
            f"LPIPS needs torchvision's {arch} weights, and there is no file '{path}'. Put {filename} there, name "
            "another file with weights=..., or leave LPIPS out: `dtir eval` without it in --metrics, `dtir test ... "
            "--without LPIPS`, or a val_evaluator and test_evaluator without it in the config."
        )
    return path


def build_lpips(net: str, path: Path) -> nn.Module:
    """The lpips package's network with the weights of `path`, in eval mode and frozen.

    Raises:
        ConfigError: The file is of another network.
    """
    import lpips
    import torchvision

    arch = TRUNKS[net][0]
    trunk = getattr(torchvision.models, arch)(weights=None)
    try:
        trunk.load_state_dict(load_checkpoint(path))
    except (RuntimeError, CheckpointError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"'{path}' does not hold torchvision's {arch} weights: {reason}") from error
    with contextlib.redirect_stdout(io.StringIO()):
        model = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    model.net.load_state_dict(_sliced(model.net, trunk.features))
    return model.eval().requires_grad_(False)


def _sliced(slices: nn.Module, features: nn.Sequential) -> dict[str, Tensor]:
    # The package cuts torchvision's feature layers into slices ("slice2.3.weight") that keep the layers' numbers.
    # A key that does not fit is an error, so that no layer can keep its random start.
    own = features.state_dict()
    return {key: own[key.partition(".")[2]] for key in slices.state_dict()}
