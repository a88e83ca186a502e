"""Distillation to one step: the exact solution for a Gaussian, the teacher's checkpoint, and what is refused."""

import pytest
import torch
from torch import nn

from dtir.core.errors import CheckpointError, ConfigError
from dtir.diffusion.samplers import ImplicitSampler
from dtir.models import ConsistencyRestorer
from dtir.registry import BACKBONES, RESTORERS

MEAN, SPREAD, STEPS = 0.3, 0.2, 12
PROCESS = {"type": "ResShift", "steps": STEPS, "kappa": 1.0, "min_noise_level": 0.04, "normalize_input": False}


@BACKBONES.register_module()
class Affine(nn.Module):
    """Of every step its own: scale x + share condition + shift."""

    size_multiple = 1

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(STEPS, 3))

    def forward(self, x, condition, t):
        scale, share, shift = self.table[t.long()].T.reshape(3, -1, 1, 1, 1)
        return scale * x + share * condition + shift


def make(**options) -> ConsistencyRestorer:
    config = {"type": "ConsistencyRestorer", "backbone": {"type": "Affine"}, "tasks": ["hazy"], "domain": "image"}
    return RESTORERS.build({**config, "scheduler": PROCESS, "loss": {"type": "L2Loss"}, **options})


def exact_table(bridge) -> torch.Tensor:
    """E[x_0 | x_t, y] of pixels N(MEAN, SPREAD^2), whatever y is, step by step."""
    rows = []
    for t in range(1, STEPS + 1):
        a, b, sigma = (value.item() for value in bridge.marginal(t))
        gain = a * SPREAD**2 / (a**2 * SPREAD**2 + sigma**2)
        rows.append([gain, -gain * b, MEAN - gain * a * MEAN])
    return torch.tensor(rows)


def distilled_table(bridge, table: torch.Tensor) -> torch.Tensor:
    """Where the teacher's steps without noise lead from every step: affine too, found from three states."""
    x, y = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).view(2, 3, 1, 1, 1)

    def network(x, t):
        scale, share, shift = table[t.long()].T.reshape(3, -1, 1, 1, 1)
        return scale * x + share * y + shift

    rows = []
    for t in range(1, STEPS + 1):
        way = list(range(t, 0, -1))
        zero, of_x, of_y = ImplicitSampler().sample(network, bridge, y, x_start=x, timesteps=way).sample.flatten()
        rows.append([of_x - zero, of_y - zero, zero])
    return torch.tensor(rows)


@pytest.fixture
def teacher(tmp_path):
    model = make()
    state = {"backbone.table": exact_table(model.scheduler), "matched_t": model.matched_t}
    path = tmp_path / "teacher.pth"
    torch.save({"state_dict": state, "meta": {"model_cfg": {"backbone": {"type": "Affine"}}}}, path)
    return str(path)


def batch(n: int = 16) -> tuple[torch.Tensor, dict]:
    generator = torch.Generator().manual_seed(1)
    gt = MEAN + SPREAD * torch.randn(n, 3, 8, 8, generator=generator)
    lq = torch.rand(n, 3, 8, 8, generator=generator)
    return lq, {
        "gt": gt,
        "task": torch.zeros(n).long(),
        "num_generative": 0,
        "slots": torch.arange(n),
        "noise_seed": 5,
    }


def with_table(model: ConsistencyRestorer, table: torch.Tensor) -> ConsistencyRestorer:
    model.backbone.table.data.copy_(table)
    return model


def test_where_the_teacher_leads_is_the_solution(teacher):
    lq, samples = batch()
    model = make(teacher=teacher)
    exact = exact_table(model.scheduler)
    solved = distilled_table(model.scheduler, exact)
    loss = with_table(model, solved).losses(lq, samples)["loss_consistency"]
    loss.backward()
    assert loss.item() < 1e-9
    assert model.backbone.table.grad.abs().max() < 1e-4
    assert with_table(model, exact).losses(lq, samples)["loss_consistency"].item() > 1e-4


def test_one_step_draws_what_many_steps_draw(teacher):
    """The mean and the spread of the pictures, of which the teacher's one step has the mean alone."""
    lq = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    model = make(teacher=teacher)
    exact = exact_table(model.scheduler)
    found = with_table(model, distilled_table(model.scheduler, exact)).restore(lq, torch.zeros(1))
    assert model.num_evals == 1
    assert found.mean() == pytest.approx(MEAN, abs=0.02)
    ends = with_table(model, exact)
    ends.sampler, ends.num_steps = ImplicitSampler(), STEPS
    many = ends.restore(lq, torch.zeros(1))
    assert ends.num_evals == STEPS
    torch.testing.assert_close(found, many, rtol=0, atol=1e-5)
    one = with_table(make(teacher=teacher), exact).restore(lq, torch.zeros(1))
    assert many.std() > 0.6 * SPREAD
    assert one.std() < 0.5 * many.std()


def test_training_finds_the_solution(teacher):
    lq, samples = batch(16)
    model = make(teacher=teacher, intervals=3)
    exact = exact_table(model.scheduler)
    with_table(model, exact)
    assert model.way.tolist() == [0, 4, 8, 12]
    optimizer = torch.optim.Adam(model.parameters(), 0.03)
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 0.03 * (1 - step / 200)
        optimizer.zero_grad()
        model.losses(lq, {**samples, "noise_seed": step})["loss_consistency"].backward()
        optimizer.step()
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    one = model.restore(picture, torch.zeros(1))
    ends = with_table(make(), exact)
    ends.sampler, ends.num_steps = ImplicitSampler(), 3
    torch.testing.assert_close(one, ends.restore(picture, torch.zeros(1)), rtol=0, atol=0.02)


def test_more_steps_noise_the_prediction_again():
    lq = torch.rand(1, 3, 8, 8)
    model = with_table(make(num_steps=3), torch.tensor([0.0, 0.0, 0.7]).expand(STEPS, 3))
    restored = model.restore(lq, torch.zeros(1))
    assert model.num_evals == 3
    torch.testing.assert_close(restored, torch.full_like(lq, 0.7))


def test_the_teacher_is_no_part_of_the_model(teacher):
    lq, samples = batch(2)
    model = make(teacher=teacher)
    model.losses(lq, samples)["loss_consistency"].backward()
    assert set(model.state_dict()) == {"backbone.table", "matched_t"}
    assert [name for name, _ in model.named_parameters()] == ["backbone.table"]
    assert model._teacher(lq.device).table.grad is None


def test_mistakes_are_named(tmp_path):
    lq, samples = batch(2)
    with pytest.raises(ConfigError, match=r"model\.teacher is needed"):
        make().losses(lq, samples)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        make(teacher=str(tmp_path / "none.pth")).losses(lq, samples)
    torch.save({"state_dict": {}}, tmp_path / "bare.pth")
    with pytest.raises(CheckpointError, match="no checkpoint of a bridge's training"):
        make(teacher=str(tmp_path / "bare.pth")).losses(lq, samples)
    with pytest.raises(ConfigError, match="cannot take 13 steps"):
        make(intervals=13)
    with pytest.raises(ConfigError, match=r"leave out model\.matching"):
        make(source="noise")
