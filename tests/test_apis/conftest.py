import pytest
import torch
from torch import nn

from dtir.models.backbones.traits import Traits


class InvertingRestorer(nn.Module):
    """Restores x to 1 - x and keeps the time steps and tile shapes it was called with."""

    tasks = ("noisy", "rainy", "hazy")
    num_timesteps = 50
    traits = Traits(size_multiple=16)

    def __init__(self):
        super().__init__()
        self.register_buffer("matched_t", torch.tensor([6, 1, -1]))
        self.seen_t, self.seen_shapes = [], []

    def restore(self, lq, t):
        assert t.shape == (len(lq),)
        assert t.dtype == torch.long
        self.seen_t += t.tolist()
        self.seen_shapes.append(tuple(lq.shape))
        return 1 - lq


@pytest.fixture
def inverting_restorer():
    return InvertingRestorer()


class ScriptedEstimator(nn.Module):
    """Says what it was told to, one class and its probability after the other, of whatever picture."""

    classes = ("noisy", "rainy", "clean")
    least_confidence = 0.5

    def __init__(self, *answers):
        super().__init__()
        self.answers = list(answers)
        self.seen = []

    def forward(self, lq):
        self.seen.append(float(lq.mean()))
        task, confidence = self.answers.pop(0)
        rest = (1 - confidence) / (len(self.classes) - 1)
        chances = [confidence if name == task else rest for name in self.classes]
        return torch.tensor([chances]).log()


class BrighteningRestorer(nn.Module):
    """Adds a hundredth of the time step, and sets what is white to black when it fills."""

    tasks = ("noisy", "rainy", "inpainting", "clean")
    num_timesteps = 50

    def __init__(self, *answers):
        super().__init__()
        self.register_buffer("matched_t", torch.tensor([6, 1, 46, 0]))
        self.estimator = ScriptedEstimator(*answers) if answers else None

    def restore(self, lq, t):
        if t[0] == 46:
            return torch.where(lq == 1, 0.25, lq / 2)
        return lq + t.view(-1, 1, 1, 1) / 100


@pytest.fixture
def brightening():
    """A restorer whose estimator gives the answers."""
    return BrighteningRestorer
