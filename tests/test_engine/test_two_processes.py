"""Two processes with two micro-batches of 2 train as one process with batches of 8."""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from mmengine.config import Config
from tiny_run import CONFIG, SEVERAL_PROCESSES, assert_same_state, last_state, run_process, train, train_command

pytestmark = SEVERAL_PROCESSES

# A stage that freezes a part, as what is reduced then changes.
FROZEN = "train_cfg.stages.1.trainable=['network.backbone.*']"
PARTS = ("train_dataloader.batch_size=2", "train_cfg.accumulate=2", FROZEN)


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("one_process")
    train(work_dir, **{"train_cfg.stages.1.trainable": ["network.backbone.*"]})
    return last_state(work_dir)


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


# What two processes train one after the other: `dtir.cli` with each list of words, and the code it is to end with. Last
# they tell what became of their group.
COURSE = """
import atexit, json, sys
import torch.distributed as dist

# Lines in one piece each, as both processes write to one pipe.
def tell(when):
    sys.stdout.write(f"group {when}: {dist.is_initialized()}\\n")
    sys.stdout.flush()


atexit.register(tell, "at the end")
from dtir.cli import main

for words, code in json.loads(sys.argv[1]):
    assert main([*words, "--launcher", "pytorch"]) == code, words
tell("in the run")
"""


class Trained(NamedTuple):
    """Runs of two processes, by their folder in `root`, and what they printed."""

    root: Path
    output: str

    def state(self, name: str) -> dict:
        return last_state(self.root / name)


@pytest.fixture(scope="module")
def stopped_by_the_launcher(tmp_path_factory) -> Path:
    """Folder of a run whose launcher was told to stop."""
    root = tmp_path_factory.mktemp("signal")
    config = stopped_config(root, "launcher")
    command = train_command(root / "run", "--cfg-options", *PARTS, processes=2)
    result = run_process([str(config) if word == str(CONFIG) else word for word in command])
    assert result.returncode != 0
    assert "SIGTERM: stopping with a checkpoint" in result.stdout + result.stderr
    assert last_state(root / "run")["meta"]["iter"] in range(6, 14)
    return root / "run"


@pytest.fixture(scope="module")
def trained(stopped_by_the_launcher, tmp_path_factory) -> Trained:
    """All in one start of the processes, which takes longer than the training."""
    root = tmp_path_factory.mktemp("two_processes")
    (root / "everything.py").write_text(EVERYTHING.format(base=str(CONFIG), batch_size=2, accumulate=2))
    stopped = str(stopped_config(root, "itself"))
    sharded = (*PARTS, "train_cfg.parallel=FSDP", "train_cfg.checkpoint_activations=True")
    sharded = ["--work-dir", str(root / "sharded"), "--cfg-options", *sharded, "default_hooks.checkpoint.max_keep=9"]
    course = [
        (["train", str(CONFIG), "--work-dir", str(root / "plain"), "--cfg-options", *PARTS], 0),
        (["train", str(CONFIG), "--work-dir", str(stopped_by_the_launcher), "--resume", "--cfg-options", *PARTS], 0),
        (["train", str(root / "everything.py"), "--work-dir", str(root / "everything")], 0),
        (["train", stopped, *sharded], 143),
        (["train", str(CONFIG), "--resume", *sharded], 0),
    ]
    script = root / "course.py"
    script.write_text(COURSE)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    result = run_process([*launcher, str(script), json.dumps(course)])
    assert result.returncode == 0, result.stderr[-3000:]
    assert "FutureWarning" not in result.stderr
    return Trained(root, result.stdout)


def test_two_processes_equal_one(one_process, trained):
    state = trained.state("plain")
    assert_close_states(one_process, state)
    assert state["meta"]["best"]["value"] == pytest.approx(one_process["meta"]["best"]["value"], abs=1e-4)


def test_a_signal_to_the_launcher_stops_all_with_one_checkpoint_that_resumes_to_the_same_bits(
    stopped_by_the_launcher, trained
):
    assert_same_state(last_state(stopped_by_the_launcher), trained.state("plain"))


def test_shards_train_as_copies_do(tmp_path, trained):
    """With frozen parts, clipping, averages, matching, validations and checkpointed blocks; stopped and resumed."""
    copies = trained.state("plain")
    # A checkpoint of shards is whole: one process goes on with one from the middle of a stage.
    path = str(trained.root / "sharded" / "iter_6.pth")
    train(tmp_path, load_from=path, resume=True, **{"train_cfg.stages.1.trainable": ["network.backbone.*"]})
    for state in (trained.state("sharded"), last_state(tmp_path)):
        assert_close_states(copies, state, atol=1e-5)
        assert state["matching"][0]["t_star"] == copies["matching"][0]["t_star"]
        assert state["meta"]["best"]["value"] == pytest.approx(copies["meta"]["best"]["value"], abs=1e-4)
        for index, moments in copies["optimizer"]["optimizer"]["state"].items():
            for key, value in moments.items():
                found = state["optimizer"]["optimizer"]["state"][index][key]
                torch.testing.assert_close(found, value, rtol=1e-3, atol=1e-5)


def test_all_regularizers_are_functions_of_the_whole_step(tmp_path, trained):
    """One process with 8 samples, one with 2 micro-batches of 4, and two with 2 micro-batches of 2."""
    states = []
    for accumulate in (1, 2):
        config = tmp_path / f"c{accumulate}.py"
        config.write_text(EVERYTHING.format(base=str(CONFIG), batch_size=8 // accumulate, accumulate=accumulate))
        train(tmp_path / str(accumulate), config)
        states.append(last_state(tmp_path / str(accumulate)))
    for state in (states[1], trained.state("everything")):
        assert_close_states(states[0], state)
        for key, value in states[0]["estimator"]["state_dict"].items():
            torch.testing.assert_close(state["estimator"]["state_dict"][key], value, rtol=0, atol=1e-5)
        for part in ("mean", "square"):
            for name, value in states[0]["importance"][part].items():
                torch.testing.assert_close(state["importance"][part][name], value, rtol=1e-3, atol=1e-6)


@pytest.mark.skipif(torch.cuda.is_available(), reason="gloo is for machines without CUDA devices")
def test_the_process_group_ends_before_the_interpreter(trained):
    """Left standing, gloo's threads abort about one process in ten at its very end, and with it a finished run."""
    assert trained.output.count("group in the run: True") == 2
    assert trained.output.count("group at the end: False") == 2
