"""Restoration along a bridge: losses by hand, and exact networks that end at the clean picture."""

import pytest
import torch
from mmengine.config import ConfigDict
from safetensors.torch import save_file
from torch import nn

from dtir.core.errors import ConfigError
from dtir.diffusion.schedulers import optimal_transport_pairs
from dtir.engine.hooks import TaskContextsHook
from dtir.models import BridgeRestorer
from dtir.models.backbones.traits import Traits
from dtir.registry import BACKBONES, RESTORERS
from dtir.testing.small_backbones import SMALL

PICTURES = torch.rand(2, 4, 3, 6, 6, generator=torch.Generator().manual_seed(1))
LQ, GT = PICTURES
PROCESSES = {
    "irsde": ({"type": "IRSDE", "max_sigma": 10, "T": 20}, "PosteriorSampler"),
    "irsde_sde": ({"type": "IRSDE", "max_sigma": 10, "T": 200}, "ReverseSDESampler"),
    "goub": ({"type": "GOUB", "lambda_square": 30, "T": 200}, "ReverseODESampler"),
    "i2sb": ({"type": "I2SB", "interval": 1000}, "PosteriorSampler"),
    "ddbm": ({"type": "DDBM", "kind": "vp", "num_timesteps": 10, "predicts": "preconditioned"}, "PosteriorSampler"),
    "resshift": ({"type": "ResShift", "steps": 6, "normalize_input": False}, "PosteriorSampler"),
    "indi": ({"type": "InDI", "num_timesteps": 8}, "PosteriorSampler"),
    "cold": ({"type": "ColdDiffusion", "num_timesteps": 8}, "ColdSampler"),
    "diffuir": ({"type": "DiffUIR", "timesteps": 20}, "ResidualSampler"),
    "flow": ({"type": "RectifiedFlow", "num_timesteps": 8}, "FlowHeunSampler"),
}

SWIN = {**SMALL["UNetModelSwin"], "type": "UNetModelSwin"}


@BACKBONES.register_module()
class Bilinear(nn.Module):
    """a x + b condition + c t."""

    traits = Traits(size_multiple=1)

    def __init__(self) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.tensor([0.5, -0.25, 0.002]))

    def forward(self, x, condition, t):
        a, b, c = self.factors
        return a * x + b * condition + c * t.view(-1, 1, 1, 1)


def make(process: str = "irsde", **options) -> BridgeRestorer:
    scheduler, sampler = PROCESSES[process]
    config = {"type": "BridgeRestorer", "backbone": {"type": "Bilinear"}, "tasks": ["hazy"], "domain": "image"}
    return RESTORERS.build({**config, "scheduler": scheduler, "sampler": {"type": sampler}, **options})


def batch() -> dict:
    return {
        "gt": GT,
        "task": torch.zeros(4).long(),
        "num_generative": 0,
        "slots": torch.arange(4),
        "noise_seed": 5,
    }


@pytest.mark.parametrize("process", PROCESSES)
def test_a_network_that_hits_its_target_restores(process):
    model = make(process)
    bridge = model.scheduler
    # The network's own number for a step tells which one it is.
    told = torch.tensor([bridge.network_input(LQ, t)[1] for t in range(1, bridge.num_timesteps + 1)])

    def exact(x, condition, level):
        t = 1 + int((told - level[0]).abs().argmin())
        state = x / model_scale(bridge, x, t)
        eps = bridge.eps_from_x0(state, GT, condition, min(t, bridge.last_trained))
        return bridge.target(state, GT, condition, eps.nan_to_num(0, 0, 0), t)

    model.call_network = exact
    restored = model.restore(LQ, torch.zeros(4))
    if process in ("irsde_sde", "goub"):
        # Euler's steps: of the stochastic equation the last one adds noise.
        assert (restored - GT).abs().mean() < 0.1 * (LQ - GT).abs().mean()
    else:
        # I2SB, as published, leaves noise of its first step, of deviation 0.01, in the picture.
        torch.testing.assert_close(restored, GT, rtol=0, atol=4e-2 if process == "i2sb" else 1e-4)
    again = model.restore(LQ, torch.zeros(4))
    assert torch.equal(again, restored)


def model_scale(bridge, x, t):
    return bridge.network_input(torch.ones_like(x), t)[0]


