"""Two processes with two micro-batches of 2 train as one process with batches of 8."""

import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from tiny_run import CONFIG, assert_same_state, last_state, run_process, train, train_command

# A stage that freezes a part, as what is reduced then changes.
FROZEN = "train_cfg.stages.1.trainable=['network.backbone.*']"
PARTS = ("train_dataloader.batch_size=2", "train_cfg.accumulate=2", FROZEN)


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("one_process")
    train(work_dir, **{"train_cfg.stages.1.trainable": ["network.backbone.*"]})
    return last_state(work_dir)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("two_processes")
    succeed(train_command(work_dir, "--cfg-options", *PARTS, processes=2))
    return last_state(work_dir)


def succeed(command: list[str]) -> None:
    result = run_process(command)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "FutureWarning" not in result.stderr


# Plain gradient descent shows a gradient that is too large or too small, and noisy routers whose noise is not shared.
EVERYTHING = """
_base_ = {base!r}
model = dict(network=dict(adapter=dict(type="MoEAdapter", rank=2, router_noise=0.5)))
train_dataloader = dict(batch_size={batch_size})
train_cfg = dict(
    accumulate={accumulate},
    stages=[
        dict(name="pretrain", iters=2, lr=0.01, generative_share=1.0),
        dict(name="finetune", iters=4, lr=0.01, generative_share=0.25, validate=True),
    ],
    regularizers=[
        dict(type="ParameterImportance", weight=0.03, num_samples=4, chunk=2),
        dict(type="ExpertBalance", weight=1.0),
        dict(type="OrthogonalityLoss"),
        dict(type="OrthogonalProjection"),
        dict(type="LayerDecay"),
    ],
)
optim_wrapper = dict(optimizer=dict(_delete_=True, type="SGD", lr=1.0), clip_grad=None)
custom_hooks = [
    dict(type="StageEMAHook", decay=0.9),
    dict(type="TimestepMatchingHook", num_images=2, batch_size=2),
    dict(type="BlindTaskHook", width=8, lr=2e-4),
]
"""


def assert_close_states(first: dict, second: dict, atol: float = 1e-6) -> None:
    for name in ("state_dict", "ema_state_dict"):
        for key, value in first[name].items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(
                    second[name][key], value, rtol=0, atol=atol, msg=lambda m, k=key: f"{k}: {m}"
                )


def test_two_processes_equal_one(one_process, two_processes):
    assert_close_states(one_process, two_processes)
    assert two_processes["meta"]["best"]["value"] == pytest.approx(one_process["meta"]["best"]["value"], abs=1e-4)


# Sends SIGTERM in the sixth step, to the launcher as Slurm does or to one process alone, and waits until it has come.
SIGNAL = """
import os, signal, time
from dtir.core.stage_hook import StageHook
from dtir.engine.hooks import PreemptionHook
from dtir.registry import HOOKS

@HOOKS.register_module()
class SendSignal(StageHook):
    def __init__(self, to):
        self.to = to

    def before_optim_step(self, runner, step):
        if runner.iter == 5 and int(os.environ["RANK"]) == 0:
            os.kill(os.getppid() if self.to == "launcher" else os.getpid(), signal.SIGTERM)
            hook = next(hook for hook in runner.hooks if isinstance(hook, PreemptionHook))
            deadline = time.monotonic() + 60
            while hook.asked is None and time.monotonic() < deadline:
                time.sleep(0.01)
"""

# Trains until the signal, and goes on.
TWICE = """
import sys
from dtir.cli import main
stopped, config, *arguments = sys.argv[1:]
assert main(["train", stopped, *arguments]) == 143
sys.exit(main(["train", config, "--resume", *arguments]))
"""


def stopped_config(folder: Path, to: str) -> Path:
    """The tiny config, with a signal in its course."""
    (folder / "send_signal.py").write_text(SIGNAL)
    path = folder / "stopped.py"
    hooks = [*(dict(hook) for hook in Config.fromfile(CONFIG).custom_hooks), {"type": "SendSignal", "to": to}]
    path.write_text(
        f"_base_ = {str(CONFIG)!r}\n"
        "custom_imports = dict(imports=['dtir.testing', 'send_signal'])\n"
        f"custom_hooks = {hooks!r}\n"
    )
    return path


