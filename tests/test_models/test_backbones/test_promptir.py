import pytest
import torch
from parity_case import ParityCase

from dtir.core.errors import ConfigError
from dtir.models.backbones import PromptIR, RAMPromptIR

SMALL = {"num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1, "ffn_expansion_factor": 0.1}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@torch.no_grad()
def test_equals_the_published_network(layout, parity_dir):
    case = ParityCase(parity_dir, "promptir_1block")
    model = case.load(PromptIR(**case.meta["kwargs"]))
    assert sum(p.numel() for p in model.parameters()) == case.meta["params"]
    for (x,), (y,), bound in case.groups():
        assert (model(x.to(memory_format=layout)) - y).abs().max() <= bound


@pytest.mark.parametrize(("kind", "millions"), [(PromptIR, 35.59), (RAMPromptIR, 35.38)])
def test_published_sizes(kind, millions):
    with torch.device("meta"):
        model = kind()
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == millions


def test_parameters_without_effect_are_the_published_six(parity_dir):
    torch.manual_seed(0)
    model = PromptIR(**SMALL)
    model(torch.rand(1, 3, 8, 8)).sum().backward()
    unused = {name for name, p in model.named_parameters() if p.grad is None}
    assert unused == set(ParityCase(parity_dir, "promptir_1block").meta["unused_params"])


@torch.no_grad()
def test_ram_differs_by_the_unused_layers_alone():
    torch.manual_seed(0)
    ram, plain = RAMPromptIR(**SMALL).eval(), PromptIR(**SMALL).eval()
    missing, unexpected = plain.load_state_dict(ram.state_dict(), strict=False)
    assert unexpected == []
    assert all(key.startswith(("chnl_reduce", "reduce_noise_channel")) for key in missing)
    x = torch.randn(1, 3, 16, 32)
    torch.testing.assert_close(ram(x), plain(x))


@torch.no_grad()
def test_ram_hides_masked_pixels():
    torch.manual_seed(0)
    model, x = RAMPromptIR(**SMALL).eval(), torch.randn(2, 3, 16, 16)
    mask = (torch.rand(2, 16, 16) < 0.5).float()
    torch.testing.assert_close(model(x, mask), model(x * (1 - mask[:, None])))
    tokens = torch.randn_like(x)
    torch.testing.assert_close(model(x, mask, tokens), model(torch.where(mask[:, None] > 0, tokens, x)))


def test_wrong_settings_are_named():
    with pytest.raises(ConfigError, match="set decoder=True"):
        PromptIR(decoder=False)
    with pytest.raises(ConfigError, match="dim=32 does not fit the published prompts"):
        PromptIR(dim=32)
