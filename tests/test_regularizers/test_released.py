"""The released objectives: equal to what the released code computes, and what they do in a run."""

import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_run import train

sys.path.insert(0, str(Path(__file__).parents[1] / "test_models" / "test_backbones"))
from parity_case import ParityCase

from dtir.core.errors import ConfigError
from dtir.core.stage_hook import TrainStep
from dtir.diffusion.schedulers import EEDTPScheduler
from dtir.models import DiffusionRestorer
from dtir.models.backbones import EEDTPRestorationNet
from dtir.models.losses import FFTLoss, WeightedLosses
from dtir.regularizers import ReleasedImportance, released
from dtir.regularizers.estimation import generative_batches
from dtir.regularizers.released import gradient_magnitudes

PLAIN = {"optim_wrapper.optimizer": {"type": "SGD", "lr": 1.0}, "optim_wrapper.clip_grad": None, "custom_hooks": []}
STAGES = [
    {"name": "pretrain", "iters": 1, "lr": 1e-2, "generative_share": 1.0, "schedule": "constant"},
    {"name": "finetune", "iters": 6, "lr": 1e-2, "schedule": "constant"},
]


@pytest.fixture(name="objectives", scope="module")
def objectives_fixture(parity_dir) -> dict:
    arrays = np.load(parity_dir / "eedtp_objectives.npz")
    return {name: torch.from_numpy(arrays[name]) for name in arrays.files if name != "meta"}


@pytest.fixture(name="model", scope="module")
def model_fixture(parity_dir) -> DiffusionRestorer:
    case = ParityCase(parity_dir, "eedtp_net")
    model = DiffusionRestorer(
        network={"type": "OwnTime", "backbone": case.load(EEDTPRestorationNet(**case.meta["kwargs"]))},
        scheduler={"type": "EEDTPScheduler"},
        tasks=["noisy"],
        noise_units="image",
    )
    return model.eval()


@pytest.mark.parametrize(
    ("name", "sigma", "schedule"), [("linear10", 10, "linear"), ("cosine10", 10, "cosine"), ("linear50", 50, "linear")]
)
def test_the_noise_is_the_released_one(name, sigma, schedule, objectives):
    scheduler = EEDTPScheduler(max_sigma=sigma, schedule=schedule)
    torch.testing.assert_close(scheduler.sigma_bars, objectives[f"sigma_bars_{name}"], rtol=1e-6, atol=1e-8)
    steps = torch.tensor([0, 1, 27, 50])
    torch.testing.assert_close(scheduler.noise_scale(steps).flatten(), scheduler.sigma_bars[steps])


def test_the_generative_loss_is_the_released_one(model, objectives):
    found = model.generative_losses(objectives["x0"], objectives["t"], objectives["eps"]).mean()
    torch.testing.assert_close(found, objectives["pretrain_loss"], rtol=1e-5, atol=0)


