"""Channel attention, as MPRNet and MIRNet have it."""

from torch import Tensor, nn


class CALayer(nn.Module):
    """Channel attention.

    Args:
        channel: Channels.
        reduction: Channels over those of the bottleneck.
        bias: Whether the convolutions have one.
    """

    def __init__(self, channel: int, reduction: int, bias: bool) -> None:
        super().__init__()
        self.conv_du = nn.Sequential(
            nn.Conv2d(channel, channel // reduction, 1, bias=bias),
            nn.ReLU(),
            nn.Conv2d(channel // reduction, channel, 1, bias=bias),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return x * self.weights(x)

    def weights(self, x: Tensor) -> Tensor:
        """The weights (B, C, 1, 1) of the channels of (B, C, H, W)."""
        return self.conv_du(x.mean((2, 3), keepdim=True))
