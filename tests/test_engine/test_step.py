"""A step is a function of its samples, whatever processes and micro-batches they are split over."""

import pytest
import torch
from mmengine.logging import HistoryBuffer
from tiny_run import BARE, PLAIN, built, last_state, tiny_config, train

from dtir.core.errors import CheckpointError
from dtir.core.stage_hook import StageHook, TrainStep
from dtir.datasets import SampleKey
from dtir.engine import StagedRunner
from dtir.engine.hooks.logger import HISTORY_LENGTH
from dtir.engine.loops import staged_train_loop
from dtir.engine.runner import split_dependent
from dtir.registry import BACKBONES, REGULARIZERS
from dtir.regularizers import Regularizer
from dtir.testing import TinyBackbone
from dtir.testing.small_backbones import SMALL
from dtir.testing.stopping import stopped

MIXED = [{"name": "finetune", "iters": 4, "lr": 0.05, "generative_share": 0.25, "schedule": "constant"}]


def assert_close(first: dict, second: dict, atol: float = 1e-6) -> None:
    for key, value in first.items():
        torch.testing.assert_close(second[key], value, rtol=0, atol=atol, msg=lambda m, key=key: f"{key}: {m}")


def test_micro_batches_equal_one_batch_with_generative_samples_too(tmp_path):
    states = []
    for batch, accumulate in ((8, 1), (4, 2), (2, 4)):
        split = {"train_dataloader.batch_size": batch, "train_cfg.accumulate": accumulate}
        runner = train(tmp_path / str(batch), **BARE, **PLAIN, **split, **{"train_cfg.stages": MIXED})
        states.append(runner.model.state_dict())
    assert_close(states[0], states[1])
    assert_close(states[0], states[2])


def test_what_puts_a_batch_together_may_be_a_registered_function(tmp_path):
    loop = built(tmp_path, **BARE, **{"train_dataloader.collate_fn": {"type": "default_collate"}}).train_loop
    batch = loop.dataloader.collate_fn([{"inputs": torch.zeros(3, 2, 2)}] * 2)
    assert batch["inputs"].shape == (2, 3, 2, 2)


def test_a_resumed_run_may_split_its_steps_otherwise(tmp_path):
    options = {**BARE, **PLAIN, "train_cfg.stages": MIXED, "default_hooks.checkpoint.interval": 1}
    train(tmp_path / "whole", **options)
    runner = StagedRunner.from_cfg(tiny_config(tmp_path / "split", **options))
    with stopped(runner, "before_optim_step", 2):
        runner.train()
    split = {"train_dataloader.batch_size": 4, "train_cfg.accumulate": 2}
    train(tmp_path / "split", resume=True, **{**options, **split})
    assert_close(last_state(tmp_path / "whole")["state_dict"], last_state(tmp_path / "split")["state_dict"])


