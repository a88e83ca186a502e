"""Muon beside AdamW: what each parameter's step is, and that a stopped run goes on to the same bits."""

import pytest
import torch
from tiny_run import assert_same_state, last_state, tiny_config, train
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import distribute_tensor

from dtir.core.errors import ConfigError
from dtir.engine import StagedRunner
from dtir.engine.optim.muon import MuonAdamW, orthogonalised
from dtir.testing.stopping import stopped

LR = 0.01


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def moved(start: torch.Tensor, gradients: list[torch.Tensor], optimizer=MuonAdamW, **options) -> torch.Tensor:
    p = nn.Parameter(start.clone())
    precise = {"precision": "float32"} if optimizer is MuonAdamW else {}
    steps = optimizer([p], lr=LR, **{**precise, **options})
    for gradient in gradients:
        p.grad = gradient.clone()
        steps.step()
    return p.detach()


@pytest.mark.parametrize("shape", [(12, 12), (8, 30), (30, 8)])
def test_the_first_step_has_the_gradients_singular_vectors_and_equal_singular_values(shape):
    gradient = normal(*shape)
    step = moved(torch.zeros(shape), [gradient]) / (-LR * 0.2 * max(shape) ** 0.5)
    u, _, vh = torch.linalg.svd(gradient, full_matrices=False)
    inner = u.mT @ step @ vh.mT
    values = inner.diagonal()
    assert (values > 0.5).all()
    assert (values < 1.3).all()
    torch.testing.assert_close(inner, torch.diag(values), atol=1e-4, rtol=0)


def test_half_precision_is_near():
    gradient = normal(20, 30)
    steps = [moved(torch.zeros(20, 30), [gradient], precision=precision) for precision in ("bf16", "float32")]
    assert 0 < (steps[0] - steps[1]).norm() < 0.05 * steps[1].norm()


def test_steps_are_as_large_as_those_of_adamw():
    gradients = [normal(64, 64, seed=seed) for seed in range(20)]
    steps = [moved(torch.zeros(64, 64), gradients[:1], kind) for kind in (MuonAdamW, torch.optim.AdamW)]
    # Adam's first step is the learning rate everywhere; later ones are about 0.2 of it, which is what Muon's are.
    assert steps[0].square().mean().sqrt() == pytest.approx(0.2 * LR, rel=0.15)
    assert steps[1].square().mean().sqrt() == pytest.approx(LR, rel=1e-3)


def test_a_kernel_is_the_matrix_of_its_outputs():
    gradients = [normal(8, 6, 3, 3, seed=seed) for seed in range(3)]
    kernel = moved(torch.zeros(8, 6, 3, 3), gradients)
    matrix = moved(torch.zeros(8, 54), [gradient.flatten(1) for gradient in gradients])
    assert torch.equal(kernel.flatten(1), matrix)


def test_the_momentum_looks_ahead():
    first, second = normal(6, 6), normal(6, 6, seed=1)
    after_one = moved(torch.zeros(6, 6), [first], momentum=0.9)
    both = moved(torch.zeros(6, 6), [first, second], momentum=0.9) - after_one
    # 0.1 g2 + 0.9 m2 with m2 = 0.9 (0.1 g1) + 0.1 g2; the length does not matter.
    aim = 0.1 * second + 0.9 * (0.09 * first + 0.1 * second)
    expected = -LR * 0.2 * 6**0.5 * orthogonalised(aim[None])[0]
    torch.testing.assert_close(both, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("shape", [(7,), (), (1, 16, 1, 1), (16, 1, 3, 3), (16, 3, 3, 3), (3, 16, 3, 3), (4, 13, 8)])
def test_everything_else_is_adamws(shape):
    gradients = [normal(*shape, seed=seed) for seed in range(4)]
    options = {"betas": (0.9, 0.99), "weight_decay": 0.1}
    expected = moved(normal(*shape), gradients, torch.optim.AdamW, foreach=True, **options)
    assert torch.equal(moved(normal(*shape), gradients, **options), expected)


def test_matrices_of_a_shape_do_not_mix():
    starts, gradients = [normal(6, 9, seed=seed) for seed in (1, 2)], [normal(6, 9, seed=seed) for seed in (3, 4)]
    together = [nn.Parameter(start.clone()) for start in starts]
    for p, gradient in zip(together, gradients, strict=True):
        p.grad = gradient
    MuonAdamW(together, lr=LR, weight_decay=0.1, precision="float32").step()
    for p, start, gradient in zip(together, starts, gradients, strict=True):
        torch.testing.assert_close(p.detach(), moved(start, [gradient], weight_decay=0.1), atol=1e-7, rtol=0)


def test_weight_decay_is_decoupled_and_no_gradient_is_no_step():
    start = normal(6, 9)
    still = moved(start, [torch.zeros(6, 9)], weight_decay=0.5)
    torch.testing.assert_close(still, start * (1 - LR * 0.5))
    p = nn.Parameter(start.clone())
    MuonAdamW([p], lr=LR, weight_decay=0.5).step()
    assert torch.equal(p.detach(), start)


def test_sharded_parameters_are_refused(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        p = nn.Parameter(distribute_tensor(normal(6, 9), init_device_mesh("cpu", (1,))))
        p.sum().backward()
        with pytest.raises(ConfigError, match=r"'MuonAdamW', which needs whole matrices, and train_cfg.parallel"):
            MuonAdamW([p], lr=LR).step()
    finally:
        torch.distributed.destroy_process_group()


def test_stop_and_resume_to_the_same_bits(tmp_path):
    muon = {"_delete_": True, "type": "MuonAdamW", "lr": LR, "weight_decay": 1e-3}
    options = {"optim_wrapper.optimizer": muon}
    train(tmp_path / "whole", **options)
    runner = StagedRunner.from_cfg(tiny_config(tmp_path / "stopped", **options))
    with stopped(runner, "before_optim_step", 7):
        runner.train()
    train(tmp_path / "stopped", resume=True, **options)
    assert_same_state(last_state(tmp_path / "stopped"), last_state(tmp_path / "whole"))
