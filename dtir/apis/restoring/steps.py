"""The time step that a task is restored with."""

import logging

from torch import nn

from dtir.apis.restoring.wish import AUTO
from dtir.core.errors import ConfigError
from dtir.tasks import check_task

logger = logging.getLogger(__name__)


class TaskSteps:
    """The time steps of a restorer's tasks.

    Args:
        restorer: With `tasks`, `matched_t` and `num_timesteps` as in `RestorationInferencer`.
    """

    def __init__(self, restorer: nn.Module) -> None:
        self.restorer = restorer
        self._warned: set[str] = set()

    def choose(self, task: str | None, t: int | None) -> int:
        """The step `t` itself, or the one matched to `task`; see `RestorationInferencer.timestep`."""
        if task is not None and t is not None:
            raise ConfigError("give either the task of the picture or a time step t, not both.")
        return self.of_task(task) if t is None else self._checked(t)

    def known(self, task: str) -> str:
        """The name itself.

        Raises:
            TaskError: it is neither one of the restorer's tasks nor "auto".
        """
        return task if task == AUTO else check_task(task, tuple(self.restorer.tasks))

    def of_task(self, task: str) -> int:
        """The step matched to a task; 0, with a warning once, where none was matched.

        Raises:
            TaskError: the restorer does not know the task.
        """
        tasks = tuple(self.restorer.tasks)
        step = int(self.restorer.matched_t[tasks.index(check_task(task, tasks))])
        if step >= 0:
            return step
        if task not in self._warned:
            logger.warning("the checkpoint has no matched time step for task '%s'; t = 0 is used.", task)
        self._warned.add(task)
        return 0

    def _checked(self, t: int) -> int:
        last = int(self.restorer.num_timesteps)
        if isinstance(t, str) or int(t) != t or not 0 <= t <= last:
            raise ConfigError(f"t={t} is not a time step of this checkpoint: use a whole number from 0 to {last}.")
        return int(t)