def test_the_loss_on_outputs_by_hand(monkeypatch):
    model = make("i2sb", loss={"type": "L2Loss"}, domain="centred")
    seen = []
    monkeypatch.setattr(model.scheduler, "add_noise", lambda *args: seen.append(args) or 0.3 * args[0] + args[2])
    loss = model.losses(LQ, batch())["loss_bridge"]
    ((x0, mu, eps, t),) = seen
    assert torch.equal(x0, 2 * GT - 1)
    assert torch.equal(mu, 2 * LQ - 1)
    assert ((t >= 1) & (t <= 999)).all()
    x_t = 0.3 * x0 + eps
    out = 0.5 * x_t - 0.25 * mu + 0.002 * t.view(-1, 1, 1, 1)
    target = (x_t - x0) / model.scheduler.std_fwd[t].view(-1, 1, 1, 1)
    torch.testing.assert_close(loss, (out - target).square().mean())


def test_ddbm_learns_from_times_between_its_steps(monkeypatch):
    model = make("ddbm", loss={"type": "L2Loss"})
    seen = []
    monkeypatch.setattr(model, "call_network", lambda x, condition, t: seen.append(t) or torch.zeros_like(x))
    monkeypatch.setattr(model.scheduler, "target", lambda x_t, x0, mu, eps, t: seen.append(t) or torch.zeros_like(x0))
    for seed in range(64):
        model.losses(LQ, {**batch(), "noise_seed": seed})
    told, times = torch.cat(seen[::2]), torch.cat(seen[1::2])
    torch.testing.assert_close(told, 250 * times.log())
    # Uniform in sigma_min..sigma_max: mean 0.5 with a standard error of 0.018, and no two alike.
    assert times.unique().numel() == 256
    assert abs(times.mean() - 0.501) < 0.06
    assert times.min() >= model.scheduler.sigma_min


def test_flows_learn_from_times_between_their_steps(monkeypatch):
    scheduler = {"type": "RectifiedFlow", "num_timesteps": 8, "continuous": True}
    model, seen = make("flow", scheduler=scheduler), []
    monkeypatch.setattr(model, "call_network", lambda x, condition, t: seen.append(t) or torch.zeros_like(x))
    for seed in range(64):
        model.losses(LQ, {**batch(), "noise_seed": seed})
    told = torch.cat(seen)
    assert told.unique().numel() == 256
    assert told.min() > 0
    assert told.max() <= 1
    assert abs(told.mean() - 0.5) < 0.06


@pytest.mark.parametrize("process", ["irsde", "goub"])
def test_the_loss_on_steps_equals_that_of_single_samples(process):
    model = make(process, matching="step")
    model.scheduler.double()
    x_t, x0, mu, eps, out = torch.rand(5, 4, 3, 6, 6, generator=torch.Generator().manual_seed(2)).double()
    t = torch.tensor([1, 2, 7, 19])
    found = model._step_loss(out, x_t, x0, mu, eps, t)
    for k, step in enumerate(t.tolist()):
        one = [value[k : k + 1] for value in (x_t, out, mu)]
        drift, _ = model.scheduler.reverse_sde(*one, step, step - 1)
        mean, _ = model.scheduler.posterior(one[0], x0[k : k + 1], one[2], step, step - 1)
        torch.testing.assert_close(found[k], (one[0] - drift - mean).abs().mean().float())


def test_gradients_reach_the_network():
    for process in PROCESSES:
        model = make(process, matching="step" if process in ("irsde", "goub") else "output")
        model.losses(LQ, batch())["loss_bridge"].backward()
        assert model.backbone.factors.grad.isfinite().all()
        assert model.backbone.factors.grad.abs().max() > 0


def test_noise_does_not_depend_on_the_condition():
    """Pictures that are all different keep their noise: else bright ones would be trained on bright noise alone."""
    coupled = make("flow", source="coupled_noise")
    levels = torch.linspace(0, 1, 16).view(16, 1, 1, 1).expand(16, 3, 6, 6).contiguous()
    eps = torch.randn(16, 3, 6, 6, generator=torch.Generator().manual_seed(3))
    mu, _ = coupled._ends(levels, levels, eps)
    assert torch.equal(mu, eps)
    # Without regard to the condition, the brightest picture has the brightest noise.
    order = eps[optimal_transport_pairs(levels, eps)].mean((1, 2, 3))
    assert order.argsort().tolist() == list(range(16))