@BACKBONES.register_module()
class WithDropout(TinyBackbone):
    """Leaves out some of its input."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.drop = torch.nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(self.drop(x))


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_network_with_dropout_is_resumed_as_its_steps_were_split(tmp_path, dropout):
    """Its masks are those of a micro-batch; of a network without it nothing is refused."""
    options = {**BARE, "model.network.backbone": {"type": "WithDropout", "dropout": dropout}}
    saved = built(tmp_path / "saved", **options)
    saved.optim_wrapper = saved.build_optim_wrapper(saved.optim_wrapper)
    saved.save_checkpoint(tmp_path, "a.pth")
    message = r"batch_size=8, accumulate=1, 1 .*batch_size=4, accumulate=2, .*'backbone\.drop' treats"
    for batch, accumulate, refused in ((8, 1, False), (4, 2, dropout > 0)):
        split = {"train_dataloader.batch_size": batch, "train_cfg.accumulate": accumulate}
        runner = built(tmp_path / str(batch), **options, **split)
        if refused:
            with pytest.raises(CheckpointError, match=message):
                runner.resume(str(tmp_path / "a.pth"))
        else:
            runner.resume(str(tmp_path / "a.pth"))


@pytest.mark.parametrize(("rate", "found"), [(0.0, None), (0.1, "layers.0.residual_group.blocks.1.drop_path")])
def test_stochastic_depth_depends_on_the_split(rate, found):
    settings = {**SMALL["RAMSwinIR"], "drop_path_rate": rate}
    assert split_dependent(BACKBONES.build({"type": "RAMSwinIR", **settings})) == found


class NormedNet(torch.nn.Module):
    """With a batch normalisation that may be kept in evaluation mode, as frozen ones are."""

    def __init__(self, frozen: bool, **options) -> None:
        super().__init__()
        self.norm, self.frozen = torch.nn.BatchNorm2d(3, **options), frozen

    def train(self, mode: bool = True) -> "NormedNet":
        super().train(mode)
        self.norm.train(mode and not self.frozen)
        return self


@pytest.mark.parametrize("training", [True, False])
def test_a_frozen_batch_normalisation_does_not_depend_on_the_split(training):
    kinds = {None: NormedNet(frozen=True), "norm": NormedNet(frozen=False)}
    for found, network in kinds.items():
        network.train(training)
        before = [module.training for module in network.modules()]
        assert split_dependent(network) == found
        assert [module.training for module in network.modules()] == before
    # Without running statistics it takes those of the batch in evaluation mode, too.
    assert split_dependent(NormedNet(frozen=True, track_running_stats=False)) == "norm"


def test_what_layers_draw_differs_by_process_and_micro_batch_and_noise_does_not(tmp_path, monkeypatch):
    loop = built(tmp_path, **{"train_cfg.accumulate": 2}).train_loop
    loop.stage = loop.plan.at(0)
    batch = next(loop._batches(loop.stage))
    step = TrainStep(loop.stage, 0, accumulate=2)
    drawn, noise, slots = set(), set(), []
    monkeypatch.setattr(staged_train_loop, "get_world_size", lambda: 2)
    for micro in range(2):
        for rank in range(2):
            monkeypatch.setattr(staged_train_loop, "get_rank", lambda rank=rank: rank)
            samples = loop._prepare(step, micro, batch)["data_samples"]
            drawn.add(torch.initial_seed())
            noise.add(samples["noise_seed"])
            slots += samples["slots"].tolist()
    assert (len(drawn), len(noise)) == (4, 1)
    assert sorted(slots) == list(range(32))


def test_the_seed_of_the_run_reaches_the_data(tmp_path):
    key, crops = SampleKey(1, 0, 0, 0, False), {}
    for seed, own in ((0, None), (7, None), (7, 0)):
        options = {"randomness.seed": seed, **({} if own is None else {"train_dataloader.dataset.seed": own})}
        dataset = built(tmp_path, **options).train_loop.dataloader.dataset
        crops[seed, own] = dataset[key]["inputs"]
    assert not torch.equal(crops[0, None], crops[7, None])
    assert torch.equal(crops[0, None], crops[7, 0])


def test_histories_in_the_message_hub_stay_short(tmp_path):
    runner = built(tmp_path, **BARE, **{"train_cfg.stages": MIXED})
    runner.message_hub.log_scalars["train/lr"] = HistoryBuffer([0.0] * 5000, [1] * 5000)
    runner.train()
    history, _ = runner.message_hub.get_scalar("train/lr").data
    assert len(history) == HISTORY_LENGTH
    assert history[-1] == 0.05


def test_early_stopping_stops_saves_and_can_be_resumed(tmp_path):
    stages = [{"name": "one", "iters": 9, "lr": 1e-5}, {"name": "two", "iters": 3, "lr": 1e-5}]
    stopping = {"type": "EarlyStoppingHook", "monitor": "average/PSNR", "rule": "greater", "min_delta": 50.0}
    options = {"train_cfg.stages": stages, "train_cfg.val_interval": 2, "default_hooks.checkpoint.interval": 100}
    runner = train(tmp_path, **options, custom_hooks=[{**stopping, "patience": 1}])
    # The first validation sets the mark, the second does not pass it.
    assert runner.iter == 4
    assert last_state(tmp_path)["meta"]["iter"] == 4
    assert train(tmp_path, resume=True, **options, custom_hooks=[]).iter == 12


@REGULARIZERS.register_module()
class Logging(Regularizer):
    """Logs through the step it is handed, and keeps what it was handed."""

    def __init__(self) -> None:
        self.seen = []

    def after_loss(self, runner, step, losses):
        self.seen.append((step.stage.name, step.iteration, step.micro, len(step.samples["lq"])))

    def before_optim_step(self, runner, step):
        step.log(told=torch.tensor(float(step.iteration)))


def test_hooks_are_handed_the_step_and_log_through_it(tmp_path):
    stages = [{"name": "one", "iters": 1, "lr": 1e-3}, {"name": "two", "iters": 2, "lr": 1e-3}]
    options = {"train_cfg.stages": stages, "train_cfg.accumulate": 2, "train_dataloader.batch_size": 3}
    runner = train(tmp_path, **BARE, **options, **{"train_cfg.regularizers": [{"type": "Logging"}]})
    seen = runner.train_loop.regularizers[0].seen
    assert seen == [(name, k, micro, 3) for name, k in (("one", 0), ("two", 0), ("two", 1)) for micro in (0, 1)]
    assert runner.train_loop.step.logged["told"] == 1


@pytest.mark.parametrize("point", ["before_step", "after_loss", "before_optim_step", "after_step", "close"])
def test_hook_points_have_a_name_and_a_description(point):
    assert len(getattr(StageHook, point).__doc__) > 20


def test_numbers_too_small_for_a_cpus_fast_path_count_as_zero_in_a_training(tmp_path, denormals_kept):
    assert denormals_kept()
    StagedRunner.from_cfg(tiny_config(tmp_path, **BARE, **PLAIN))
    assert not denormals_kept()