def test_a_signal_to_the_launcher_stops_all_with_one_checkpoint_that_resumes_to_the_same_bits(tmp_path, two_processes):
    work_dir = tmp_path / "run"
    command = train_command(work_dir, "--cfg-options", *PARTS, processes=2)
    result = run_process([str(stopped_config(tmp_path, "launcher")) if c == str(CONFIG) else c for c in command])
    assert result.returncode != 0
    assert "SIGTERM: stopping with a checkpoint" in result.stdout + result.stderr
    assert 6 <= last_state(work_dir)["meta"]["iter"] < two_processes["meta"]["iter"]
    succeed(train_command(work_dir, "--resume", "--cfg-options", *PARTS, processes=2))
    assert_same_state(last_state(work_dir), two_processes)


def test_shards_train_as_copies_do(tmp_path, two_processes):
    """With frozen parts, clipping, averages, matching, validations and checkpointed blocks; stopped and resumed."""
    script, work_dir = tmp_path / "twice.py", tmp_path / "run"
    script.write_text(TWICE)
    options = (*PARTS, "train_cfg.parallel=FSDP", "train_cfg.checkpoint_activations=True")
    command = train_command(work_dir, "--cfg-options", *options, "default_hooks.checkpoint.max_keep=9", processes=2)
    place = command.index(str(CONFIG))
    command[place - 1 : place] = [str(script), str(stopped_config(tmp_path, "itself"))]
    succeed(command)
    # A checkpoint of shards is whole: one process goes on with one from the middle of a stage.
    path = str(work_dir / "iter_6.pth")
    train(tmp_path / "one", load_from=path, resume=True, **{"train_cfg.stages.1.trainable": ["network.backbone.*"]})
    for state in (last_state(work_dir), last_state(tmp_path / "one")):
        assert_close_states(two_processes, state, atol=1e-5)
        assert state["matching"][0]["t_star"] == two_processes["matching"][0]["t_star"]
        assert state["meta"]["best"]["value"] == pytest.approx(two_processes["meta"]["best"]["value"], abs=1e-4)
        for index, moments in two_processes["optimizer"]["optimizer"]["state"].items():
            for key, value in moments.items():
                found = state["optimizer"]["optimizer"]["state"][index][key]
                torch.testing.assert_close(found, value, rtol=1e-3, atol=1e-5)


def test_all_regularizers_are_functions_of_the_whole_step(tmp_path):
    """One process with 8 samples, one with 2 micro-batches of 4, and two with 2 micro-batches of 2."""
    states = []
    for number, (processes, accumulate) in enumerate(((1, 1), (1, 2), (2, 2))):
        config, work_dir = tmp_path / f"c{number}.py", tmp_path / str(number)
        config.write_text(
            EVERYTHING.format(base=str(CONFIG), batch_size=8 // (processes * accumulate), accumulate=accumulate)
        )
        if processes == 1:
            train(work_dir, config)
        else:
            command = train_command(work_dir, processes=processes)
            command[command.index(str(CONFIG))] = str(config)
            result = run_process(command)
            assert result.returncode == 0, result.stderr[-3000:]
        states.append(last_state(work_dir))
    for state in states[1:]:
        assert_close_states(states[0], state)
        for key, value in states[0]["estimator"]["state_dict"].items():
            torch.testing.assert_close(state["estimator"]["state_dict"][key], value, rtol=0, atol=1e-5)
        for part in ("mean", "square"):
            for name, value in states[0]["importance"][part].items():
                torch.testing.assert_close(state["importance"][part][name], value, rtol=1e-3, atol=1e-6)


LEAVES = """
import atexit
import torch.distributed as dist
from dtir.engine import StagedRunner

atexit.register(lambda: print("group at the end:", dist.is_initialized()))
runner = StagedRunner.__new__(StagedRunner)
runner._launcher, runner._distributed = "pytorch", True
runner.setup_env({})
print("group in the run:", dist.is_initialized())
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="gloo is for machines without CUDA devices")
def test_the_process_group_ends_before_the_interpreter(tmp_path):
    """Left standing, gloo's threads abort about one process in ten at its very end, and with it a finished run."""
    script = tmp_path / "leaves.py"
    script.write_text(LEAVES)
    result = run_process([sys.executable, "-m", "torch.distributed.run", "--standalone", str(script)])
    assert result.returncode == 0, result.stderr[-3000:]
    assert "group in the run: True" in result.stdout
    assert "group at the end: False" in result.stdout
