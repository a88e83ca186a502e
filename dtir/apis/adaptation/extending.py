"""A trained network made ready for one task more: the time step at which it is learned, and parts of its own."""

import copy

import torch
from mmengine.registry import DefaultScope
from torch import Tensor

from dtir.core.errors import ConfigError
from dtir.core.seeding import derive_seed
from dtir.evaluation.metrics.functional import psnr
from dtir.models import DiffusionRestorer
from dtir.registry import RESTORERS, SCOPE

# Of the time steps, every how many one is tried to start from.
JUDGED_EVERY = 5


@torch.inference_mode()
def best_start(model: DiffusionRestorer, crops: tuple[Tensor, Tensor]) -> int:
    """The time step at which the network as it is restores the crops best, of those of its tasks and every fifth."""
    lq, gt = crops
    steps = sorted({*model.matched_t.clamp(min=0).tolist(), *range(0, model.num_timesteps + 1, JUDGED_EVERY)})
    steps = [t for t in steps if t not in model.network.extended_steps]

    def score(t: int) -> float:
        restored = model.restore(lq, torch.full((len(lq),), t, device=lq.device))
        return psnr(restored.clamp(0, 1), gt, eps=1e-10).mean().item()

    return max(steps, key=score)


def free_step(model: DiffusionRestorer, start: int) -> int:
    """The time step nearest to `start` that no task has.

    Raises:
        ConfigError: All are taken.
    """
    taken = {*model.matched_t.tolist(), *model.network.extended_steps}
    free = [t for t in range(1, model.num_timesteps + 1) if t not in taken]
    if not free:
        raise ConfigError(f"all {model.num_timesteps} time steps of the network are taken by tasks.")
    return min(free, key=lambda t: abs(t - start))


def extended(old: DiffusionRestorer, name: str, step: int, start: int, rank: int, seed: int) -> DiffusionRestorer:
    """A copy of the network with one task more, which restores as before at all other time steps."""
    config = copy.deepcopy(old.model_cfg)
    network = config["network"]
    extensions = [*network.get("extensions", ()), {"step": step, "start": start, "rank": rank, "curve": True}]
    config["network"] = {**network, "type": "ExtendedConditioning", "extensions": extensions}
    config["tasks"] = [*old.tasks, name]
    with torch.random.fork_rng(devices=[]), DefaultScope.overwrite_default_scope(SCOPE):
        torch.manual_seed(derive_seed(seed, step))
        restorer = RESTORERS.build(config)
    own = old.state_dict()
    # The estimator is a part of the old model, too, but not of its config.
    state = {key: own.get(key, value) for key, value in restorer.state_dict().items()}
    state["matched_t"] = torch.cat([old.matched_t, old.matched_t.new_tensor([step])])
    restorer.load_state_dict(state)
    restorer.model_cfg, restorer.estimator = config, old.estimator
    restorer.custom_imports = getattr(old, "custom_imports", ())
    return restorer.eval()
