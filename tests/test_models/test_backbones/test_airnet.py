from argparse import Namespace

import pytest
import torch
from parity_case import ParityCase
from torch import nn

from dtir.core.errors import ConfigError
from dtir.models.backbones import AirNet
from dtir.models.backbones.image.airnet import DGM

SMALL = {"batch_size": 1, "n_groups": 2, "n_blocks": 2, "n_feats": 8}


def steered(**settings):
    """A small network whose taps move."""
    torch.manual_seed(0)
    model = AirNet(**SMALL | settings)
    for p in model.R.parameters():
        if not p.any():
            nn.init.normal_(p, std=0.1)
    return model


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@torch.no_grad()
def test_module_equals_the_published_one(layout, parity_dir):
    case = ParityCase(parity_dir, "airnet_dgm")
    module = case.load(DGM(**case.meta["kwargs"]))
    assert sum(p.numel() for p in module.parameters()) == case.meta["params"]
    x, inter, y = (torch.from_numpy(case.arrays[name]) for name in ("x0", "x1", "y0"))
    found = module(x.to(memory_format=layout), inter.to(memory_format=layout))
    assert (found - y).abs().max() <= 1e-5 * y.abs().max()


def test_published_size_and_keys():
    with torch.device("meta"):
        model = AirNet()
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == 8.93
    state = model.state_dict()
    assert state["E.E.queue"].shape == (256, 1280)
    assert state["E.E.queue_ptr"].shape == (1,)
    for key, shape in {
        "R.head.0.weight": (64, 3, 3, 3),
        "R.body.4.body.4.dgm2.dcn.conv_offset_mask.weight": (27, 128, 3, 3),
        "R.body.0.body.0.dgm1.sft.conv_gamma.2.weight": (64, 64, 1, 1),
        "R.body.4.body.5.bias": (64,),
        "R.body.5.bias": (64,),
        "R.tail.0.bias": (3,),
        "E.E.encoder_q.E_pre.backbone.3.weight": (64, 64, 3, 3),
        "E.E.encoder_k.E.1.shortcut.1.running_var": (256,),
        "E.E.encoder_k.mlp.2.weight": (256, 256),
    }.items():
        assert state[key].shape == shape


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ({"opt": Namespace(batch_size=3)}, 768),
        ({"opt": {"batch_size": 1}}, 256),
        ({"batch_size": 2}, 512),
        ({}, 1280),
    ],
)
def test_length_of_the_queue(settings, keys):
    with torch.device("meta"):
        assert AirNet(**settings).E.E.queue.shape == (256, keys)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (17, 4)])
def test_any_size(size, training):
    x = torch.rand(2, 3, *size)
    assert steered().train(training)(x).shape == x.shape


def test_blocks_are_ordered_and_called():
    model = AirNet(**SMALL)
    names = model.ordered_blocks()
    assert names == ["R.body.0.body.0", "R.body.0.body.1", "R.body.1.body.0", "R.body.1.body.1"]
    called = []
    for name in names:
        model.get_submodule(name).register_forward_hook(lambda _, args, out, name=name: called.append(name))
    model(torch.rand(1, 3, 8, 8))
    assert called == names


def test_contrast_only_in_training_and_with_keys():
    model = steered()
    x, key = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    restored, logits, labels = model(x, key)
    assert restored.shape == x.shape
    assert logits.shape == (2, 1 + 32)
    assert labels.tolist() == [0, 0]
    torch.testing.assert_close(model(x), restored)
    model.eval()
    torch.testing.assert_close(model(x, key), model(x))


def test_logits_are_cosines_with_the_key_and_the_queue():
    model = steered()
    moco = model.E.E
    queue = moco.queue.clone()
    x, key = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    logits = model(x, key)[1]
    query, keys = (nn.functional.normalize(e(p)[1], dim=1) for e, p in ((moco.encoder_q, x), (moco.encoder_k, key)))
    torch.testing.assert_close(logits[:, 0] * 0.07, nn.functional.cosine_similarity(query, keys))
    torch.testing.assert_close(logits[:, 1:] * 0.07, query @ queue)
    torch.testing.assert_close(moco.queue[:, :2], keys.t())
    torch.testing.assert_close(moco.queue[:, 2:], queue[:, 2:])
    assert moco.queue_ptr.tolist() == [2]


def test_key_encoder_follows_the_query_encoder():
    model = steered()
    query, key = model.E.E.encoder_q.mlp[0].weight, model.E.E.encoder_k.mlp[0].weight
    torch.testing.assert_close(query, key)
    assert not key.requires_grad
    with torch.no_grad():
        query.add_(1)
    before = key.clone()
    model(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8))
    torch.testing.assert_close(key, 0.999 * before + 0.001 * query)


def test_queue_goes_round():
    model = steered()
    for _ in range(11):
        model(torch.rand(3, 3, 4, 4), torch.rand(3, 3, 4, 4))
    assert model.E.E.queue_ptr.tolist() == [1]


def test_restoration_and_contrast_train_all_that_is_theirs():
    model = steered()
    restored, logits, labels = model(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8))
    (restored.abs().mean() + nn.functional.cross_entropy(logits, labels)).backward()
    silent = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert silent == []
    assert all(p.grad is None for p in model.E.E.encoder_k.parameters())


def test_per_sample_gradients_by_vmap_equal_a_loop():
    model = steered(n_groups=1).double().eval()
    x = torch.rand(2, 3, 6, 6, dtype=torch.float64)
    parameters = {name: p.detach() for name, p in model.R.named_parameters()}

    def loss(parameters, picture):
        parameters = {f"R.{name}": p for name, p in parameters.items()}
        return torch.func.functional_call(model, parameters, (picture[None],)).square().sum()

    together = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    for i, picture in enumerate(x):
        alone = torch.func.grad(loss)(parameters, picture)
        torch.testing.assert_close({name: grad[i] for name, grad in together.items()}, alone)


def test_wrong_settings_are_named():
    with pytest.raises(ConfigError, match="has no batch_size"):
        AirNet(opt={"epochs": 3})
    with pytest.raises(ConfigError, match="batch_size=0 must be positive"):
        AirNet(batch_size=0)