def test_the_restoration_loss_is_the_released_one(objectives):
    lq, gt = objectives["lq"], objectives["gt"]
    torch.testing.assert_close(FFTLoss()(lq, gt).mean(), objectives["fft_loss"], rtol=1e-5, atol=0)
    assert FFTLoss()(lq[:0], gt[:0]).shape == (0,)
    both = WeightedLosses([{"type": "L1Loss"}, {"type": "FFTLoss"}], weights=[1.0, 0.1])
    expected = (lq - gt).abs().mean() + 0.1 * objectives["fft_loss"]
    torch.testing.assert_close(both(lq, gt).mean(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize(("losses", "weights"), [([], None), ([{"type": "L1Loss"}], [1.0, 2.0])])
def test_losses_and_weights_must_fit(losses, weights):
    with pytest.raises(ConfigError, match="a weight for each or none"):
        WeightedLosses(losses, weights)


def test_the_importance_is_the_released_one(model, objectives):
    loss = model.generative_losses(objectives["x0"], objectives["t"], objectives["eps"]).mean()
    backbone = model.backbone
    params = dict(backbone.named_parameters())
    omega = gradient_magnitudes(loss, params)
    torch.testing.assert_close(
        sum(o.double().sum() for o in omega.values()), objectives["omega_sum"], rtol=1e-5, atol=0
    )

    weight = 0.2
    term = ReleasedImportance(weight=weight, probability=1.0)
    anchor = {name: p.detach().clone() for name, p in params.items()}
    term.state = {"omega": omega, "anchor": anchor}
    changes = {
        name: torch.from_numpy(0.01 * np.random.RandomState(zlib.crc32(f"d{name}".encode())).standard_normal(p.shape))
        for name, p in params.items()
    }
    with torch.no_grad():
        for name, p in params.items():
            p.add_(changes[name])
            p.grad = torch.zeros_like(p)
    step = TrainStep(SimpleNamespace(index=1), 0)
    runner = SimpleNamespace(model=SimpleNamespace(network=backbone), seed=0)
    try:
        term._lay_out(runner)
        term.before_optim_step(runner, step)
        torch.testing.assert_close(step.logged["importance"], objectives["reg_loss_lambda0.2"], rtol=1e-5, atol=0)
        for name, p in params.items():
            d = p.detach() - anchor[name]
            torch.testing.assert_close(p.grad, weight * (omega[name] * d.sign() + omega[name] ** 2 * d))
    finally:
        with torch.no_grad():
            for name, p in params.items():
                p.copy_(anchor[name])
                p.grad = None


def test_omega_is_the_mean_over_batches_of_the_magnitude_of_their_gradients(tmp_path):
    term = {"type": "ReleasedImportance", "num_batches": 3, "batch_size": 2}
    runner = train(tmp_path, **{"train_cfg.stages": STAGES, "train_cfg.regularizers": [term], **PLAIN})
    (regularizer,) = runner.train_loop.regularizers
    omega = regularizer.importances(runner, 1)["omega"]
    model = runner.model
    params = dict(model.network.named_parameters())
    parts = []
    for batch in generative_batches(runner, 1, [range(0, 2), range(2, 4), range(4, 6)], 6):
        residual = batch["x"] - model.network(batch["x"], batch["t"])
        parts.append(gradient_magnitudes((residual - batch["noise"]).abs().mean(), params))
    for name in params:
        torch.testing.assert_close(omega[name], sum(part[name] for part in parts) / 3)


def finetuned(folder, probability: float) -> dict:
    terms = [
        {"type": "ReleasedOrthogonality", "probability": probability},
        {"type": "ReleasedImportance", "probability": probability, "num_batches": 1, "batch_size": 2, "weight": 1.0},
    ]
    return train(folder, **{"train_cfg.stages": STAGES, "train_cfg.regularizers": terms, **PLAIN}).model.state_dict()


def test_the_orthogonality_changes_nothing_and_the_importance_only_some_steps(tmp_path):
    plain = train(tmp_path / "plain", **{"train_cfg.stages": STAGES, **PLAIN}).model.state_dict()
    never = finetuned(tmp_path / "never", 0.0)
    always = finetuned(tmp_path / "always", 1.0)
    logged = {"type": "ReleasedOrthogonality", "probability": 1.0}
    runner = train(tmp_path / "cosine", **{"train_cfg.stages": STAGES, "train_cfg.regularizers": [logged], **PLAIN})
    assert 0 <= runner.train_loop.step.logged["orthogonality"] <= 2
    assert all(torch.equal(plain[key], never[key]) for key in plain)
    assert all(torch.equal(plain[key], value) for key, value in runner.model.state_dict().items())
    assert any(not torch.equal(plain[key], always[key]) for key in plain)


def test_micro_batches_equal_one_batch(tmp_path):
    terms = [
        {"type": "ReleasedOrthogonality", "probability": 1.0},
        {"type": "ReleasedImportance", "probability": 1.0, "num_batches": 1, "batch_size": 2, "weight": 1.0},
    ]
    found = []
    for batch, accumulate in ((8, 1), (2, 4)):
        split = {"train_dataloader.batch_size": batch, "train_cfg.accumulate": accumulate}
        options = {"train_cfg.stages": STAGES, "train_cfg.regularizers": terms, **PLAIN, **split}
        runner = train(tmp_path / str(batch), **options)
        found.append((runner.model.state_dict(), runner.train_loop.step.logged))
    (state, logged), (state_of_parts, logged_of_parts) = found
    for key, value in state.items():
        torch.testing.assert_close(state_of_parts[key], value, rtol=0, atol=1e-6)
    for key, value in logged.items():
        torch.testing.assert_close(logged_of_parts[key], value, rtol=1e-3, atol=1e-5)


def test_a_tenth_of_the_steps_is_generative():
    runner = SimpleNamespace(seed=5)
    steps = [TrainStep(SimpleNamespace(index=2), k) for k in range(2000)]
    taken = [released.is_generative_step(runner, step, 0.1) for step in steps]
    assert 150 <= sum(taken) <= 250
    assert released.is_generative_step(runner, steps[-1], 0.1) == taken[-1]


@pytest.mark.parametrize("kind", ["ReleasedImportance", "ReleasedOrthogonality"])
def test_a_probability_is_a_probability(kind):
    with pytest.raises(ConfigError, match=r"probability=1\.5"):
        getattr(released, kind)(probability=1.5)
