import pytest
import torch

from dtir.core.errors import ConfigError, TaskError
from dtir.core.seeding import derive_seed
from dtir.diffusion.domain import to_centred, to_image
from dtir.models import DiffusionRestorer, RestorationDataPreprocessor
from dtir.models.losses import CharbonnierLoss, L1Loss, L2Loss, PSNRLoss
from dtir.registry import RESTORERS

CONFIG = {
    "type": "DiffusionRestorer",
    "tasks": ["noisy", "hazy", "rainy"],
    "network": {"type": "TimeConditioning", "embed_dim": 8, "backbone": {"type": "TinyBackbone"}},
}


def make(**options) -> DiffusionRestorer:
    import dtir.testing  # noqa: F401

    torch.manual_seed(0)
    model = RESTORERS.build({**CONFIG, **options})
    torch.nn.init.normal_(model.network.to_modulation.weight, std=0.1)
    return model


def collated(generative: list[bool]) -> dict:
    size = len(generative)
    generator = torch.Generator().manual_seed(1)
    pictures = torch.randint(0, 256, (2, size, 3, 8, 8), generator=generator, dtype=torch.uint8)
    samples = {"gt": pictures[1], "task": torch.arange(size) % 3, "generative": torch.tensor(generative)}
    return {"inputs": pictures[0], "data_samples": samples}


def losses(model, generative: list[bool]) -> dict:
    data = model.data_preprocessor(collated(generative), training=True)
    data["data_samples"]["noise_seed"] = 5
    return model(**data, mode="loss")


def test_preprocessor_scales_and_puts_generative_samples_first():
    batch = collated([False, True, False, True])
    out = RestorationDataPreprocessor()(batch, training=True)
    samples = out["data_samples"]
    assert samples["num_generative"] == 2
    assert samples["slots"].tolist() == [1, 3, 0, 2]
    torch.testing.assert_close(out["inputs"], batch["inputs"][[1, 3, 0, 2]] / 255)
    torch.testing.assert_close(samples["gt"], batch["data_samples"]["gt"][[1, 3, 0, 2]] / 255)
    assert samples["task"].tolist() == [1, 0, 0, 2]
    assert out["inputs"].is_contiguous(memory_format=torch.channels_last)


def test_a_sample_with_a_step_of_its_own_is_restored_at_it():
    model = make(matched_t={"noisy": 6, "hazy": 40, "rainy": 8})
    batch = collated([False] * 3)
    batch["data_samples"]["step"] = torch.tensor([-1, 12, 0])
    lq, gt = batch["inputs"] / 255, batch["data_samples"]["gt"] / 255
    data = model.data_preprocessor(batch, training=True)
    data["data_samples"]["noise_seed"] = 5
    out = model.network(lq, torch.tensor([6, 12, 0]))
    torch.testing.assert_close(model(**data, mode="loss")["loss_restoration"], (out - gt).abs().mean())


def test_steps_may_be_set_by_a_table():
    model = make(matched_t={"noisy": 4, "rainy": 8, "snowy": 15})
    assert model.matched_t.tolist() == [4, -1, 8]


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [({"nosy": 4}, TaskError, "Did you mean 'noisy'"), ({"hazy": 51}, ConfigError, r"hazy=51 .* use 0\.\.50")],
)
def test_a_wrong_table_of_steps_is_named(table, error, message):
    with pytest.raises(error, match=message):
        make(matched_t=table)


@torch.no_grad()
def test_restores_as_the_mean_over_the_flips():
    plain, averaged = make(), make(flip_average=True)
    x, t = torch.rand(2, 3, 8, 12), torch.tensor([0, 7])
    flips = ((), (-1,), (-2,), (-1, -2))
    expected = sum(plain.restore(x.flip(axes), t).flip(axes) for axes in flips) / 4
    torch.testing.assert_close(averaged.restore(x, t), expected)


def test_prediction_is_the_mean_over_the_flips_up_to_a_size():
    model, averaged = make(flips_up_to=8 * 12), make(flip_average=True)
    small, larger = (torch.randint(256, (3, 8, width), dtype=torch.uint8) for width in (12, 13))
    found, expected, plain = (
        [m([lq], [{"task": 0}], mode="predict")[0]["pred"] for lq in (small, larger)] for m in (model, averaged, make())
    )
    torch.testing.assert_close(found[0], expected[0])
    assert torch.equal(found[1], plain[1])


def test_restoration_loss_is_that_of_the_matched_step():
    model = make()
    model.set_matched_t({"noisy": 6, "hazy": 40})
    batch = collated([False] * 3)
    lq, gt = batch["inputs"] / 255, batch["data_samples"]["gt"] / 255
    out = model.network(lq, torch.tensor([6, 40, 0]))
    got = losses(model, [False] * 3)
    torch.testing.assert_close(got["loss_restoration"], (out - gt).abs().mean())
    assert got["loss_generative"] == 0


def noised(model: DiffusionRestorer) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Steps and noise of four generative samples as a batch of seed 5 draws them, and the network's residual."""
    gt = collated([True] * 4)["data_samples"]["gt"] / 255
    generator = torch.Generator().manual_seed(derive_seed(5))
    t = torch.randint(1, 51, (4,), generator=generator)
    eps = torch.randn(gt.shape, generator=generator)
    abar = model.scheduler.alphas_cumprod[t].view(-1, 1, 1, 1)
    x_t = to_image(abar.sqrt() * to_centred(gt) + (1 - abar).sqrt() * eps)
    residual = x_t - model.network(x_t, t)
    return t, eps, residual


