"""Losses between features of a network that was trained to recognise objects."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from dtir.core.checkpoint import load_checkpoint
from dtir.core.errors import CheckpointError, ConfigError
from dtir.models.precision import without_autocast
from dtir.registry import LOSSES

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Of VGG19: the last convolution before each pooling, without its ReLU, as ESRGAN takes them.
_LAYERS = {"conv1_2": 2, "conv2_2": 7, "conv3_4": 16, "conv4_4": 25, "conv5_4": 34}


@LOSSES.register_module()
class PerceptualLoss(nn.Module):
    """Mean absolute difference of VGG19's features (Johnson et al., ECCV 2016; Wang et al., ECCVW 2018).

    Args:
        weights: File of torchvision's VGG19 weights; nothing is downloaded.
        layers: Weight of each layer, by its name: conv1_2, conv2_2, conv3_4, conv4_4, conv5_4.

    Raises:
        ConfigError: A layer is unknown, or the file is not there or of another network.
    """

    def __init__(self, weights: str, layers: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.layers = {"conv5_4": 1.0} if layers is None else dict(layers)
        unknown = [name for name in self.layers if name not in _LAYERS]
        if unknown or not self.layers:
            raise ConfigError(f"PerceptualLoss: layers {unknown or '{}'}; name some of {', '.join(_LAYERS)}.")
        # In a tuple, so that it is no part of the model: neither trained, averaged, nor written into checkpoints.
        self.features = (_features(weights, max(_LAYERS[name] for name in self.layers)),)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "PerceptualLoss":
        # `to` moves the features all the same.
        self.features[0]._apply(fn)
        return super()._apply(fn, recurse)

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Loss (B,) of each sample of (B, 3, H, W) in [0, 1], in float32 under autocast too."""
        with without_autocast(pred.device):
            x, y = ((one.float() - self.mean) / self.std for one in (pred, target))
            total = pred.new_zeros(len(pred), dtype=torch.float32)
            wanted = {_LAYERS[name]: weight for name, weight in self.layers.items()}
            for index, layer in enumerate(self.features[0]):
                # Not in place: the features before a ReLU are compared, and kept for the gradient.
                x, y = (torch.relu(x), torch.relu(y)) if isinstance(layer, nn.ReLU) else (layer(x), layer(y))
                if index in wanted:
                    total = total + wanted[index] * (x - y.detach()).abs().flatten(1).mean(1)
        return total


def _features(weights: str, last: int) -> nn.Sequential:
    """VGG19's layers up to the one of an index, with the weights of a file."""
    import torchvision

    with torch.device("meta"):
        features = torchvision.models.vgg19(weights=None).features[: last + 1]
    state = _feature_state(weights)
    try:
        features.load_state_dict({key: state[key] for key in features.state_dict() if key in state}, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"PerceptualLoss: '{weights}' does not hold torchvision's VGG19 weights: {reason}") from error
    return features.eval().requires_grad_(False)


def _feature_state(weights: str) -> dict[str, Tensor]:
    try:
        state = load_checkpoint(weights)
    except CheckpointError as error:
        raise ConfigError(f"PerceptualLoss needs torchvision's VGG19 weights: {error}") from error
    return {key.removeprefix("features."): value for key, value in state.items() if key.startswith("features.")}
