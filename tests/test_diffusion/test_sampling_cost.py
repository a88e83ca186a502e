"""No step of a sampler waits for the device, copies from the host, or builds a schedule anew."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dtir.diffusion.samplers import BridgeSampler, Sampler
from dtir.diffusion.schedulers import Bridge, Scheduler
from dtir.registry import GUIDANCE, SAMPLERS, SCHEDULERS
from dtir.testing.sampling import sampling_cases

# No other side of a tensor in these runs comes near it.
T = 1009
CASES = list(sampling_cases(T))


class Watch(TorchDispatchMode):
    """Raises where values of a device are asked for, cross between devices, or are made for a whole schedule."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        inputs, outputs = tensors(args), tensors(out)
        assert function is not torch.ops.aten._local_scalar_dense.default, "a value is read on the host"
        devices = {tensor.device.type for tensor in (*inputs, *outputs) if tensor.ndim or tensor.numel() > 1}
        assert devices <= {"meta"}, f"{function} is computed on, or copied from, {devices}"
        if not function.is_view:
            assert all(side not in range(T - 2, T + 3) for tensor in outputs for side in tensor.shape), (
                f"{function} makes {[tuple(tensor.shape) for tensor in outputs]}, as long as the schedule"
            )
        return out


def tensors(tree) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.process}-{case.sampler}")
def test_no_step_waits_copies_or_rebuilds(case):
    """On the meta device, where reading a value is an error by itself."""
    run = case.prepare("meta", 16, 16)
    # What is made once per run: constants of the operator on the device.
    run(2)
    with Watch():
        result = run(3)
    assert result.sample.device.type == "meta"
    assert result.num_evals >= 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: x.cpu(), "meta"),
        (lambda x: x + torch.ones(3, 1).to("meta"), "is computed on, or copied from"),
        (lambda x: torch.linspace(0, 1, T, device="meta"), "as long as the schedule"),
        (lambda x: torch.ones((), dtype=torch.float64).item(), "a value is read"),
    ],
)
def test_the_watch_sees(call, message):
    with pytest.raises((AssertionError, RuntimeError, NotImplementedError), match=message), Watch():
        call(torch.empty(1, 3, 4, 4, device="meta"))


def test_every_process_sampler_and_guidance_is_watched():
    seen = {case.process for case in CASES} | {case.sampler.split(",")[0].rstrip("+") for case in CASES}
    for registry, kinds in (
        (SCHEDULERS, (Scheduler, Bridge)),
        (SAMPLERS, (Sampler, BridgeSampler)),
        (GUIDANCE, Sampler),
    ):
        classes = {kind.__name__ for kind in registry.module_dict.values() if issubclass(kind, kinds)}
        assert classes <= seen
