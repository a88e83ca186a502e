"""Tasks that a network learns later: at all other steps it computes bit for bit what it did."""

import pytest
import torch
from torch import nn

from dtir.core.errors import ConfigError
from dtir.models import ConditionedNetwork, ExtendedNetwork
from dtir.models.folding import fold
from dtir.testing.small_backbones import SMALL

STEPS = torch.tensor([0, 7, 9, 30])


def pair(backbone: str, **options) -> tuple[ConditionedNetwork, ExtendedNetwork]:
    """A conditioned network, and the same with parts for the steps 9 and 30, one with a curve; nothing is zero."""
    torch.manual_seed(0)
    config = {"backbone": {"type": backbone, **SMALL[backbone]}, "embed_dim": 8, **options}
    base = ConditionedNetwork(**config)
    extensions = [{"step": 9, "start": 7, "rank": 3}, {"step": 30, "start": 0, "rank": 2, "curve": True}]
    extended = ExtendedNetwork(**config, extensions=extensions)
    for p in (*base.parameters(), *extended.own_parameters(0), *extended.own_parameters(1)):
        nn.init.normal_(p, std=0.2)
    assert not extended.load_state_dict(base.state_dict(), strict=False).unexpected_keys
    return base.eval(), extended.eval()


@pytest.mark.parametrize("backbone", ["NAFNet", "Restormer", "RAMSwinIR"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@torch.no_grad()
def test_other_steps_are_what_they_were_bit_for_bit(backbone, layout):
    base, extended = pair(backbone)
    x = torch.rand(4, 3, 16, 16).to(memory_format=layout)
    before, after = base(x, STEPS), extended(x, STEPS)
    assert torch.equal(after[:2], before[:2])
    assert not torch.allclose(after[2], before[2])
    assert not torch.allclose(after[3], before[3])


@torch.no_grad()
def test_a_new_task_begins_as_the_step_it_starts_from():
    base, extended = pair("NAFNet", adapter={"type": "MoEAdapter"})
    for p in (*extended.own_parameters(0), *extended.own_parameters(1)):
        nn.init.zeros_(p)
    x = torch.rand(2, 3, 8, 8)
    assert torch.equal(extended(x, torch.tensor([9, 30])), base(x, torch.tensor([7, 0])))


def test_only_the_new_tasks_samples_train_its_parts():
    _, extended = pair("NAFNet")
    extended(torch.rand(2, 3, 8, 8), torch.tensor([7, 30])).sum().backward()
    first, second = (extended.own_parameters(k) for k in (0, 1))
    assert all(p.grad.any() for p in second)
    assert not any(p.grad.any() for p in first)


@torch.no_grad()
def test_a_curve_maps_each_pixel_of_the_input_and_the_output_by_itself():
    base, extended = pair("NAFNet")
    for p in extended.extensions.parameters():
        nn.init.zeros_(p)
    x, t = torch.rand(1, 3, 8, 8), torch.tensor([30])
    restored, (curve,) = base(x, torch.tensor([0])), extended.curves.values()
    expected = restored.clone()
    for row, column in ((0, 0), (5, 3)):
        pixel = torch.cat([x[0, :, row, column], restored[0, :, row, column]])
        expected[0, :, row, column] += curve.up(nn.functional.gelu(curve.down(pixel)))
        found = extended(x, t)[0, :, row, column]
        torch.testing.assert_close(found, expected[0, :, row, column])


def test_steps_of_later_tasks_differ():
    with pytest.raises(ConfigError, match="must differ"):
        ExtendedNetwork({"type": "NAFNet", **SMALL["NAFNet"]}, [{"step": 9, "start": 7, "rank": 3}] * 2)


def test_only_old_tasks_are_folded():
    base, extended = pair("NAFNet")
    x = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(fold(extended, 7)(x, torch.tensor([7])), base(x, torch.tensor([7])))
    with pytest.raises(ConfigError, match="learned later"):
        fold(extended, 9)


@torch.no_grad()
def test_without_gradients_only_the_parts_of_samples_that_are_there_are_computed():
    _, extended = pair("NAFNet")
    counts = [0, 0]

    def count(number: int):
        def hook(*_) -> None:
            counts[number] += 1

        return hook

    for number, parts in enumerate(extended.extensions):
        for part in parts:
            part.register_forward_hook(count(number))
    x, blocks = torch.rand(2, 3, 16, 16), len(extended.widths)
    extended(x, torch.tensor([0, 7]))
    assert counts == [0, 0]
    mixed = extended(x, torch.tensor([9, 7]))
    assert counts == [blocks, 0]
    extended(x, torch.tensor([9, 30]))
    assert counts == [2 * blocks, blocks]
    with torch.enable_grad():
        torch.testing.assert_close(extended(x, torch.tensor([9, 7])), mixed)
    assert counts == [3 * blocks, 2 * blocks]


@torch.no_grad()
def test_tensors_without_values_pass_all_parts():
    _, extended = pair("NAFNet")
    x, t = torch.empty(2, 3, 16, 16, device="meta"), torch.empty(2, dtype=torch.long, device="meta")
    assert extended.to("meta")(x, t).shape == x.shape
