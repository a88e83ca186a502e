"""The conditional restorer: its loss, its settings and its state."""

import pytest
import torch
from conditional_case import SHORT, SMALL_NET, batch, by_hand, make

from dtir.core.errors import ConfigError


@pytest.mark.parametrize(("level", "discrete"), [("TimestepLevel", True), ("NoiseLevel", False)])
def test_loss_is_that_of_the_equations(level, discrete):
    lq, samples = batch()
    x_t, condition, expected_level, eps = by_hand(lq, samples["gt"], discrete)
    model = make(level={"type": level})
    loss = model(lq, samples, mode="loss")
    ((seen_x, seen_condition, seen_level),) = model.backbone.seen
    torch.testing.assert_close(seen_x, x_t, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(seen_condition, condition)
    torch.testing.assert_close(seen_level, expected_level)
    out = x_t / 2 - condition / 4 + expected_level.view(-1, 1, 1, 1) / 2000
    assert list(loss) == ["loss_noise"]
    torch.testing.assert_close(loss["loss_noise"], (out - eps).square().mean(), rtol=1e-4, atol=1e-5)
    absolute = make(level={"type": level}, loss={"type": "L1Loss"})(lq, samples, mode="loss")["loss_noise"]
    torch.testing.assert_close(absolute, (out - eps).abs().mean(), rtol=1e-4, atol=1e-5)


def test_dropped_conditions_are_grey_and_of_the_right_share():
    lq, samples = batch(size=4000, side=1)
    plain, dropping = make(), make(condition_dropout=0.1)
    plain(lq, samples, mode="loss")
    dropping(lq, samples, mode="loss")
    (x, condition, level), (same_x, partial, same_level) = plain.backbone.seen[0], dropping.backbone.seen[0]
    dropped = (partial == 0).flatten(1).all(1)
    assert dropped.float().mean() == pytest.approx(0.1, abs=0.015)
    assert torch.equal(partial[~dropped], condition[~dropped])
    assert torch.equal(x, same_x)
    assert torch.equal(level, same_level)


def test_parts_of_a_step_draw_what_the_whole_draws():
    lq, samples = batch(8)
    one = make(condition_dropout=0.5)
    one(lq, samples, mode="loss")
    parts = []
    for place in range(2):
        half = slice(4 * place, 4 * place + 4)
        two = make(condition_dropout=0.5)
        two(
            lq[half],
            {**samples, "gt": samples["gt"][half], "slots": torch.arange(8)[half], "step_size": 8},
            mode="loss",
        )
        parts.append(two.backbone.seen[0])
    for whole, halves in zip(one.backbone.seen[0], zip(*parts, strict=True), strict=True):
        assert torch.equal(whole, torch.cat(halves))


def test_state_dict_is_the_backbones_and_the_tasks():
    keys = set(make().state_dict())
    assert keys == {"matched_t", "backbone.bias"}
    assert make().num_timesteps == 0


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    model = make({"type": "ConditionalUNet", "nf": 8, "depth": 2}, condition_dropout=0.5)
    lq, samples = batch(4, side=8)
    model(lq, samples, mode="loss")["loss_noise"].backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "TinyBackbone"}, r"TinyBackbone takes \(x\); expected a conditional network"),
        ({"sampler": {"type": "PosteriorSampler"}}, "PosteriorSampler runs a process from the degraded picture"),
        ({"num_steps": 21}, "cannot take 21 steps from a schedule of 20"),
        ({"num_steps": 0}, "cannot take 0 steps from a schedule of 20"),
        ({"condition_dropout": 1.0}, r"condition_dropout=1\.0 must be a number in \[0, 1\)"),
        ({"guidance_scale": 2.0}, "trained without its condition"),
        ({"missing": 1.0, "backbone": SMALL_NET}, r"missing=1\.0 needs a network that is given a mask; set mask_nc=1"),
        ({"predicts": "score"}, "predicts='score'; expected one of eps, x0, v, edm"),
        ({"spacing": "even"}, "spacing='even'"),
        ({"start": "lq"}, r"model\.start='lq'; expected one of noise, degraded"),
        ({"clip": "no"}, r"model\.clip='no'"),
        ({"codec": "image", "clip": 1.0}, r"codes have no bounds"),
        ({"level": {"type": "LogNormalLevel"}}, "LogNormalLevel draws noise for a process that keeps the picture"),
        ({"missing": -1.0}, r"missing=-1\.0 must be a value in \[0, 1\]"),
        ({"missing": 1.0, "condition_dropout": 0.1}, "set condition_dropout=0"),
        ({"level": {"type": "TimestepLevel"}, "sampling_scheduler": SHORT}, "knows its own schedule only"),
    ],
)
def test_wrong_settings_are_named(options, message):
    import dtir.testing  # noqa: F401

    with pytest.raises(ConfigError, match=message):
        make(**options)


def test_generative_samples_are_refused():
    lq, samples = batch()
    with pytest.raises(ConfigError, match="ConditionalDiffusionRestorer has no generative objective"):
        make()(lq, {**samples, "num_generative": 1}, mode="loss")
