"""Two processes with batches of 4 train as one process with batches of 8."""

import sys

import pytest
import torch
from tiny_run import CONFIG, last_state, run_process, train, train_command


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("one_process")
    train(work_dir)
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
    dict(type="BlindTaskHook", width=8),
]
"""


def assert_close_states(first: dict, second: dict) -> None:
    for name in ("state_dict", "ema_state_dict"):
        for key, value in first[name].items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(
                    second[name][key], value, rtol=0, atol=1e-6, msg=lambda m, k=key: f"{k}: {m}"
                )


def test_two_processes_equal_one(tmp_path, one_process):
    result = run_process(train_command(tmp_path, "--cfg-options", "train_dataloader.batch_size=4", processes=2))
    assert result.returncode == 0, result.stderr[-3000:]
    two = last_state(tmp_path)
    assert_close_states(one_process, two)
    assert two["meta"]["best"]["value"] == pytest.approx(one_process["meta"]["best"]["value"], abs=1e-4)


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
