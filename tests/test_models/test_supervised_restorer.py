import pytest
import torch
from torch import nn

from dtir.core.errors import ConfigError
from dtir.models import SupervisedRestorer
from dtir.models.backbones.traits import Traits
from dtir.registry import BACKBONES
from dtir.testing import TinyBackbone


@BACKBONES.register_module()
class TwoStages(TinyBackbone):
    """Two full pictures and a small one, centred values."""

    def forward(self, x):
        final = super().forward(x)
        return [final, (final + 1, final[..., ::2, ::2])]


def make(backbone="TwoStages", **options) -> SupervisedRestorer:
    torch.manual_seed(0)
    return SupervisedRestorer({"type": backbone}, tasks=["hazy", "rainy"], **options)


def batch(generative=0) -> tuple[torch.Tensor, dict]:
    lq, gt = torch.rand(2, 2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return lq, {"gt": gt, "task": torch.tensor([0, 1]), "num_generative": generative}


def test_losses_are_weighted_and_summed_over_outputs_of_the_targets_size():
    model = make(losses=[{"type": "L1Loss"}, {"type": "L2Loss", "weight": 0.5}])
    lq, samples = batch()
    final = TinyBackbone.forward(model.backbone, lq)
    expected = sum(
        (out - samples["gt"]).abs().mean() + 0.5 * (out - samples["gt"]).square().mean() for out in (final, final + 1)
    )
    torch.testing.assert_close(model(lq, samples, mode="loss")["loss_restoration"], expected)


@pytest.mark.parametrize("weight", ["x", -1, None])
def test_a_weight_is_a_number(weight):
    with pytest.raises(ConfigError, match=r"model\.losses\[1\]\.weight is .*; expected a number >= 0"):
        make(losses=[{"type": "L1Loss"}, {"type": "L2Loss", "weight": weight}])


def test_without_deep_supervision_the_final_picture_alone_counts():
    lq, samples = batch()
    expected = (TinyBackbone.forward(make().backbone, lq) - samples["gt"]).abs().mean()
    found = make(deep_supervision=False)(lq, samples, mode="loss")["loss_restoration"]
    torch.testing.assert_close(found, expected)


def test_outputs_that_are_no_pictures_are_not_supervised():
    lq, samples = batch()
    restorer = SupervisedRestorer({"type": "URetinexNet", "round": 1}, tasks=["low-light", "rainy"])
    expected = (restorer.restore(lq, torch.zeros(2)) - samples["gt"]).abs().mean()
    torch.testing.assert_close(restorer(lq, samples, mode="loss")["loss_restoration"], expected)


@BACKBONES.register_module()
class TwiceAsLarge(TinyBackbone):
    traits = Traits(scale=2)

    def forward(self, x):
        return super().forward(x).repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)


def test_a_gt_of_another_scale_is_named():
    lq, samples = batch()
    message = "of LQ 8x8 and GT 8x8, TwiceAsLarge restores 16x16: it has a scale of 2, and GT is to have 2 times"
    with pytest.raises(ConfigError, match=message):
        make("TwiceAsLarge")(lq, samples, mode="loss")


def test_restores_with_the_first_output_and_no_time():
    model = make()
    lq, samples = batch()
    out = model(lq, samples)
    assert torch.equal(out, TinyBackbone.forward(model.backbone, lq))
    assert torch.equal(out, model.restore(lq, torch.tensor([5, 7])))
    assert model.num_timesteps == 0
    assert model.matched_t.tolist() == [0, 0]


def test_predicts_pictures():
    model = make("TinyBackbone", tile=16, tile_overlap=4)
    lq = torch.randint(0, 256, (3, 20, 24), dtype=torch.uint8)
    (sample,) = model([lq], [{"task": 1}], mode="predict")
    assert sample["pred"].shape == lq.shape
    assert sample["pred"].min() >= 0
    assert sample["pred"].max() <= 1


def test_state_dict_is_the_backbones():
    model = make("TinyBackbone")
    assert set(model.state_dict()) == {"matched_t", *(f"backbone.{key}" for key in TinyBackbone().state_dict())}
    assert not [m for m in model.criterion.modules() if isinstance(m, nn.Conv2d)]


def test_wrong_settings_are_named():
    with pytest.raises(ConfigError, match=r"model\.losses is empty"):
        make(losses=[])
    with pytest.raises(ConfigError, match="set generative_share=0"):
        make()(*batch(generative=1), mode="loss")
