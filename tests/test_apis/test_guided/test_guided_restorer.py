"""Guided restoration against a prior whose denoiser is known, its configs, and its errors."""

from pathlib import Path

import pytest
import torch

from dtir.apis.guided import restorer as guided_module
from dtir.apis.guided.restorer import GuidedRestorer, guided_settings
from dtir.core.errors import CheckpointError, ConfigError
from dtir.diffusion.domain import to_centred
from dtir.models import DiffusionRestorer, SupervisedRestorer
from dtir.models.backbones import UNetModel
from dtir.testing.small_backbones import SMALL

CONFIGS = Path(__file__).parents[3] / "configs" / "training_free"
GUIDED = sorted(path for path in CONFIGS.glob("*.py") if not path.name.startswith("ddpm"))
MEAN, SPREAD = 0.2, 0.5
SR = {"type": "AverageDownsampling", "factor": 2}
# RePaint takes every step but the last five times; this DAPS, five steps of its ODE, but where fewer are left.
EVALUATIONS = {"repaint_box": 49 * 5 + 1, "daps_hdr": 46 * 5 + 4 + 3 + 2 + 1}


class GaussianRestorer(DiffusionRestorer):
    """Pixels are independent, N(MEAN, SPREAD^2) when centred: the denoiser in closed form, on pictures."""

    def __init__(self):
        backbone = dict(type="NAFNet", width=2, enc_blk_nums=[1], middle_blk_num=1, dec_blk_nums=[1])
        super().__init__(dict(type="TimeConditioning", backbone=backbone), ["noisy"])

    def residual(self, x, t):
        a, sigma = self.scheduler.marginal(t)
        return sigma * (to_centred(x) - a * MEAN) / (a**2 * SPREAD**2 + sigma**2)


@pytest.fixture(scope="module")
def prior():
    return GaussianRestorer()


def clean(height: int = 32, width: int = 32) -> torch.Tensor:
    noise = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(7))
    return MEAN + SPREAD * noise


def restorer(prior, operator=SR, guidance="DDNM", **options) -> GuidedRestorer:
    return GuidedRestorer(prior, operator, {"type": guidance}, device="cpu", **options)


@pytest.mark.parametrize("path", GUIDED, ids=lambda path: path.stem)
def test_every_config_restores(prior, path):
    """The misfit to the measurements is well below that of an unguided sample, or of the noise in them."""
    guided = GuidedRestorer(prior, **guided_settings(path), device="cpu")
    x = clean(128, 128)
    y = guided.measure(x)
    found = guided.restore(y)
    assert found.shape == x.shape
    operator = guided.operator(128, 128)
    misfit, unguided = ((y - operator.A(other)).square().mean().sqrt() for other in (found, x.flip(2)))
    assert misfit < 0.6 * unguided
    assert guided.num_evals == EVALUATIONS.get(path.stem, 50)


def test_all_kinds_of_guidance_have_a_config():
    kinds = {guided_settings(path)["guidance_cfg"]["type"] for path in GUIDED}
    assert kinds == {"ILVR", "RePaint", "DDNM", "DDRM", "MCG", "DPS", "PiGDM", "DiffPIR", "REDDiff", "DAPS"}


def test_noiseless_measurements_are_kept_and_the_seed_decides(prior):
    guided = restorer(prior, sampler_cfg={"num_steps": 10}, seed=3)
    y = guided.measure(clean())
    found = guided.restore(y)
    torch.testing.assert_close(guided.operator(32, 32).A(found), y, rtol=0, atol=1e-4)
    assert guided.num_evals == 10
    assert torch.equal(guided.restore(y), found)
    assert not torch.equal(restorer(prior, sampler_cfg={"num_steps": 10}, seed=4).restore(y), found)


