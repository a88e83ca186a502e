"""What changes in the model and the optimiser when a stage begins."""

from fnmatch import fnmatchcase

from dtir.core.stage_hook import StageHook
from dtir.registry import HOOKS


@HOOKS.register_module()
class StageSwitchHook(StageHook):
    """Freezes what a stage does not train and, at the stage's start, forgets the optimiser's moments."""

    priority = "VERY_HIGH"

    def before_stage(self, runner, stage, fresh: bool) -> None:
        """Sets `requires_grad` by the stage's `trainable` patterns."""
        patterns = stage.settings.trainable
        for name, param in runner.model.named_parameters():
            param.requires_grad_(any(fnmatchcase(name, pattern) for pattern in patterns))
        if fresh:
            runner.optim_wrapper.reset_state()
