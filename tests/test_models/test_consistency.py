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


def test_training_and_sampling_tell_the_network_the_same_numbers(teacher):
    model = make(teacher=teacher, time_scale=10.0)
    told = {"losses": [], "sampling": []}
    lq, samples = batch(64)
    for place, run in (
        ("losses", lambda: model.losses(lq, samples)),
        ("sampling", lambda: model.restore(lq[:1], torch.zeros(1))),
    ):
        model.call_network = lambda x, given, t, *network, place=place: told[place].append(t) or torch.zeros_like(x)
        run()
    # Its process counts its steps from 0 for the network.
    assert {number for t in told["losses"] for number in t.tolist()} == {10.0 * k for k in range(STEPS)}
    assert [t.tolist() for t in told["sampling"]] == [[10.0 * (STEPS - 1)]]


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
    assert model.teacher.network(lq.device).table.grad is None


CONDITIONAL = {
    "type": "ConditionalConsistencyRestorer",
    "backbone": {"type": "Affine"},
    "tasks": ["hazy"],
    "scheduler": {"type": "DDPMScheduler", "num_timesteps": STEPS - 1},
    "level": {"type": "TimestepLevel"},
    "predicts": "v",
    "clip": None,
}


def as_v(model, picture: torch.Tensor) -> torch.Tensor:
    """The table of v of a network whose clean pictures are affine in the state: rows of scale and shift."""
    rows = [[0.0, 0.0, 0.0]]
    for t, (scale, shift) in enumerate(picture.tolist(), start=1):
        a, sigma = (value.item() for value in model.scheduler.marginal(t))
        # v = (a x - x_0) / sigma of a process that preserves the variance.
        rows.append([(a - scale) / sigma, 0.0, -shift / sigma])
    return torch.tensor(rows)


def test_a_conditional_diffusion_is_distilled_too(tmp_path):
    """DDIM's steps of the exact denoiser of N(MEAN, SPREAD^2) are affine, and so is where they lead."""
    model = RESTORERS.build({**CONDITIONAL, "teacher": str(tmp_path / "teacher.pth")})
    exact, ends = [], []
    before = (1.0, 0.0)
    for t in range(1, STEPS):
        a, sigma = (value.item() for value in model.scheduler.marginal(t))
        gain = a * SPREAD**2 / (a**2 * SPREAD**2 + sigma**2)
        exact.append((gain, MEAN - gain * a * MEAN))
        a_prev, sigma_prev = (value.item() for value in model.scheduler.marginal(t - 1))
        # x_prev = a_prev x_0 + sigma_prev (x - a x_0) / sigma, and from there on as before.
        share = a_prev - sigma_prev * a / sigma
        scale, shift = share * gain + sigma_prev / sigma, share * exact[-1][1]
        before = (before[0] * scale, before[0] * shift + before[1])
        ends.append(before)
    exact, solved = (as_v(model, torch.tensor(rows)) for rows in (exact, ends))
    state = {"backbone.table": exact, "matched_t": model.matched_t}
    torch.save({"state_dict": state, "meta": {"model_cfg": {"backbone": {"type": "Affine"}}}}, tmp_path / "teacher.pth")
    lq, samples = batch()
    loss = with_table(model, solved).losses(lq, samples)["loss_consistency"]
    loss.backward()
    assert loss.item() < 1e-8
    assert model.backbone.table.grad.abs().max() < 1e-3
    picture = torch.rand(1, 3, 32, 32)
    found = model.restore(picture, torch.zeros(1))
    assert model.num_evals == 1
    with_table(model, exact).set_sampling(STEPS - 1)
    torch.testing.assert_close(model.restore(picture, torch.zeros(1)), found, rtol=0, atol=1e-4)
    model.set_sampling(1)
    assert model.restore(picture, torch.zeros(1)).std() < 0.1 * found.std()
    assert model.losses(lq, samples)["loss_consistency"].item() > 1e-4
    for wrong in ({"missing": 1.0}, {"condition_dropout": 0.1}):
        with pytest.raises(ConfigError, match=r"are not offered|network that is given a mask"):
            RESTORERS.build({**CONDITIONAL, **wrong})


def test_mistakes_are_named(tmp_path):
    lq, samples = batch(2)
    with pytest.raises(ConfigError, match=r"model\.teacher is needed"):
        make().losses(lq, samples)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        make(teacher=str(tmp_path / "none.pth")).losses(lq, samples)
    torch.save({"state_dict": {}}, tmp_path / "bare.pth")
    with pytest.raises(CheckpointError, match="no checkpoint of a training"):
        make(teacher=str(tmp_path / "bare.pth")).losses(lq, samples)
    with pytest.raises(ConfigError, match="cannot take 13 steps"):
        make(intervals=13)
    with pytest.raises(ConfigError, match=r"leave out model\.matching"):
        make(source="noise")
