"""A backbone of one's own is tried once when a model is built, on a picture of odd size."""

import pytest
import torch
from torch import nn

from dtir.core.errors import ConfigError
from dtir.diffusion.schedulers import Scheduler
from dtir.engine.loops.checks import check_losses
from dtir.models import ConditionedNetwork
from dtir.models.backbones.traits import Traits
from dtir.models.probing import try_backbone, try_scheduler
from dtir.models.restorers import ConditionalDiffusionRestorer, SupervisedRestorer


class Own(nn.Module):
    """Right in all; the wrong ones below differ in one thing each."""

    def __init__(self):
        super().__init__()
        self.body = nn.ModuleList([nn.Conv2d(3, 3, 3, padding=1)])
        self.norm = nn.BatchNorm2d(3)

    def ordered_blocks(self):
        return ["body.0"]

    def forward(self, x):
        return x - self.norm(self.body[0](x))


class WrongChannels(Own):
    def forward(self, x):
        return super().forward(x)[:, :1]


class AnotherSize(Own):
    def forward(self, x):
        return super().forward(x)[..., : x.shape[-1] // 2 * 2]


class Multiples(Own):
    def forward(self, x):
        return nn.functional.pixel_shuffle(nn.functional.pixel_unshuffle(super().forward(x), 8), 8)


class GivesDict(Own):
    def forward(self, x):
        return {"out": super().forward(x)}


class NoGradient(Own):
    def forward(self, x):
        return super().forward(x).detach()


class NoBlocks(Own):
    def ordered_blocks(self):
        self.body[0]


class NamesNumbers(Own):
    def ordered_blocks(self):
        return [0]


class ListOfBlocks(Own):
    ordered_blocks = ["body.0"]  # noqa: RUF012


class GivesNothing(Own):
    def forward(self, x):
        return ()


class InPlace(Own):
    def forward(self, x):
        return super().forward(x.mul_(2).sub_(1))


class Doubles(Own):
    def forward(self, x):
        return super().forward(x).double()


class OfHalves(Own):
    def __init__(self):
        super().__init__()
        self.half()


class Undefined(Own):
    def forward(self, x):
        return super().forward(x) / x.std()


class OneOfTwo(Own):
    def forward(self, x):
        return super().forward(x)[:1]


class Timed(Own):
    def forward(self, x, t):
        return super().forward(x) * t


class Unfinished(Own):
    def forward(self, x):
        return super().forward(x) * self.gain


class NoModule:
    def ordered_blocks(self):
        return ["body.0"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (WrongChannels, r"makes a tensor \(1, 1, 17, 13\) .*expected \(1, 3, 17, 13\)"),
        (AnotherSize, r"makes a tensor \(1, 3, 17, 12\)"),
        (Multiples, r"fails on a picture of 17 x 13 pixels.*pads=False"),
        (GivesDict, "output is a dict; expected a picture"),
        (NoGradient, "no gradient of any of its parameters"),
        (NamesNumbers, r"ordered_blocks\(\) gave \[0\]; expected a list of the names \(texts\)"),
        (ListOfBlocks, r"ordered_blocks is \['body.0'\]; expected a method"),
        (GivesNothing, "output is empty; expected a picture"),
        (InPlace, "changes the pictures that it is given"),
        (Doubles, r"makes torch.float64 of pictures of torch.float32.*\.to\(x.dtype\)"),
        (OfHalves, "has parameters of torch.float16; expected torch.float32"),
        (Undefined, "makes infinite or undefined values"),
        (OneOfTwo, r"makes a tensor \(1, 3, 17, 13\) of pictures \(2, 3, 17, 13\)"),
        (Timed, r"takes \(x, t\); expected a forward that is called with the pictures alone"),
        (Unfinished, r"fails .*AttributeError: .*'gain' \(.*test_trial.py:\d+\)\.$"),
        (NoBlocks, r"ordered_blocks\(\) gave None; expected a list"),
    ],
)
def test_what_is_wrong_is_said(kind, message):
    with pytest.raises(ConfigError, match=rf"backbone {kind.__name__}.*{message}"):
        ConditionedNetwork(kind(), embed_dim=8)


def test_what_is_no_module_is_said():
    with pytest.raises(ConfigError, match=r"backbone NoModule is no torch\.nn\.Module"):
        try_backbone(NoModule())


def test_the_trial_leaves_no_trace():
    network = Own().train()
    network.body[0].eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    ConditionedNetwork(network, embed_dim=8)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert (network.training, network.body[0].training) == (True, False)
    assert all(p.grad is None for p in network.parameters())


