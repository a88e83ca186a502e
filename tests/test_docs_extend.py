"""docs/extend.md: every example is run, keeps the contract of its registry, and is 15 lines or so."""

import re
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import Registry
from torch import nn

import dtir.registry as registries
from dtir.config.check import part_problems
from dtir.core.stage_hook import TrainStep
from dtir.datasets.degradations import Degradation
from dtir.models.conditioning import ConditionedNetwork
from dtir.registry import SCOPE

PAGE = (Path(__file__).parents[1] / "docs" / "extend.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"^## (\w+)\n.*?```python\n(.*?)```", re.MULTILINE | re.DOTALL)
SECTIONS = dict(EXAMPLE.findall(PAGE))
KINDS = (
    "Backbone Codec Loss Metric Degradation Transform Dataset Regularizer Hook Scheduler Sampler Operator Guidance "
    "Adapter Restorer"
)
LONGEST = 20


@pytest.fixture(scope="module")
def parts() -> dict[str, type]:
    """The classes of all examples by their section."""
    found = {}
    known = [value for value in vars(registries).values() if isinstance(value, Registry)]
    for registry in known:
        registry.import_from_location()
    for title, code in SECTIONS.items():
        before = {registry: set(registry.module_dict) for registry in known}
        exec(compile(code, f"docs/extend.md {title}", "exec"), {"__name__": "docs_extend"})
        (added,) = ((r, r.module_dict[n]) for r in known for n in set(r.module_dict) - before[r])
        found[title] = added[1]
    yield found
    for registry in known:
        for name in [name for name in registry.module_dict if name.startswith("Docs")]:
            del registry.module_dict[name]


def test_every_kind_of_part_has_an_example():
    assert sorted(SECTIONS) == sorted(KINDS.split())
    others = PAGE[PAGE.index("## The others") :]
    own = {name for name, value in vars(registries).items() if isinstance(value, Registry) and value.scope == SCOPE}
    shown = {name for name in own if f"{name}.register_module" in PAGE or f"`{name}`" in others}
    assert own - shown == set()


@pytest.mark.parametrize("title", SECTIONS)
def test_an_example_is_short(title):
    assert len([line for line in SECTIONS[title].splitlines() if line.strip()]) <= LONGEST


def test_backbone(parts):
    network = parts["Backbone"]()
    x = torch.rand(1, 3, 7, 5)
    assert network(x).shape == x.shape
    assert ConditionedNetwork(network)(x, torch.tensor([3])).shape == x.shape


def test_codec(parts):
    codec, picture = parts["Codec"](), torch.rand(1, 3, 7, 5)
    z, kept = codec.encode(picture)
    assert z.shape == (1, codec.channels, 4, 3)
    torch.testing.assert_close(codec.decode(z, kept, picture), picture)


def test_loss_and_metric(parts):
    x, y = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.2)
    assert parts["Loss"]()(x, y).tolist() == pytest.approx([0.1 * (0.2 - 0.05)] * 2)
    assert parts["Metric"]().measure(x, y).tolist() == pytest.approx([51, 51])


def test_degradation_and_transform(parts):
    assert issubclass(parts["Degradation"], Degradation)
    image = np.ones((40, 30, 3), np.float32)
    degraded = parts["Degradation"]()(image, np.random.default_rng(0), 1.0)
    assert 0.9 < degraded.mean() < 1
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    same = parts["Transform"]()({"lq": picture, "gt": picture, "rng": np.random.default_rng(0)})
    assert same["lq"] is same["gt"]
    assert not np.array_equal(same["gt"], picture)


def test_dataset(parts, tmp_path):
    for suffix in ("lq", "gt"):
        cv2.imwrite(str(tmp_path / f"a_{suffix}.png"), np.full((20, 20, 3), 9, np.uint8))
    data = parts["Dataset"]("noisy", str(tmp_path), patch=16)
    assert data[0]["data_samples"]["name"] == "a_lq"
    assert data.training_item(0, np.random.default_rng(0))["inputs"].shape == (3, 16, 16)


def test_regularizer_and_hook(parts):
    p, lines = nn.Parameter(torch.zeros(2)), []
    p.grad = torch.tensor([1e-9, 1.0])
    runner = SimpleNamespace(
        train_loop=SimpleNamespace(trainable_parameters=[p]), logger=SimpleNamespace(info=lines.append)
    )

    parts["Regularizer"]().before_optim_step(runner, TrainStep(None, 0))
    hook, stage = parts["Hook"](), SimpleNamespace(name="pretrain")
    for fresh in (True, False):
        hook.before_stage(runner, stage, fresh=fresh)
        hook.after_stage(runner, stage)

    assert p.grad.tolist() == [0, 1]
    assert lines == ["pretrain: 0 s since it was begun", "pretrain: 0 s since it was resumed"]


def test_scheduler_and_sampler(parts):
    scheduler = parts["Scheduler"](10)
    a, sigma = scheduler.marginal(torch.arange(11))
    assert torch.allclose(a**2 + sigma**2, torch.ones_like(a))
    assert scheduler.marginal(0)[1].item() == 0
    x0, eps = torch.rand(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    start = scheduler.add_noise(x0, eps, 10)
    result = parts["Sampler"]().sample(lambda x, t: scheduler.eps_from_x0(x, x0, int(t[0])), scheduler, start)
    assert torch.allclose(result.sample, x0, atol=1e-4)


def test_operator_and_guidance(parts):
    operator, x = parts["Operator"](), torch.rand(1, 3, 4, 4)
    y = operator.A(x)
    assert torch.equal(operator.A(operator.A_pinv(y)), y)
    assert torch.isclose((operator.A(x) * y).sum(), (x * operator.At(y)).sum())
    scheduler = parts["Scheduler"](10)
    guidance = parts["Guidance"](operator, y)
    start = guidance.start(scheduler, x, torch.Generator().manual_seed(0))
    result = guidance.sample(lambda x, t: torch.zeros_like(x), scheduler, start)
    assert torch.allclose(operator.A(result.sample), y, atol=1e-5)


def test_adapter(parts):
    adapter, x = parts["Adapter"](4, 6), torch.rand(2, 4, 3, 3)
    assert torch.equal(adapter(x, torch.rand(2, 6)), x)


def test_restorer(parts):
    model = parts["Restorer"]({"type": "DocsNet"}, ["noisy"], tile=16)
    samples = {"gt": torch.rand(2, 3, 8, 8), "num_generative": 0}
    model.losses(torch.rand(2, 3, 8, 8), samples)["loss"].backward()
    assert all(p.grad is not None for p in model.parameters())


def test_the_config_check_reads_the_annotations_of_examples(parts):
    assert part_problems({"width": "wide"}, "backbone", parts["Backbone"]) == [
        "backbone.width is 'wide'; expected an integer."
    ]
    assert part_problems({"patch": 8}, "data", parts["Dataset"]) == [
        "data: missing task, data_root of DocsSuffixPairs."
    ]
