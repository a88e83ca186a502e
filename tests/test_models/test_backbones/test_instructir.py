import pytest
import torch
from parity_case import ParityCase

from dtir.models.backbones import InstructIR


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@torch.no_grad()
def test_equals_the_published_network(layout, parity_dir):
    case = ParityCase(parity_dir, "instructir")
    model = case.load(InstructIR(**case.meta["kwargs"]))
    assert sum(p.numel() for p in model.parameters()) == case.meta["params"]
    for (x, text), (y,), bound in case.groups():
        assert (model(x.to(memory_format=layout), text) - y).abs().max() <= bound


def test_published_size():
    with torch.device("meta"):
        model = InstructIR(**InstructIR.PUBLISHED["instructir"].settings)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == 15.84
    assert InstructIR.settings_of(model.state_dict()) == {
        "img_channel": 3,
        **InstructIR.PUBLISHED["instructir"].settings,
    }


@torch.no_grad()
def test_the_instruction_matters_and_zeros_stand_for_none():
    torch.manual_seed(0)
    model, x = InstructIR(width=4, enc_blk_nums=[1], dec_blk_nums=[1], txtdim=6), torch.rand(2, 3, 5, 6)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    text = torch.randn(2, 6)
    assert not torch.allclose(model(x, text), model(x))
    torch.testing.assert_close(model(x, torch.zeros(2, 6)), model(x))
    torch.testing.assert_close(model(x, text)[1:], model(x[1:], text[1:]))
