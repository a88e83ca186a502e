"""Expert usage by task, after every stage (docs/method.md, section 5)."""

from pathlib import Path

import torch
from mmengine.dist import get_rank
from torch import Tensor

from dtir.core.errors import ConfigError
from dtir.core.stage_hook import StageHook
from dtir.evaluation.reports.experts import write_expert_use
from dtir.models import ConditionedNetwork
from dtir.models.adapters import MixtureOfExperts
from dtir.registry import HOOKS


@HOOKS.register_module()
class ExpertUseHook(StageHook):
    """Writes `report/experts.{csv,png}` when a stage has ended: the routers read the time step alone, so that a task's
    experts follow from its matched step.

    Raises:
        ConfigError: The network has no experts.
    """

    priority = "LOW"

    def before_train(self, runner) -> None:
        """Finds the adapters."""
        if not any(isinstance(module, MixtureOfExperts) for module in runner.model.modules()):
            raise ConfigError("ExpertUseHook: the network has no experts; set model.network.adapter.")

    def after_stage(self, runner, stage) -> None:
        """Writes the table and its picture."""
        with runner.whole_model() as model:
            steps = model.timestep_of(torch.arange(len(model.tasks), device=model.matched_t.device))
            shares = expert_shares(model.network, steps).tolist()
        if get_rank() == 0:
            write_expert_use(Path(runner.work_dir) / "report", shares, runner.model.tasks)


@torch.no_grad()
def expert_shares(network: ConditionedNetwork, steps: Tensor) -> Tensor:
    """Share of every expert at time steps (B,): (adapters, B, experts); each row sums to 1."""
    *_, prompt = network.modulation(steps)
    tables = []
    for mixture in (module for module in network.adapters.modules() if isinstance(module, MixtureOfExperts)):
        share, chosen = mixture.routing(prompt)
        tables.append(torch.zeros(len(steps), mixture.num_experts, device=steps.device).scatter_(1, chosen, share))
    return torch.stack(tables)