def test_generative_loss_compares_the_residual_with_the_noise():
    model = make()
    t, eps, residual = noised(model)
    got = losses(model, [True] * 4)
    torch.testing.assert_close(got["loss_generative"], (residual - eps).abs().mean(), rtol=1e-5, atol=1e-6)
    assert got["loss_restoration"] == 0
    weighted = losses(make(generative_weight="min_snr"), [True] * 4)["loss_generative"]
    weights = model.scheduler.loss_weight(t, "min_snr").flatten()
    expected = (weights * (residual - eps).abs().flatten(1).mean(1)).mean()
    torch.testing.assert_close(weighted, expected, rtol=1e-5, atol=1e-6)


def test_noise_in_units_of_the_picture_is_the_same_residual_for_both_objectives():
    model = make(noise_units="image")
    model.set_matched_t({"noisy": 6})
    gt = collated([True] * 4)["data_samples"]["gt"] / 255
    t, eps = torch.full((4,), 6), torch.randn(gt.shape, generator=torch.Generator().manual_seed(1))
    scale = model.scheduler.noise_scale(6)
    torch.testing.assert_close(model.generative_target(eps, t), scale * eps)
    # The noisy picture of the restoring objective, y = x + s eps, has the residual y - x.
    torch.testing.assert_close(model.generative_target(eps, t), (gt + scale * eps) - gt)
    torch.testing.assert_close(model.predict_eps(gt, t) * scale, model.residual(gt, t))
    assert torch.equal(make().predict_eps(gt, t), make().residual(gt, t))


def test_generative_loss_in_units_of_the_picture():
    model = make(noise_units="image")
    t, eps, residual = noised(model)
    abar = model.scheduler.alphas_cumprod[t].view(-1, 1, 1, 1)
    expected = (residual - (1 - abar).sqrt() / 2 * eps).abs().mean()
    torch.testing.assert_close(losses(model, [True] * 4)["loss_generative"], expected, rtol=1e-5, atol=1e-6)


def test_unknown_units_of_the_noise_are_named():
    with pytest.raises(ConfigError, match=r"noise_units='pixels'; expected one of eps, image"):
        make(noise_units="pixels")


def test_mixed_losses_add_up_sample_by_sample():
    model = make()
    mixed = losses(model, [False, True, False, True])
    generative = losses(model, [True] * 4)
    restoring = losses(model, [False] * 4)
    assert 0 < mixed["loss_generative"] < generative["loss_generative"]
    assert 0 < mixed["loss_restoration"] < restoring["loss_restoration"]
    rest = losses(model, [True, False, True, False])
    torch.testing.assert_close(mixed["loss_generative"] + rest["loss_generative"], generative["loss_generative"])
    torch.testing.assert_close(mixed["loss_restoration"] + rest["loss_restoration"], restoring["loss_restoration"])


@pytest.mark.parametrize("tile", [None, 8])
def test_predict_restores_pictures_of_any_size(tile):
    model = make(tile=tile, tile_overlap=4).eval()
    batch = {
        "inputs": [torch.randint(0, 256, (3, 11, 20), dtype=torch.uint8), torch.randint(0, 256, (3, 5, 4)).byte()],
        "data_samples": {"task": [0, 2], "name": ["a", "b"]},
    }
    out = model.val_step(batch)
    assert [sample["name"] for sample in out] == ["a", "b"]
    assert [tuple(sample["pred"].shape) for sample in out] == [(3, 11, 20), (3, 5, 4)]
    assert all(sample["pred"].min() >= 0 and sample["pred"].max() <= 1 for sample in out)
    if tile is None:
        expected = model.restore(batch["inputs"][1][None] / 255, torch.tensor([0]))[0].clamp(0, 1)
        torch.testing.assert_close(out[1]["pred"], expected)


def test_order_of_tasks_follows_the_matched_steps():
    model = make()
    assert model.task_order() == [0, 1, 2]
    model.set_matched_t({"noisy": 6, "hazy": 2, "rainy": 6})
    assert model.task_order() == [1, 0, 2]
    assert model.state_dict()["matched_t"].tolist() == [6, 2, 6]
    with pytest.raises(TaskError, match=r"unknown task 'rain'\. Did you mean 'rainy'"):
        model.set_matched_t({"rain": 3})
    with pytest.raises(ConfigError, match="at least one task and none twice"):
        make(tasks=["noisy", "noisy"])


def test_losses_closed_form():
    pred, target = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    pred[0], pred[1] = 0.3, -0.4
    torch.testing.assert_close(L1Loss()(pred, target), torch.tensor([0.3, 0.4]))
    torch.testing.assert_close(L2Loss()(pred, target), torch.tensor([0.09, 0.16]))
    torch.testing.assert_close(CharbonnierLoss(0.4)(pred, target), torch.tensor([0.5, 0.32**0.5]))
    torch.testing.assert_close(PSNRLoss()(pred, target), torch.tensor([0.09, 0.16]).log10())
    torch.testing.assert_close(PSNRLoss(eps=0.01)(pred, target), torch.tensor([0.10, 0.17]).log10())


@pytest.mark.parametrize(("generative", "absent"), [(True, "loss_restoration"), (False, "loss_generative")])
def test_an_objective_without_samples_has_no_graph(generative, absent):
    """Where every loss is differentiated by itself, one of zeros would cost a whole backward pass."""
    found = losses(make(), [generative] * 2)
    assert {name: loss.requires_grad for name, loss in found.items()} == {
        "loss_restoration": not generative,
        "loss_generative": generative,
    }
    assert found[absent] == 0
