"""Losses of edges and of features."""

import pytest
import torch
import torchvision
from torch import nn

from dtir.core.errors import ConfigError
from dtir.models.losses import EdgeLoss, PerceptualLoss

PRED, TARGET = torch.rand(2, 2, 3, 32, 40, generator=torch.Generator().manual_seed(0))


def test_a_constant_has_no_edges():
    loss = EdgeLoss()
    inside = loss.laplacian(torch.full((1, 3, 20, 24), 0.25))[..., 4:-4, 4:-4]
    torch.testing.assert_close(inside, torch.zeros_like(inside), rtol=0, atol=1e-6)
    torch.testing.assert_close(loss(PRED, PRED), torch.full((2,), 1e-3))
    assert (loss(PRED, TARGET) > 0.1).all()


def test_the_laplacian_of_a_point():
    x = torch.zeros(1, 1, 17, 17)
    x[..., 8, 8] = 1
    edges = EdgeLoss().laplacian(x)
    taps = torch.tensor([0.05, 0.25, 0.4, 0.25, 0.05])
    # Blurred, every second pixel kept (8 is one), times 4, blurred again: along a line through the point.
    kept = {-2: 0.05, 0: 0.4, 2: 0.05}
    line = [sum(v * 2 * taps[2 + d - k] for k, v in kept.items() if abs(d - k) <= 2) for d in range(-4, 5)]
    smooth = torch.outer(torch.tensor(line), torch.tensor(line))
    torch.testing.assert_close(edges[0, 0, 4:13, 4:13], x[0, 0, 4:13, 4:13] - smooth)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    with torch.device("meta"):
        shapes = torchvision.models.vgg19(weights=None).features[:8].state_dict()
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save({f"features.{key}": 0.1 * torch.randn(value.shape) for key, value in shapes.items()}, path)
    return path


def test_features_are_those_of_the_file(weights):
    loss = PerceptualLoss(str(weights), {"conv1_2": 2.0, "conv2_2": 1.0})
    state = torch.load(weights, weights_only=True)
    with torch.device("meta"):
        features = torchvision.models.vgg19(weights=None).features[:8]
    features.load_state_dict({key.removeprefix("features."): value for key, value in state.items()}, assign=True)
    for layer in features:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        expected = torch.zeros(2)
        x, y = (PRED - mean) / std, (TARGET - mean) / std
        for index, layer in enumerate(features):
            x, y = layer(x), layer(y)
            if index in (2, 7):
                expected += {2: 2.0, 7: 1.0}[index] * (x - y).abs().flatten(1).mean(1)
    torch.testing.assert_close(loss(PRED, TARGET), expected)


def test_the_features_are_no_part_of_the_model(weights):
    loss = PerceptualLoss(str(weights), {"conv1_2": 1.0})
    assert list(loss.parameters()) == []
    assert loss.state_dict() == {}
    assert next(loss.double().features[0].parameters()).dtype == torch.float64
    pred = PRED.clone().requires_grad_()
    loss.float()(pred, TARGET).sum().backward()
    assert pred.grad.abs().sum() > 0


def test_what_is_wrong_is_named(weights, tmp_path):
    with pytest.raises(ConfigError, match=r"conv9_9.*name some of conv1_2"):
        PerceptualLoss(str(weights), {"conv9_9": 1.0})
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match="does not hold torchvision's VGG19 weights"):
        PerceptualLoss(str(tmp_path / "other.pth"))
    with pytest.raises(ConfigError, match="no checkpoint at"):
        PerceptualLoss(str(tmp_path / "none.pth"))
