"""What one run does at which step, against what it should do by the config: no other run of the same code tells."""

from types import SimpleNamespace

import pytest
import torch
from tiny_run import built, tiny_config

from dtir.core.errors import ConfigError
from dtir.core.stage_hook import StageHook, TrainStep
from dtir.engine import StagedRunner
from dtir.engine.hooks import StageLoggerHook
from dtir.engine.optim import learning_rate
from dtir.engine.stages import Stage

STAGES = [
    {"name": "one", "iters": 3, "lr": 1e-2, "warmup_iters": 2},
    {"name": "two", "iters": 4, "lr": 4e-3, "min_lr": 1e-3, "schedule": "linear"},
]


def weights(model: torch.nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.network.parameters()]


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(map(torch.equal, first, second))


class Recorder(StageHook):
    """Keeps what it sees at every step and every validation."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self.rates, self.states, self.modes, self.averages, self.trained, self.validated = [], [], [], [], [], []

    def after_loss(self, runner, step, losses):
        self.modes.append({module.training for module in runner.model.network.modules()})

    def before_optim_step(self, runner, step):
        self.rates.append(runner.optim_wrapper.param_groups[0]["lr"])
        self.states.append(len(runner.optim_wrapper.optimizer.state))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        (ema,) = (hook for hook in runner.hooks if type(hook).__name__ == "StageEMAHook")
        self.averages.append(weights(ema.ema_model.module))
        self.trained.append(weights(runner.model))

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        if batch_idx == 0:
            self.validated.append((runner.iter, weights(runner.model), runner.model.training))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    options = {"train_cfg.stages": STAGES, "train_cfg.val_interval": 2, "default_hooks.checkpoint.interval": 100}
    options["custom_hooks"] = [{"type": "StageEMAHook", "decay": 0.9}]
    runner = StagedRunner.from_cfg(tiny_config(tmp_path_factory.mktemp("course"), **options))
    recorder = Recorder()
    runner.register_hook(recorder)
    runner.train()
    return recorder


def test_the_learning_rate_follows_the_step_within_the_stage(recorded):
    # A warm-up to 1e-2 in two steps; then linear from 4e-3 to 1e-3 in four.
    assert recorded.rates == pytest.approx([5e-3, 1e-2, 1e-2, 4e-3, 3.25e-3, 2.5e-3, 1.75e-3])
    assert recorded.rates[3:] == [learning_rate(Stage(**STAGES[1]), k) for k in range(4)]


def test_a_stage_begins_without_moments(recorded):
    assert [number == 0 for number in recorded.states] == [True, False, False, True, False, False, False]


def test_a_stage_begins_its_own_average(recorded):
    starts = [same(a, w) for a, w in zip(recorded.averages, recorded.trained, strict=True)]
    assert starts == [True, False, False, True, False, False, False]
    # The second update of a stage keeps (1 + 1) / (10 + 1) of the first.
    for average, first, second in zip(recorded.averages[4], *recorded.trained[3:5], strict=True):
        torch.testing.assert_close(average, 2 / 11 * first + 9 / 11 * second)


def test_validations_see_the_average_and_training_goes_on_in_training_mode(recorded):
    assert [iteration for iteration, *_ in recorded.validated] == [2, 4, 6, 7]
    for iteration, seen, training in recorded.validated:
        assert not training
        assert same(seen, recorded.averages[iteration - 1])
        assert same(seen, recorded.trained[iteration - 1]) == (iteration == 4)
    assert recorded.modes == [{True}] * 7


def test_a_number_of_tasks_counts_in_the_order_of_the_matched_steps(tmp_path):
    loop = built(tmp_path, **{"train_cfg.stages": [{"name": "one", "iters": 1, "lr": 1.0, "tasks": 2}]}).train_loop
    loop.runner.model.matched_t.copy_(torch.tensor([9, 2, 5]))
    assert loop.stage_tasks(loop.plan.at(0)) == [1, 2]


@pytest.mark.parametrize(("mixing", "counts"), [("balanced", [4, 4, 4]), ("proportional", [6, 3, 3])])
def test_the_mixing_of_the_stage_is_the_samplers(tmp_path, mixing, counts):
    stages = [{"name": "one", "iters": 3, "lr": 1.0, "mixing": mixing}]
    options = {"train_cfg.stages": stages, "train_dataloader.batch_size": 4}
    for k in (1, 2):
        options[f"train_dataloader.dataset.datasets.{k}.files"] = ["rocket.jpg"]
    loop = built(tmp_path, **options).train_loop
    loop.stage = loop.plan.at(0)
    loop._batches(loop.stage)
    tasks = [key.task for batch in loop.batch_sampler for key in batch]
    assert [tasks.count(task) for task in range(3)] == counts


def test_losses_are_logged_as_means(tmp_path):
    step = TrainStep(None, 0, accumulate=2)
    for value in (1.0, 4.0):
        step.add_losses({"loss": torch.tensor(value)})
    assert step.losses["loss"].item() == 2.5

    written = []
    loop = SimpleNamespace(
        data_time=0.5,
        stage=SimpleNamespace(end=9, index=0, name="s", start=0, settings=Stage("s", 9, 1.0)),
        max_iters=9,
    )
    runner = SimpleNamespace(
        iter=0,
        train_loop=loop,
        optim_wrapper=SimpleNamespace(grad_norm=None, lr=0.1, skipper=None),
        visualizer=SimpleNamespace(add_scalars=lambda scalars, **_: written.append(scalars)),
        logger=SimpleNamespace(info=lambda line: None),
    )
    hook = StageLoggerHook(interval=2)
    hook.json_log_path = "x"
    hook._start_window()
    for runner.iter, value in enumerate((1.0, 4.0, 6.0, 10.0)):
        hook.after_train_iter(runner, runner.iter, outputs={"loss": torch.tensor(value)})
    # Each of the iterations since the last line.
    assert [(line["loss"], line["data_time"]) for line in written] == [(2.5, 0.5), (8.0, 0.5)]


def test_options_of_the_loader_reach_it_or_are_refused(tmp_path):
    kept = {"train_dataloader.num_workers": 1, "train_dataloader.persistent_workers": False}
    assert not built(tmp_path / "a", **kept).train_loop.dataloader.persistent_workers
    with pytest.raises(ConfigError, match="train_dataloader: persistent_workers option needs num_workers > 0"):
        built(tmp_path / "b", **{"train_dataloader.num_workers": 0, "train_dataloader.persistent_workers": True})
