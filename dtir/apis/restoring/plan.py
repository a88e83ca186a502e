"""What a prompt comes to with a model: the passes, in order, and what is left alone."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dtir.apis.restoring.outcome import Pass
from dtir.apis.restoring.steps import TaskSteps
from dtir.core.errors import ConfigError, PromptError
from dtir.language import parse

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What is to be done to pictures.

    Attributes:
        prompt: What it was made from.
        passes: Restorations in order; none where only damages that are to stay were named, and the others are
            estimated from each picture.
        kept: Damages that are to stay.
        unknown: Words of the prompt that were not understood.
    """

    prompt: str
    passes: tuple[Pass, ...]
    kept: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def facts(self) -> dict[str, object]:
        """All of it as plain types, for a log."""
        return {
            "passes": [planned._asdict() for planned in self.passes],
            "kept": list(self.kept),
            "unknown": list(self.unknown),
        }

    def __str__(self) -> str:
        """For people: a line for each pass, and one for what stays and what was not understood."""
        lines = [f"plan for '{self.prompt}':"]
        lines += [f"  {number}. {planned}" for number, planned in enumerate(self.passes, 1)]
        if not self.passes:
            lines.append("  1. what is estimated in each picture")
        if self.kept:
            lines.append(f"  stays: {', '.join(self.kept)}")
        if self.unknown:
            lines.append(f"  not understood: {', '.join(self.unknown)}")
        return "\n".join(lines)


class Planner:
    """Makes plans of prompts for one restorer.

    Args:
        tasks: Names of what the restorer restores.
        steps: Time steps of its tasks.
        instruct: As of `Offer`; where it is None, the words are read by `dtir.language`.
    """

    def __init__(self, tasks: Sequence[str], steps: TaskSteps, instruct: Callable[[str], Pass] | None = None) -> None:
        self.tasks, self.steps = tuple(tasks), steps
        self.instruct = instruct
        self._shown: set[Plan] = set()

    def plan(self, prompt: str) -> Plan:
        """The plan of a prompt, which is logged when it is first made.

        Raises:
            PromptError: It was not understood, or asks for what the restorer cannot do.
            ConfigError: The restorer reads prompts by itself, and what it needs for that is missing.
        """
        plan = self._read(prompt) if self.instruct is None else Plan(prompt, (self.instruct(prompt),))
        if plan not in self._shown:
            logger.info("%s", plan)
        self._shown.add(plan)
        return plan

    def check_unprompted(self) -> None:
        """Raises ConfigError if the restorer does nothing without a prompt."""
        if self.instruct is not None:
            raise ConfigError(
                "this network does what it is told in words, and does not know the names of tasks: give a prompt "
                '(--prompt "remove the rain", prompt=...).'
            )

    def _read(self, prompt: str) -> Plan:
        request = parse(prompt)
        beyond = next((asked for asked in request.asked if asked.task not in self.tasks), None)
        if beyond is not None:
            raise PromptError(
                f"the prompt '{prompt}' asks for {beyond.task} ('{beyond.words}'), which this model was not trained "
                f"on; it restores: {', '.join(self.tasks)}."
            )
        passes = (Pass(asked.task, None, self.steps.of_task(asked.task), asked.strength) for asked in request.asked)
        return Plan(prompt, tuple(passes), request.kept, request.unknown)