def test_the_mean_of_samples_is_nearer_than_one(prior):
    guided = restorer(prior, sampler_cfg={"num_steps": 25})
    x = clean(64, 64)
    y = guided.measure(x)
    found = guided.restore_mean(y, 6)
    assert guided.num_evals == 6 * 25
    samples = torch.stack([guided.restore(y, number=k) for k in range(6)])
    assert torch.equal(found.one, samples[0])
    torch.testing.assert_close(found.mean, samples.mean(0))
    torch.testing.assert_close(found.spread, samples.std(0, correction=0), rtol=1e-3, atol=1e-4)
    assert min((samples[i] - samples[k]).abs().max() for i in range(6) for k in range(i)) > 0.1
    # Of exact samples 2 against 1 + 1/6; with so few steps they differ less.
    assert (found.one - x).square().mean() > 1.45 * (found.mean - x).square().mean()
    alone = guided.restore_mean(y, 1)
    assert torch.equal(alone.mean, alone.one)
    assert not alone.spread.any()
    with pytest.raises(ConfigError, match="samples=0"):
        guided.restore_mean(y, 0)


def test_what_is_not_measured_is_drawn_from_the_networks_prior(prior):
    guided = restorer(prior, {"type": "BoxInpainting", "share": 0.9})
    found = guided.restore(guided.measure(clean(64, 64)))
    filled = found[..., guided.operator(64, 64).mask == 0]
    assert filled.mean().item() == pytest.approx(MEAN, abs=0.05)
    assert filled.std().item() == pytest.approx(SPREAD, rel=0.15)


def test_simulated_noise_has_the_given_spread(prior):
    guided = restorer(prior, sigma_y=0.3)
    x = clean(64, 64)
    noise = guided.measure(x) - guided.operator(64, 64).A(x)
    assert noise.std().item() == pytest.approx(0.3, rel=0.05)


def test_measurements_that_do_not_tell_the_size_need_it(prior):
    guided = restorer(prior, {"type": "WalshHadamard", "ratio": 0.5}, sampler_cfg={"num_steps": 3})
    y = guided.measure(clean())
    assert guided.restore(y, size=(32, 32)).shape == (1, 3, 32, 32)
    with pytest.raises(ConfigError, match=r"size=\(H, W\)"):
        guided.restore(y)


@pytest.mark.parametrize(
    ("operator", "size", "message"),
    [
        ({"type": "JPEG", "quality": 10}, (40, 33), "40 x 33 pixels; crop them to 32 x 32"),
        ({"type": "BicubicDownsampling", "factor": 4}, (30, 31), "crop them to 28 x 28"),
        ({"type": "WalshHadamard", "ratio": 0.5}, (48, 32), "crop them to 32 x 32"),
        ({"type": "BoxInpainting", "height": 16}, (32, 32), "config is for pictures of"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(prior, operator, size, message):
    guided = restorer(prior, operator, "DPS")
    with pytest.raises(ConfigError, match=message):
        guided.measure(clean(*size))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(operator={"type": "JPG", "quality": 3}), r"operator.type: 'JPG' .* Did you mean 'JPEG'"),
        (dict(operator={"type": "JPEG", "qality": 3}), r"unknown key 'qality'. Did you mean 'quality'"),
        (dict(operator={"type": "BicubicDownsampling"}), "missing factor"),
        (dict(guidance="RePiant"), "Did you mean 'RePaint'"),
        (dict(sampler_cfg={"steps": 3}), "unknown key 'steps'. Did you mean 'num_steps'"),
        (dict(sigma_y=-1), "sigma_y=-1"),
    ],
)
def test_mistakes_in_settings_are_named(prior, changes, message):
    with pytest.raises(ConfigError, match=message):
        restorer(prior, **changes)


def test_guidance_that_does_not_go_with_the_operator_is_refused(prior):
    guided = restorer(prior, {"type": "HDR"}, "DDNM")
    with pytest.raises(ConfigError, match="DPS takes any"):
        guided.restore(guided.measure(clean()))


def test_samples_that_diverge_are_refused(prior):
    guided = restorer(prior, guidance="DPS")
    with pytest.raises(ConfigError, match=r"DPS diverged .* smaller scale"):
        guided.restore(torch.full((1, 3, 8, 8), torch.inf))


def test_a_network_without_generative_training_is_refused():
    model = SupervisedRestorer(
        dict(type="NAFNet", width=2, enc_blk_nums=[1], middle_blk_num=1, dec_blk_nums=[1]), ["a"]
    )
    with pytest.raises(CheckpointError, match="not SupervisedRestorer"):
        restorer(model)