def test_paths_from_noise_are_shortest_where_coupled():
    """Within one condition, of which there are two here."""
    plain, coupled = (make("flow", source=source) for source in ("noise", "coupled_noise"))
    eps = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(3))
    condition = LQ[[0, 1, 0, 1]]
    (mu, _), (near, rest) = plain._ends(GT, condition, eps), coupled._ends(GT, condition, eps)
    assert torch.equal(mu, eps)
    for pair in ([0, 2], [1, 3]):
        straight, crossed = ((GT[pair] - eps[other]).square().sum() for other in (pair, pair[::-1]))
        assert torch.equal(near[pair], eps[pair] if straight < crossed else eps[pair[::-1]])
    assert (near - GT).square().sum() <= (mu - GT).square().sum()
    assert sorted(near.flatten(1).sum(1).tolist()) == sorted(eps.flatten(1).sum(1).tolist())
    assert not rest.any()
    first, other = (coupled.restore(LQ, torch.zeros(4)) for _ in range(2))
    assert torch.equal(first, other)
    assert not torch.equal(first, plain_from_degraded(coupled))


def plain_from_degraded(model: BridgeRestorer) -> torch.Tensor:
    return make("flow").restore(LQ, torch.zeros(4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"matching": "steps"}, r"model\.matching='steps'; expected one of output, step"),
        ({"process": "i2sb", "matching": "step"}, r"matching='step' needs a process such as IRSDE"),
        ({"source": "lq"}, r"model\.source='lq'"),
        ({"domain": "latent"}, r"model\.domain='latent'; expected one of image, centred"),
        ({"sampler": {"type": "DDIMSampler"}}, r"DDIMSampler runs a process from noise"),
        ({"scheduler": {"type": "DDPMScheduler"}}, r"DDPMScheduler does not end at a degraded picture"),
        ({"scheduler": {"type": "DenoisingSDE", "max_sigma": 75}}, r"DenoisingSDE does not end"),
        ({"num_steps": 21}, r"21"),
        ({"missing": 2.0}, r"missing=2\.0 must be a value in \[0, 1\]"),
        ({"missing": 1.0, "backbone": SWIN}, r"missing=1\.0 needs a network that is given a mask; .*cond_mask=True"),
    ],
)
def test_what_does_not_go_together_is_named(options, message):
    with pytest.raises(ConfigError, match=message):
        make(**options)


@pytest.mark.parametrize("lq_size", [16, 32, 128], ids=["x4", "x2", "face"])
@pytest.mark.parametrize("mask", [False, True])
def test_networks_whose_condition_is_larger_than_the_state(lq_size, mask):
    """The published settings of ResShift's x2, faces and inpainting: trained, and sampled whole and in tiles."""
    torch.manual_seed(0)
    backbone = {**SWIN, "lq_size": lq_size, "cond_mask": mask}
    model = make("resshift", backbone=backbone, domain="centred", missing=1.0 if mask else None, num_steps=2)
    nn.init.normal_(model.backbone.out[-1].weight, std=0.1)
    lq, gt = PICTURES[:, :1].repeat(1, 1, 1, 3, 4)
    lq[..., 4:9, 3:8] = 1
    model.losses(lq, {**batch(), "gt": gt, "slots": torch.arange(1)})["loss_bridge"].backward()
    first = next(iter(model.backbone.input_blocks[0].parameters()))
    assert first.grad.flatten(2).abs().sum(-1).min() > 0
    restored = model.restore(lq, torch.zeros(1))
    assert restored.shape == lq.shape
    known = (lq != 1).any(1, keepdim=True).expand_as(lq)
    assert torch.equal(restored[known], lq[known]) == mask
    tiled = model.apply_in_tiles(lambda y: model.restore(y, torch.zeros(1)), lq, tile=16, overlap=8, multiple=8)
    assert tiled.shape == lq.shape
    # A mask that says something else gives another picture.
    if mask:
        model.missing = 0.0
        assert (model.restore(lq, torch.zeros(1)) - restored).abs().max() > 1e-4


@pytest.fixture
def daclip():
    backbone = {"type": "DACLIPUNet", "nf": 32, "ch_mult": [1, 1, 1, 1], "context_dim": 8, "use_image_context": True}
    torch.manual_seed(0)
    config = {"type": "DACLIPRestorer", "backbone": backbone, "tasks": ["hazy", "rainy", "noisy"], "context_dim": 8}
    scheduler, sampler = PROCESSES["irsde"]
    return RESTORERS.build({**config, "scheduler": scheduler, "sampler": {"type": sampler}, "num_steps": 2})


