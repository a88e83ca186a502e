import json
import os
import sys
from types import SimpleNamespace

import pytest
import torch
from test_layer_decay import PLAIN, STAGE, run
from tiny_run import CONFIG, SEVERAL_PROCESSES, run_process, train, train_command

from dtir.core.errors import ConfigError
from dtir.core.stage_hook import TrainStep
from dtir.regularizers import OrthogonalityLoss, OrthogonalProjection
from dtir.regularizers.cosines import GradientSums


class Recording(OrthogonalProjection):
    def gradient_policy(self, runner, step, loss_gradients):
        self.before = [g.clone() for g in loss_gradients["loss_generative"]]
        super().gradient_policy(runner, step, loss_gradients)
        self.after = {name: [g.clone() for g in part] for name, part in loss_gradients.items()}


def flat(tensors) -> torch.Tensor:
    return torch.cat([x.flatten() for x in tensors]).double()


def test_nothing_along_the_restoring_gradient_is_left(tmp_path):
    regularizer = Recording(shallow=0.5)
    runner = run(tmp_path, regularizer)
    names = [name for name, _ in runner.model.network.named_parameters()]
    shallow = [names[k] for k in regularizer.places]
    assert {name for name in shallow if name.startswith("backbone")} == {
        "backbone.head.weight",
        "backbone.head.bias",
        "backbone.blocks.0.weight",
        "backbone.blocks.0.bias",
    }
    generative, restoring = (
        flat(regularizer.after[name][k] for k in regularizer.places) for name in ("loss_generative", "loss_restoration")
    )
    assert abs(torch.cosine_similarity(generative, restoring, dim=0)) < 1e-5
    before = flat(regularizer.before[k] for k in regularizer.places)
    cosine = torch.cosine_similarity(before, restoring, dim=0)
    assert runner.train_loop.step.logged["grad_cosine"].item() == pytest.approx(cosine.item(), rel=1e-4)
    torch.testing.assert_close(before - generative, restoring * (before @ restoring / (restoring @ restoring)))
    others = [k for k in range(len(names)) if k not in regularizer.places]
    assert all(torch.equal(regularizer.before[k], regularizer.after["loss_generative"][k]) for k in others)


def test_without_one_objective_nothing_changes_and_nothing_is_nan(tmp_path):
    for share in (0.0, 1.0):
        stages = [{"name": "one", "iters": 2, "lr": 1e-3, "generative_share": share}]
        options = {"train_cfg.stages": stages, "custom_hooks": [], **PLAIN}
        plain = train(tmp_path / f"plain{share}", **options).model.state_dict()
        for kind in ("OrthogonalProjection", "OrthogonalityLoss"):
            regularizer = {"type": kind, **({"weight": 0.0} if kind == "OrthogonalityLoss" else {})}
            found = train(tmp_path / f"{kind}{share}", **{**options, "train_cfg.regularizers": [regularizer]})
            for key, value in found.model.state_dict().items():
                torch.testing.assert_close(value, plain[key], rtol=1e-5, atol=1e-7)


CHECK = """
import torch

from dtir.registry import REGULARIZERS
from dtir.regularizers import Regularizer


@REGULARIZERS.register_module()
class CheckAngle(Regularizer):
    \"\"\"Logs the cosine that the projection leaves in the reduced gradients.\"\"\"

    needs_loss_gradients = True
    priority = "LOW"

    def gradient_policy(self, runner, step, loss_gradients):
        places = next(r.places for r in runner.train_loop.regularizers if type(r).__name__ == "OrthogonalProjection")
        generative, restoring = (
            torch.cat([loss_gradients[name][k].flatten() for k in places]).double()
            for name in ("loss_generative", "loss_restoration")
        )
        step.logged["angle"] = torch.cosine_similarity(generative, restoring, dim=0).abs()
"""


