"""What holds for every registered backbone: the contract of docs/custom_backbone.md."""

import copy
import warnings

import pytest
import torch
from tiny_run import tiny_config
from torch import nn

from dtir.engine import StagedRunner
from dtir.models import ConditionedNetwork
from dtir.models.backbones.parts.layers import lay_out
from dtir.models.backbones.parts.pictures import restored_picture
from dtir.models.backbones.zoo import ZOO
from dtir.registry import BACKBONES
from dtir.testing import TinyBackbone, check_backbone
from dtir.testing.small_backbones import SMALL

OURS = sorted(name for name, kind in BACKBONES.module_dict.items() if kind.__module__.startswith("dtir."))
EVERY = pytest.mark.parametrize("name", sorted(SMALL))


def build(name: str) -> nn.Module:
    """A small network in which nothing is zero: every parameter takes part."""
    torch.manual_seed(0)
    network = BACKBONES.build({"type": name, **SMALL[name]})
    for p in network.parameters():
        if not p.any():
            nn.init.normal_(p, std=0.1)
    return network.eval()


def pictures(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def test_every_registered_network_has_a_small_setting():
    assert set(SMALL) == set(OURS)


def test_every_registered_network_has_published_settings():
    published = {BACKBONES.get(entry.backbone["type"]) for entry in ZOO.values()}
    assert published >= {BACKBONES.get(name) for name in OURS} - {TinyBackbone}


@EVERY
def test_keeps_to_the_contract(name):
    check_backbone(build(name))


@EVERY
@torch.no_grad()
def test_memory_format_changes_nothing(name):
    network, x = build(name), pictures(2, 3, 16, 16)
    expected = restored_picture(network, x)
    lay_out(network, torch.channels_last)
    found = restored_picture(network, x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@EVERY
@torch.no_grad()
def test_conditioning_and_adapters_change_nothing_at_first(name):
    backbone, x = build(name), pictures(2, 3, 16, 16)
    expected = restored_picture(backbone, x)
    network = ConditionedNetwork(backbone, embed_dim=8, adapter={"type": "MoEAdapter"})
    torch.testing.assert_close(network(x, torch.tensor([3, 41])), expected)


@EVERY
def test_every_block_is_reached_by_the_time_step(name):
    network = ConditionedNetwork(build(name), embed_dim=8)
    out = network(pictures(1, 3, 16, 16), torch.tensor([7]))
    out.square().mean().backward()
    per_block = network.to_modulation.bias.grad.view(2, -1).split(network.widths, dim=1)
    silent = [n for n, grad in zip(network.backbone.ordered_blocks(), per_block, strict=True) if not grad.any()]
    assert silent == []


@EVERY
@torch.no_grad()
def test_bfloat16(name):
    network, x = build(name), pictures(2, 3, 16, 16)
    expected = restored_picture(network, x)
    bound = 0.1 * expected.abs().max()
    with torch.autocast("cpu", torch.bfloat16):
        assert (restored_picture(network, x) - expected).abs().max() <= bound
    found = restored_picture(copy.deepcopy(network).bfloat16(), x.bfloat16())
    assert found.dtype == torch.bfloat16
    assert (found - expected).abs().max() <= bound


@EVERY
def test_stages_train_it(name, tmp_path):
    backbone = {"type": name, **SMALL[name]}
    options = {
        "model.network": {
            "type": "TimeConditioning",
            "embed_dim": 8,
            "backbone": backbone,
            "adapter": {"type": "MoEAdapter"},
        },
        # Few steps to match.
        "model.scheduler": {"type": "DDPMScheduler", "num_timesteps": 6},
        "train_dataloader.batch_size": 2,
        # With weight decay, weights would move without a gradient.
        "optim_wrapper.optimizer.weight_decay": 0.0,
        "train_cfg.stages": [
            {"name": "pretrain", "iters": 1, "lr": 1e-3, "generative_share": 1.0},
            {"name": "finetune", "iters": 1, "lr": 1e-3, "generative_share": 0.5},
            {"name": "incremental", "iters": 1, "lr": 1e-3, "generative_share": 0.5, "per_task": True},
        ],
        "train_cfg.val_interval": 100,
        "default_hooks.checkpoint.interval": 100,
        "custom_hooks": [
            {"type": "TimestepMatchingHook", "before": "finetune", "num_images": 1, "batch_size": 25},
        ],
    }
    runner = StagedRunner.from_cfg(tiny_config(tmp_path, **options))
    model = runner.model
    before = copy.deepcopy(model.network.backbone.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        runner.train()
    after = model.network.backbone.state_dict()
    assert after.keys() == before.keys() == BACKBONES.build(backbone).state_dict().keys()
    blocks = model.network.backbone.ordered_blocks()
    moved = {key for key, value in after.items() if not torch.equal(value, before[key])}
    assert all(any(key.startswith(f"{block}.") for key in moved) for block in (blocks[0], blocks[-1]))
    assert all(value.isfinite().all() for value in after.values() if value.is_floating_point())
    assert (model.matched_t >= 0).all()