def test_embeddings_follow_the_task(daclip, tmp_path):
    runner = ConfigDict(model=daclip)
    contexts = {
        name: torch.randn(3, 8, generator=torch.Generator().manual_seed(k)) for k, name in enumerate(["text", "image"])
    }
    save_file(contexts, tmp_path / "contexts.safetensors")
    TaskContextsHook(str(tmp_path / "contexts.safetensors")).before_train(runner)
    assert torch.equal(daclip.state_dict()["text_context"], contexts["text"])
    hazy, rainy = (daclip.restore(LQ[:1], daclip.timestep_of(torch.tensor([task]))) for task in (0, 1))
    assert (hazy - rainy).abs().max() > 1e-6
    both = daclip.restore(LQ[:1].expand(2, -1, -1, -1), torch.tensor([0, 0]))
    assert both.shape == (2, 3, 6, 6)


def test_other_embeddings_are_refused(daclip, tmp_path):
    file = tmp_path / "contexts.safetensors"
    with pytest.raises(ConfigError, match="cannot be read"):
        TaskContextsHook(str(file)).before_train(ConfigDict(model=daclip))
    save_file({"text": torch.zeros(2, 8)}, file)
    with pytest.raises(
        ConfigError, match=r"'text' of shape \(3, 8\), a row for each .*hazy, rainy, noisy; found \(2, 8\)"
    ):
        TaskContextsHook(str(file)).before_train(ConfigDict(model=daclip))
    with pytest.raises(ConfigError, match="BridgeRestorer takes no embeddings"):
        TaskContextsHook(str(file)).before_train(ConfigDict(model=make()))


@pytest.mark.parametrize("process", ["indi", "flow"])
def test_training_and_sampling_tell_the_network_the_same_numbers(process):
    """The process counts from 0 to 1, the network from 0 to 1000."""
    model = make(process, time_scale=1000.0)
    told = {"losses": [], "sampling": []}
    for place, run in (
        ("losses", lambda: [model.losses(LQ, {**batch(), "noise_seed": seed}) for seed in range(16)]),
        ("sampling", lambda: model.restore(LQ, torch.zeros(4))),
    ):
        model.call_network = lambda x, condition, t, place=place: told[place].append(t) or torch.zeros_like(x)
        run()
    trained, sampled = (torch.cat([t.expand(4) for t in part]) for part in told.values())
    assert trained.max() == sampled.max() == 1000
    expected = {round(1000 * k / 8) for k in range(1, 9)}
    assert set(trained.round().long().tolist()) == expected
    assert expected <= set(sampled.round().long().tolist()) <= {0, *expected}


def test_every_picture_has_the_embeddings_of_its_own_task(daclip):
    contexts = torch.arange(3.0).view(3, 1).expand(3, 8)
    daclip.text_context.copy_(contexts)
    daclip.image_context.copy_(10 + contexts)
    seen = []

    class Backbone(nn.Module):
        def forward(self, x, condition, t, text, image):
            seen.append((text[:, 0].tolist(), image[:, 0].tolist()))
            return torch.zeros_like(x)

    daclip.backbone = Backbone()
    daclip.losses(LQ, {**batch(), "task": torch.tensor([2, 0, 1, 2])})
    daclip.restore(LQ[:2], torch.tensor([1, 0]))
    assert seen[0] == ([2, 0, 1, 2], [12, 10, 11, 12])
    assert seen[1:] == [([1, 0], [11, 10])] * len(seen[1:])
    assert len(seen) > 1


def test_every_tile_has_the_embeddings_of_its_own_picture(daclip):
    daclip.text_context.copy_(torch.arange(3.0).view(3, 1).expand(3, 8))
    seen = []

    class Backbone(nn.Module):
        def forward(self, x, condition, t, text, image):
            seen.extend(zip(condition.mean((1, 2, 3)).tolist(), text[:, 0].tolist(), strict=True))
            return torch.zeros_like(x)

    daclip.backbone = Backbone()
    black_and_grey = torch.tensor([0.0, 0.5]).view(2, 1, 1, 1).expand(2, 3, 8, 16)
    daclip.apply_in_tiles(
        lambda lq: daclip.restore(lq, torch.tensor([2, 1])), black_and_grey, tile=8, overlap=2, batch_size=2
    )
    # Centred values of the pictures, and their tasks.
    assert set(seen) == {(-1, 2), (0, 1)}