def test_a_config_with_unknown_or_missing_keys_is_refused(tmp_path):
    (tmp_path / "a.py").write_text("operator = dict(type='HDR')\nguidence = dict(type='DPS')\n")
    with pytest.raises(ConfigError, match=r"a\.py: unknown key 'guidence'. Did you mean 'guidance'"):
        guided_settings(tmp_path / "a.py")
    (tmp_path / "b.py").write_text("operator = dict(type='HDR')\n_mine = 3\n")
    with pytest.raises(ConfigError, match=r"b\.py: missing guidance"):
        guided_settings(tmp_path / "b.py")


def test_measurements_and_samples_have_noise_of_their_own(prior, monkeypatch):
    """Noise of a sample that repeats the measurements', or another sample's, would agree with it for a false reason."""
    streams, drawn = [], guided_module.gaussian_like

    def recorded(like, generator=None):
        noise = drawn(torch.empty(1, 3, 32, 32), generator)
        streams.append(noise.flatten())
        return torch.zeros_like(like)

    guided = restorer(
        prior, operator={"type": "BoxInpainting"}, guidance="ILVR", sigma_y=0.1, sampler_cfg={"num_steps": 2}
    )
    monkeypatch.setattr(guided_module, "gaussian_like", recorded)
    monkeypatch.setattr("dtir.diffusion.guidance.base.gaussian_like", recorded)
    y = guided.measure(clean())
    for number in range(2):
        guided.restore(y, number=number)
    assert len(streams) >= 3
    table = torch.corrcoef(torch.stack(streams)) - torch.eye(len(streams))
    # Of independent streams of 3072 numbers, with a standard error of 0.018.
    assert table.abs().max() < 0.09


def test_weights_of_adm_are_a_prior(tmp_path):
    """Bare weights with the published keys: every step of its 1000 is its own, and only guidance restores with it."""
    torch.manual_seed(0)
    network = UNetModel(**SMALL["UNetModel"])
    torch.nn.init.normal_(network.out[2].weight, std=0.01)
    path = tmp_path / "256x256_diffusion_uncond.pt"
    torch.save(network.state_dict(), path)
    guided = GuidedRestorer(path, SR, {"type": "DDNM"}, {"num_steps": 2}, device="cpu")
    assert guided.restorer.num_timesteps == 1000
    y = guided.measure(clean(8, 8))
    found = guided.restore(y)
    torch.testing.assert_close(guided.operator(8, 8).A(found), y, atol=1e-4, rtol=1e-4)
    with pytest.raises(ConfigError, match=r"unconditional denoiser.*dtir guide"):
        guided.restorer.restore(clean(8, 8), torch.tensor([1]))


def test_a_pipeline_of_diffusers_is_a_prior(tmp_path):
    """Its own noise, in its own convention, and a process that is its scheduler's."""
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed (extra 'diffusers')")
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(
        sample_size=8,
        block_out_channels=(32, 32),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=8,
    )
    theirs = diffusers.DDPMScheduler(num_train_timesteps=200, beta_end=0.03)
    diffusers.DDPMPipeline(unet, theirs).save_pretrained(tmp_path)
    guided = GuidedRestorer(tmp_path, SR, {"type": "DDNM"}, {"num_steps": 2}, device="cpu")
    picture, t = torch.rand(2, 3, 8, 8), torch.tensor([1, 200])
    with torch.no_grad():
        expected = unet.eval()(to_centred(picture), t - 1).sample
        found = guided.restorer.predict_eps(picture, t)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(guided.restorer.scheduler.alphas_cumprod[1:], theirs.alphas_cumprod)
    assert guided.restore(guided.measure(clean(7, 6)[..., :6, :6])).shape == (1, 3, 6, 6)
    (tmp_path / "scheduler" / "scheduler_config.json").write_text('{"prediction_type": "v_prediction"}')
    with pytest.raises(CheckpointError, match="expected a network of 3 channels that predicts 'epsilon'"):
        GuidedRestorer(tmp_path, SR, {"type": "DDNM"}, device="cpu")
    (tmp_path / "scheduler" / "scheduler_config.json").unlink()
    with pytest.raises(CheckpointError, match="no saved pipeline of an unconditional denoiser"):
        GuidedRestorer(tmp_path, SR, {"type": "DDNM"}, device="cpu")