def test_a_network_that_wants_multiples_may_say_so():
    network = Multiples()
    network.traits = Traits(pads=False, size_multiple=8)
    try_backbone(network)
    with torch.device("meta"):
        try_backbone(Own())


def test_a_frozen_network_needs_no_gradient():
    try_backbone(NoGradient().requires_grad_(False))


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_a_traced_network_is_tried_though_it_names_no_arguments():
    pictures = torch.zeros(1, 3, 16, 16)
    try_backbone(torch.jit.trace(nn.Conv2d(3, 3, 3, padding=1), pictures))
    with pytest.raises(ConfigError, match=r"makes a tensor \(1, 1, 17, 13\)"):
        try_backbone(torch.jit.trace(nn.Conv2d(3, 1, 3, padding=1), pictures))


class OwnProcess(Scheduler):
    def __init__(self):
        super().__init__(num_timesteps=9)

    def marginal(self, t):
        share = torch.as_tensor(t).view(-1, 1, 1, 1) / 10
        return 1 - share, share


class GivesNone(OwnProcess):
    def marginal(self, t):
        return None


class TensorsOnly(OwnProcess):
    def marginal(self, t):
        return super().marginal(t.flatten())


class InDoubles(OwnProcess):
    def marginal(self, t):
        return tuple(value.double() for value in super().marginal(t))


class Backwards(OwnProcess):
    def marginal(self, t):
        return super().marginal(t)[::-1]


class NoSteps(OwnProcess):
    def __init__(self):
        nn.Module.__init__(self)


@pytest.mark.parametrize(
    ("process", "message"),
    [
        (GivesNone(), "gives NoneType; expected a_t and sigma_t"),
        (TensorsOnly(), r"marginal\(9\) fails: AttributeError.*an int or a tensor"),
        (InDoubles(), "of torch.float64; expected finite numbers of torch.float32"),
        (Backwards(), "step 0 has as much noise as step 9"),
        (NoSteps(), "num_timesteps is None; expected an integer of at least 1"),
        (nn.Identity(), "is no dtir.diffusion.schedulers.Scheduler"),
    ],
)
def test_what_is_wrong_with_a_process_is_said(process, message):
    try_scheduler(OwnProcess())
    with pytest.raises(ConfigError, match=rf"scheduler {type(process).__name__}.*{message}"):
        try_scheduler(process)


class OwnConditional(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, x, condition, level):
        return self.body(torch.cat([x, condition], 1))


class ConditionalMultiples(OwnConditional):
    def forward(self, x, condition, level):
        return nn.functional.pixel_unshuffle(super().forward(x, condition, level), 8)


class OneChannel(OwnConditional):
    def forward(self, x, condition, level):
        return super().forward(x, condition, level)[:, :1]


class Detached(OwnConditional):
    def forward(self, x, condition, level):
        return super().forward(x, condition, level).detach()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (ConditionalMultiples, "fails in a step of two pictures of 49 x 33 pixels.*pad inside"),
        (OneChannel, r"gives a tensor \(2, 1, 49, 33\) where L2Loss compares it with \(2, 3, 49, 33\)"),
        (Detached, "no gradient of any of its parameters"),
    ],
)
def test_a_conditional_network_is_tried_before_the_training(kind, message):
    def model(backbone):
        return ConditionalDiffusionRestorer({"type": backbone}, ["noisy"], num_steps=2)

    check_losses(model(OwnConditional))
    with pytest.raises(ConfigError, match=rf"backbone {kind.__name__}.*{message}"):
        check_losses(model(kind))


class Doubling(Own):
    traits = Traits(scale=2)

    def forward(self, x):
        return nn.functional.interpolate(super().forward(x), scale_factor=2.0)


def test_a_network_that_enlarges_is_compared_with_pictures_of_its_size():
    check_losses(SupervisedRestorer(backbone={"type": Doubling}, tasks=["noisy"], losses=[{"type": "L1Loss"}]))


def test_the_losses_may_compare_features_of_vgg(tmp_path):
    sizes = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), *[(256, 256)] * 3, (256, 512), *[(512, 512)] * 7]
    places = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
    state = {}
    for place, (taken, given) in zip(places, sizes, strict=True):
        state[f"features.{place}.weight"] = torch.full((given, taken, 3, 3), 1e-3)
        state[f"features.{place}.bias"] = torch.zeros(given)
    torch.save(state, tmp_path / "vgg19.pth")
    losses = [{"type": "L1Loss"}, {"type": "PerceptualLoss", "weights": str(tmp_path / "vgg19.pth")}]
    check_losses(SupervisedRestorer(backbone={"type": Own}, tasks=["noisy"], losses=losses))