@SEVERAL_PROCESSES
def test_two_processes_project_alike(tmp_path, monkeypatch):
    (tmp_path / "check_angle.py").write_text(CHECK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    config = tmp_path / "projected.py"
    # The decay comes after the projection in the list, and would turn the projected gradient if it came after it.
    config.write_text(
        f"_base_ = {str(CONFIG)!r}\n"
        "custom_imports = dict(imports=['dtir.testing', 'check_angle'])\n"
        "train_cfg = dict(\n"
        "    stages=[dict(name='finetune', iters=4, lr=1e-3, generative_share=0.5)],\n"
        "    regularizers=[dict(type='OrthogonalProjection'), dict(type='LayerDecay'), dict(type='CheckAngle')],\n"
        ")\n"
        "custom_hooks = []\n"
    )
    found = []
    for processes, batch in ((1, 8), (2, 4)):
        folder = tmp_path / str(processes)
        if processes == 1:
            train(folder, config)
        else:
            options = ["--cfg-options", f"train_dataloader.batch_size={batch}"]
            command = train_command(folder, *options, processes=processes)
            result = run_process([str(config) if word == str(CONFIG) else word for word in command])
            assert result.returncode == 0, result.stderr[-3000:]
        (log,) = folder.glob("*/vis_data/scalars.json")
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert all(line["angle"] < 1e-5 for line in lines if "angle" in line)
        found.append([(line["grad_cosine"], line["generative_t"]) for line in lines if "grad_cosine" in line])
    assert len(found[0]) == 2
    for one, two in zip(*found, strict=True):
        assert one == pytest.approx(two, abs=1e-4)


def test_cosines_of_known_gradients():
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    diagonal = (a + b) / 2**0.5
    same, cross = GradientSums.of(torch.stack([a, 3 * a, diagonal, b]), 2).cosines()
    assert same.item() == pytest.approx((1 + 0.5**0.5) / 2)
    assert cross.item() == pytest.approx((0.5**0.5 + 0) / 2)
    assert [x.item() for x in GradientSums.of(torch.stack([a]), 1).cosines()] == [1, 0]
    assert [x.item() for x in GradientSums.of(torch.stack([a, b]), 1).cosines()] == [1, 0]


def test_the_loss_is_differentiated_twice(tmp_path):
    """Against the explicit per-sample gradients, one backward pass each, and their double backward."""
    kept = {}

    class Keeping(OrthogonalityLoss):
        def after_loss(self, runner, step, losses):
            model, samples = runner.model, step.samples
            (features,) = self.features
            super().after_loss(runner, step, losses)
            params = [p for p in model.parameters() if p.requires_grad]
            kept["term"] = losses["loss_orthogonality"].detach().clone()
            kept["gradient"] = [
                torch.zeros_like(p) if g is None else g
                for p, g in zip(
                    params,
                    torch.autograd.grad(losses["loss_orthogonality"], params, retain_graph=True, allow_unused=True),
                    strict=True,
                )
            ]
            total = losses["loss_restoration"] + losses["loss_generative"]
            rows = [
                torch.autograd.grad(total, features, create_graph=True, retain_graph=True)[0][k]
                for k in range(len(features))
            ]
            n = samples["num_generative"]
            pairs = [(i, j) for i in range(len(rows)) for j in range(len(rows)) if i != j]
            cos = {(i, j): torch.cosine_similarity(rows[i].flatten(), rows[j].flatten(), dim=0) for i, j in pairs}
            same = [value for (i, j), value in cos.items() if (i < n) == (j < n)]
            cross = [value for (i, j), value in cos.items() if (i < n) != (j < n)]
            explicit = 0.5 * (1 - sum(same) / len(same) + (sum(cross) / len(cross)).abs())
            kept["expected"] = explicit.detach().clone()
            kept["expected_gradient"] = [
                torch.zeros_like(p) if g is None else g
                for p, g in zip(
                    params, torch.autograd.grad(explicit, params, retain_graph=True, allow_unused=True), strict=True
                )
            ]

    run(tmp_path, Keeping(weight=0.5, shallow=0.5), **{"train_cfg.stages": STAGE})
    torch.testing.assert_close(kept["term"], kept["expected"], rtol=1e-4, atol=1e-6)
    assert any(g.abs().max() > 0 for g in kept["gradient"])
    for found, expected in zip(kept["gradient"], kept["expected_gradient"], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_the_loss_is_the_same_where_the_objectives_take_a_pass_each(tmp_path):
    found = []
    for others in ([], [{"type": "LayerDecay", "a": 0.0}]):
        regularizers = [{"type": "OrthogonalityLoss"}, *others]
        options = {"train_cfg.stages": STAGE, "custom_hooks": [], **PLAIN, "train_cfg.regularizers": regularizers}
        runner = train(tmp_path / str(len(others)), **options)
        assert runner.model.separate_objectives == bool(others)
        found.append((runner.train_loop.step.logged, runner.model.state_dict()))
    (logged, state), (logged_apart, state_apart) = found
    assert logged["orth_cross"].item() != 0
    for name in ("orth_same", "orth_cross"):
        torch.testing.assert_close(logged_apart[name], logged[name], rtol=1e-4, atol=1e-6)
    for name, value in state.items():
        torch.testing.assert_close(state_apart[name], value, rtol=1e-4, atol=1e-6)


def test_the_loss_of_every_second_iteration_is_twice_as_strong(tmp_path):
    class Recording(OrthogonalityLoss):
        def after_loss(self, runner, step, losses):
            super().after_loss(runner, step, losses)
            self.terms = [*getattr(self, "terms", []), losses.get("loss_orthogonality")]
            self.logged = [*getattr(self, "logged", []), dict(step.logged)]

    stages = [{**STAGE[0], "iters": 4, "lr": 1e-9}]
    one, lazy = Recording(weight=0.0), Recording(weight=0.0, interval=2)
    for folder, regularizer in (("one", one), ("lazy", lazy)):
        regularizer.weight = 1e-9
        run(tmp_path / folder, regularizer, **{"train_cfg.stages": stages})
    assert [term is None for term in lazy.terms] == [False, True, False, True]
    # Shown in every line of the log, which is a mean over iterations.
    assert {"orth_same", "orth_cross", "grad_cosine"} <= lazy.logged[1].keys()
    for k in (0, 2):
        assert lazy.terms[k].item() == pytest.approx(2 * one.terms[k].item(), rel=1e-4)


def test_the_projection_logs_the_s_and_d_of_the_loss(tmp_path):
    for number, share in enumerate((0.25, 1.0, 0.0)):
        found = []
        for kind in ("OrthogonalityLoss", "OrthogonalProjection"):
            options = {"train_cfg.stages": [{**STAGE[0], "generative_share": share}], "custom_hooks": [], **PLAIN}
            runner = train(tmp_path / f"{kind}{number}", **options, **{"train_cfg.regularizers": [{"type": kind}]})
            found.append(runner.train_loop.step.logged)
        assert found[0]["orth_same"].item() != 0
        for name in ("orth_same", "orth_cross"):
            torch.testing.assert_close(found[1][name], found[0][name], rtol=1e-4, atol=1e-6)
        assert all(logged["grad_cosine"].isfinite() for logged in found)
        assert (found[0]["grad_cosine"] != 0) == (share == 0.25)


def test_the_projection_logs_what_all_micro_batches_show(tmp_path):
    found = []
    for batch, accumulate in ((8, 1), (2, 4)):
        split = {"train_dataloader.batch_size": batch, "train_cfg.accumulate": accumulate}
        options = {"train_cfg.stages": STAGE, "custom_hooks": [], **PLAIN, **split}
        regularizers = {"train_cfg.regularizers": [{"type": "OrthogonalProjection"}]}
        found.append(train(tmp_path / str(batch), **options, **regularizers).train_loop.step.logged)
    for name in ("orth_same", "orth_cross", "grad_cosine"):
        assert found[0][name].item() != 0
        torch.testing.assert_close(found[1][name], found[0][name], rtol=1e-4, atol=1e-6)


def test_frozen_shallow_blocks_have_no_term(tmp_path):
    stages = [{**STAGE[0], "trainable": ["network.backbone.tail.*"]}]
    options = {"train_cfg.stages": stages, "custom_hooks": [], **PLAIN}
    for kind in ("OrthogonalityLoss", "OrthogonalProjection"):
        runner = train(tmp_path / kind, **options, **{"train_cfg.regularizers": [{"type": kind}]})
        assert not {"orth_same", "grad_cosine"} & runner.train_loop.step.logged.keys()


@pytest.mark.parametrize("kind", [OrthogonalProjection, OrthogonalityLoss])
def test_wrong_settings_are_named(kind):
    with pytest.raises(ConfigError, match="interval=0"):
        OrthogonalityLoss(interval=0)
    with pytest.raises(ConfigError, match=f"{kind.__name__}: shallow=0"):
        kind(shallow=0)


def test_gradients_too_small_for_half_precision_are_taken_scaled():
    """A loss of 1e-9 per value: its gradient is 0 in float16, whose smallest number is 6e-8."""
    regularizer = OrthogonalityLoss()
    features = torch.ones(2, 3, dtype=torch.float16, requires_grad=True)
    losses = {"loss": (features.float() * torch.tensor([[1e-9], [2e-9]])).sum()}
    for scale, expected in ((1.0, 0.0), (65536.0, 1.0)):
        runner = SimpleNamespace(optim_wrapper=SimpleNamespace(scale_loss=lambda loss, scale=scale: scale * loss))
        found = regularizer._gradients(runner, TrainStep(None, 0), losses, [features], retain_graph=True)
        assert found.dtype == torch.float32
        same, _ = GradientSums.of(found, 0).cosines()
        assert same.item() == pytest.approx(expected, abs=1e-3)


def test_sums_of_parts_are_those_of_the_whole_and_give_the_slope_of_the_term():
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(5, 7, generator=generator, dtype=torch.float64).requires_grad_()
    units = torch.nn.functional.normalize(gradients, dim=1)
    table = units @ units.t()
    pairs = 2 * 1 + 3 * 2
    same = (table[:2, :2].sum() - 2 + table[2:, 2:].sum() - 3) / pairs
    term = 1 - same + table[:2, 2:].mean().abs()
    (expected,) = torch.autograd.grad(term, gradients)
    parts = [(gradients[[0, 2]].detach(), 1), (gradients[[1, 3, 4]].detach(), 1)]
    sums = GradientSums.of(*parts[0]) + GradientSums.of(*parts[1])
    found = torch.zeros_like(gradients)
    for rows, (_, n) in zip(([0, 2], [1, 3, 4]), parts, strict=True):
        own = torch.nn.functional.normalize(gradients[rows], dim=1)
        found += torch.autograd.grad((sums.slope(own.detach(), n) * own).sum(), gradients)[0]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.stack(sums.cosines()), torch.stack([same, table[:2, 2:].mean()]).detach())
