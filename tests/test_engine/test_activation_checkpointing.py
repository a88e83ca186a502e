"""Blocks that keep their input alone: the same training, in less memory."""

from copy import deepcopy

import pytest
import torch
from tiny_run import BARE, PLAIN, built, train
from torch import Tensor, nn

from dtir.core.errors import ConfigError
from dtir.models import ConditionedNetwork
from dtir.models.backbones import NAFNet
from dtir.models.recomputing import recomputed_blocks

STAGES = [{"name": "finetune", "iters": 2, "lr": 0.05, "generative_share": 0.25}]


class OfBackbone(nn.Module):
    """What `recomputed_blocks` is given: a model with a conditioned network."""

    def __init__(self, adapter: dict | None = None) -> None:
        super().__init__()
        backbone = NAFNet(width=8, enc_blk_nums=[2, 2], middle_blk_num=2, dec_blk_nums=[2, 2])
        self.network = ConditionedNetwork(backbone, embed_dim=8, adapter=adapter)
        self.backbone = self.network.backbone


def kept_bytes(model: nn.Module, x: Tensor, t: Tensor) -> tuple[int, Tensor]:
    """Bytes that a forward pass keeps for the backward pass, parameters aside, and its output."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    seen: dict[int, int] = {}

    def note(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(note, lambda value: value):
        out = model.network(x, t)
    return sum(seen.values()), out


ADAPTERS = [
    None,
    {"type": "MoEAdapter", "rank": 2},
    {"type": "ParallelMoEAdapter", "num_experts": 2, "top_k": 1, "rank": 2},
]


@pytest.mark.parametrize("adapter", ADAPTERS, ids=["bare", "after", "beside"])
def test_gradients_stay_and_memory_falls(adapter):
    torch.manual_seed(0)
    model = OfBackbone(adapter)
    # Away from the start, at which modulation and adapters do nothing.
    for p in model.parameters():
        p.data.add_(0.02 * torch.randn_like(p))
    x, other = torch.rand(2, 2, 3, 32, 32)
    t = torch.tensor([3, 40])
    keys = list(model.state_dict())
    results = []
    for checkpointed in (False, True):
        model.zero_grad()
        if checkpointed:
            with recomputed_blocks(model):
                size, out = kept_bytes(model, x, t)
                # A second pass with other steps comes before the first one's backward pass, as with two objectives.
                second = model.network(other, t + 5)
        else:
            size, out = kept_bytes(model, x, t)
            second = model.network(other, t + 5)
        (out.square().sum() + second.abs().sum()).backward()
        results.append((size, out.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    (plain, out, gradients), (kept, out_again, again) = results
    assert torch.equal(out, out_again)
    for first, second in zip(gradients, again, strict=True):
        torch.testing.assert_close(second, first, rtol=1e-6, atol=1e-6)
    assert kept < plain / 4
    assert list(model.state_dict()) == keys
    assert not any("Recomputing" in type(module).__name__ for module in model.modules())


@pytest.mark.parametrize(
    "regularizers",
    [[{"type": "OrthogonalityLoss"}], [{"type": "OrthogonalProjection"}, {"type": "LayerDecay"}]],
    ids=["twice differentiated", "apart"],
)
def test_a_training_is_the_same(tmp_path, regularizers):
    """Two micro-batches a step, adapters, and both objectives, also where losses are differentiated twice or apart."""
    options = {
        **BARE,
        **PLAIN,
        "model.network.adapter": {"type": "MoEAdapter", "rank": 2},
        "train_cfg.stages": STAGES,
        "train_cfg.regularizers": regularizers,
        "train_cfg.accumulate": 2,
        "train_dataloader.batch_size": 4,
    }
    runners = [train(tmp_path / str(on), **options, **{"train_cfg.checkpoint_activations": on}) for on in (False, True)]
    first, second = (runner.model.state_dict() for runner in runners)
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=1e-6)
    assert (
        first["network.backbone.tail.weight"]
        != built(tmp_path / "i", **options).model.state_dict()["network.backbone.tail.weight"]
    ).all()


def test_compiling_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="checkpoint_activations=True and compile=True exclude each other"):
        built(tmp_path, **BARE, **{"train_cfg.checkpoint_activations": True, "compile": True})


def test_a_backbone_without_blocks_is_refused():
    model = nn.Module()
    model.backbone = nn.Conv2d(3, 3, 1)
    with pytest.raises(ConfigError, match="has no ordered_blocks"), recomputed_blocks(model):
        pass


def test_running_statistics_count_a_pass_once():
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))

        def ordered_blocks(self):
            return ["block"]

    torch.manual_seed(0)
    model, twin = nn.Module(), nn.Module()
    model.backbone = Normed()
    twin.backbone = deepcopy(model.backbone)
    x = torch.rand(4, 3, 5, 5)
    with recomputed_blocks(model):
        out = model.backbone.block(x)
    out.square().sum().backward()
    twin.backbone.block(x).square().sum().backward()
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in twin.state_dict().items())
    for first, second in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(first.grad, second.grad)
