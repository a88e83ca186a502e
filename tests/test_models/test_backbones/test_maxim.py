import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dtir.apis import load_backbone
from dtir.core.errors import CheckpointError, ConfigError
from dtir.models.backbones import MAXIM
from dtir.models.backbones.image.maxim_flax import from_flax
from dtir.models.backbones.parts.maxim_layers import BlockMix, GridMix

SMALL = {"features": 8, "depth": 2, "block_size_hr": [4, 4], "block_size_lr": [4, 4], "grid_size_hr": [2, 2]}


@pytest.mark.parametrize(
    ("features", "num_stages", "millions"),
    [
        (32, 1, 6.108515),
        (32, 2, 13.35383),
        (32, 3, 20.599145),
        (64, 1, 19.361219),
        (64, 2, 40.83911),
        (64, 3, 62.317001),
    ],
)
def test_published_sizes(features, num_stages, millions):
    with torch.device("meta"):
        model = MAXIM(features=features, num_stages=num_stages, num_groups=2, num_bottleneck_blocks=2)
    assert sum(p.numel() for p in model.parameters()) == round(millions * 1e6)


def test_grid_mixes_equal_places_of_cells_and_block_mixes_a_block():
    torch.manual_seed(0)
    x = torch.randn(1, 2, 4, 6, requires_grad=True)

    def seen_from(layer: nn.Module, row: int, column: int) -> set[tuple[int, int]]:
        (gradient,) = torch.autograd.grad(layer(x)[0, :, row, column].sum(), x)
        return {tuple(place) for place in gradient[0].sum(0).nonzero().tolist()}

    # Two rows and three columns of cells of 2 x 2 pixels.
    assert seen_from(GridMix((2, 3), True), 1, 4) == {(r, c) for r in (1, 3) for c in (0, 2, 4)}
    assert seen_from(BlockMix((2, 3), True), 1, 4) == {(r, c) for r in (0, 1) for c in (3, 4, 5)}


def test_grid_mix_is_a_linear_layer_over_the_cells():
    torch.manual_seed(0)
    mix, x = GridMix((2, 2), True), torch.randn(1, 1, 2, 2)
    torch.testing.assert_close(mix(x).flatten(), F.linear(x.flatten(), mix.weight, mix.bias))


@torch.no_grad()
def test_outputs_of_all_stages_and_scales():
    model = MAXIM(**SMALL, num_stages=3, num_supervision_scales=2).eval()
    sizes = [tuple(out.shape) for out in model(torch.rand(2, 3, 9, 5))]
    assert sizes == [(2, 3, 9, 5), (2, 3, 5, 3)] * 3


def test_first_output_is_that_of_the_last_stage():
    model = MAXIM(**SMALL, num_stages=2)
    first, second = model(torch.rand(1, 3, 8, 8))
    first.sum().backward(retain_graph=True)
    assert model.stage_1_output_conv_0.weight.grad is not None
    model.zero_grad()
    second.sum().backward()
    assert model.stage_1_output_conv_0.weight.grad is None


def test_every_parameter_takes_part():
    torch.manual_seed(0)
    model = MAXIM(**SMALL, num_stages=2, num_supervision_scales=2)
    sum(out.square().sum() for out in model(torch.rand(2, 3, 16, 16))).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def to_flax(model: MAXIM) -> dict:
    """The arrays of a published checkpoint with the parameters of a network."""
    arrays = {}
    for name, module in model.named_modules():
        for leaf, p in module.named_parameters(recurse=False):
            path = "opt/target/" + name.replace(".", "/") + "/"
            value = p.detach()
            if leaf == "bias":
                path += "bias"
            elif value.ndim == 1:
                path += "scale"
            else:
                path += "kernel"
                dense = "Dense" in name or "project" in name
                if isinstance(module, nn.ConvTranspose2d):
                    value = value.permute(2, 3, 0, 1).flip(0, 1)
                elif value.ndim == 2 or dense:
                    value = value.flatten(1).t()
                else:
                    value = value.permute(2, 3, 1, 0)
            arrays[path] = value.contiguous().numpy()
    return arrays


def test_a_flax_checkpoint_is_read():
    torch.manual_seed(0)
    model = MAXIM(**SMALL, num_stages=2, num_supervision_scales=2)
    for p in model.parameters():
        nn.init.normal_(p)
    state = from_flax(to_flax(model))
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@torch.no_grad()
def test_a_published_file_is_loaded(tmp_path):
    torch.manual_seed(0)
    model = MAXIM(**SMALL).eval()
    np.savez(tmp_path / "checkpoint.npz", **to_flax(model))
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(load_backbone("MAXIM", tmp_path / "checkpoint.npz", **SMALL)(x)[0], model(x)[0])
    (tmp_path / "broken.npz").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=r"broken\.npz.*Flax"):
        load_backbone("MAXIM", tmp_path / "broken.npz")


def test_wrong_input_is_named():
    with pytest.raises(ConfigError, match="num_supervision_scales=3"):
        MAXIM(**SMALL, num_supervision_scales=3)
    with pytest.raises(ConfigError, match="opt/target/"):
        from_flax({"params/kernel": None})
