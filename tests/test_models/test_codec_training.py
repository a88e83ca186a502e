"""What trains codecs: Refusion's autoencoder, and StableSR's feature wrapping."""

import pytest
import torch
from torch import nn

from dtir.core.errors import CheckpointError, ConfigError
from dtir.engine.loops.checks import check_losses
from dtir.models import FeatureWrappingRestorer, LatentAutoencoderRestorer
from dtir.models.backbones import ConditionalNAFNet
from dtir.models.codecs import AutoencoderKL, AutoencoderKLResi
from dtir.models.restorers import ConditionalDiffusionRestorer
from dtir.testing.small_backbones import SMALL
from dtir.testing.small_codecs import SMALL_CODECS

LQ, GT = torch.rand(2, 2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
SAMPLES = {"gt": GT, "num_generative": 0, "slots": torch.arange(2), "noise_seed": 5}


def autoencoder(**options) -> LatentAutoencoderRestorer:
    torch.manual_seed(0)
    backbone = {"type": "LatentUNet", "ch": 8, "ch_mult": [1, 2], "embed_dim": 3}
    return LatentAutoencoderRestorer(**{"backbone": backbone, "tasks": ["hazy"], **options})


def test_the_clean_code_is_decoded_with_the_degraded_features():
    model = autoencoder(spread_weight=0.5)
    found = model.losses(LQ, SAMPLES)
    (code, features), (clean, _) = model.backbone.encode(LQ), model.backbone.encode(GT)
    expected = {
        "loss_own": (model.backbone.decode(code, features) - LQ).abs().mean(),
        "loss_replaced": (model.backbone.decode(clean, features) - GT).abs().mean(),
        "loss_spread": 0.5 * ((code.mean() - LQ.mean()).abs() + (code.std() - LQ.std() / 2).abs()),
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    sum(found.values()).backward()
    assert all(p.grad is not None for p in model.parameters())
    # Pictures of other sizes are padded for the network, and compared as they are.
    assert model.losses(LQ[..., :13, :11], {**SAMPLES, "gt": GT[..., :13, :11]})["loss_own"].isfinite()


def test_wrong_autoencoders_are_named():
    with pytest.raises(ConfigError, match="NAFNet has no code and features"):
        autoencoder(backbone={"type": "NAFNet", **SMALL["NAFNet"]})
    with pytest.raises(ConfigError, match=r"model\.spread_weight"):
        autoencoder(spread_weight=-1)
    with pytest.raises(ConfigError, match="generative_share=0"):
        autoencoder().losses(LQ, {**SAMPLES, "num_generative": 1})


def wrapping(kind=FeatureWrappingRestorer, codec=None, **options):
    torch.manual_seed(0)
    model = kind(
        **{
            "backbone": {"type": "ConditionalNAFNet", **SMALL["ConditionalNAFNet"]},
            "tasks": ["super-resolution"],
            "scheduler": {"type": "DDPMScheduler", "num_timesteps": 4},
            "level": {"type": "TimestepLevel"},
            "num_steps": 2,
            "codec": codec or {"type": "AutoencoderKLResi", **SMALL_CODECS["AutoencoderKLResi"], "fusion_w": 0.5},
            **options,
        }
    )
    for p in model.backbone.parameters():
        if not p.any():
            nn.init.normal_(p, std=0.1)
    return model


def test_fusions_learn_to_decode_samples():
    model = wrapping(training_w=0.75)
    names = {name for name, _ in model.named_parameters() if not name.startswith("backbone.")}
    assert names
    assert all(name.startswith("codec.decoder.fusion_layer_") for name in names)
    model.backbone.requires_grad_(False)
    loss = model.losses(LQ, SAMPLES)["loss_restoration"]
    loss.backward()
    assert all(p.grad is not None and p.grad.any() for name, p in model.named_parameters() if name in names)
    # The loss is that of the samples, each drawn by itself, at the training's w.
    one = [model.losses(LQ[k : k + 1], {**SAMPLES, "gt": GT[k : k + 1], "slots": torch.tensor([k])}) for k in (0, 1)]
    torch.testing.assert_close(sum(part["loss_restoration"] for part in one) / 2, loss)
    other = wrapping(training_w=0.25).losses(LQ, SAMPLES)["loss_restoration"]
    assert (other - loss).abs() > 1e-6
    assert (model.losses(LQ, {**SAMPLES, "noise_seed": 6})["loss_restoration"] - loss).abs() > 1e-6


class OwnConditional(ConditionalNAFNet):
    """As a class of the user's own, which is tried before a training."""


def test_a_network_of_ones_own_samples_for_the_fusions():
    check_losses(wrapping(backbone={"type": OwnConditional, **SMALL["ConditionalNAFNet"]}))


def test_it_restores_as_the_diffusion_does():
    model, plain = wrapping(), wrapping(ConditionalDiffusionRestorer)
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model.restore(LQ, torch.zeros(2)), plain.restore(LQ, torch.zeros(2)))


def test_a_training_starts_from_an_autoencoder_without_fusions_and_a_trained_network(tmp_path):
    torch.manual_seed(3)
    settings = SMALL_CODECS["AutoencoderKLResi"]
    plain = AutoencoderKL(**{key: value for key, value in settings.items() if key != "num_fuse_block"})
    weights, trained = tmp_path / "kl.ckpt", tmp_path / "first.pth"
    torch.save({"state_dict": {f"first_stage_model.{k}": v for k, v in plain.state_dict().items()}}, weights)
    codec = {"type": "AutoencoderKLResi", **settings, "weights": str(weights)}
    first = wrapping(ConditionalDiffusionRestorer)
    torch.save({"state_dict": first.state_dict()}, trained)
    model = wrapping(codec=codec, trained=str(trained))
    for p in model.backbone.parameters():
        nn.init.zeros_(p)
    fusions = {key: value.clone() for key, value in model.codec.named_parameters()}
    model.init_weights()
    assert all(torch.equal(model.codec.state_dict()[key], value) for key, value in plain.state_dict().items())
    assert all(torch.equal(model.codec.state_dict()[key], value) for key, value in fusions.items())
    assert all(torch.equal(p, q) for p, q in zip(model.backbone.parameters(), first.backbone.parameters(), strict=True))
    # Where they are not trained, fusions have to be in the file.
    with pytest.raises(CheckpointError, match="does not hold the weights of AutoencoderKLResi"):
        AutoencoderKLResi(**settings, weights=str(weights)).init_weights()


def test_wrong_wrappings_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"model\.trained is needed"):
        wrapping().init_weights()
    with pytest.raises(ConfigError, match="CentredCodec wraps no features"):
        wrapping(codec="centred")
    with pytest.raises(ConfigError, match="training_w=0"):
        wrapping(training_w=0.0)
    torch.save({"weights": {}}, tmp_path / "bare.pth")
    with pytest.raises(CheckpointError, match="no checkpoint of a training"):
        wrapping(trained=str(tmp_path / "bare.pth")).init_weights()
