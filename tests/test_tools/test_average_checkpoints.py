"""The mean of checkpoints' weights."""

import pytest
import torch

from dtir.core.errors import CheckpointError
from tools.misc.average_checkpoints import main, mean_of


def saved(path, **state):
    torch.save({"meta": {"model_cfg": {"type": path.stem}}, "state_dict": state}, path)
    return str(path)


def test_the_mean_is_written(tmp_path, capsys):
    steps = torch.tensor([1, 2])
    paths = [
        saved(tmp_path / f"{name}.pth", weight=torch.tensor(weight), steps=steps)
        for name, weight in (("a", [0.0, 3.0]), ("b", [1.0, 3.0]), ("c", [5.0, 0.0]))
    ]
    assert main([*paths, str(tmp_path / "mean.pth")]) == 0
    found = torch.load(tmp_path / "mean.pth", weights_only=True)
    assert torch.equal(found["state_dict"]["weight"], torch.tensor([2.0, 2.0]))
    assert torch.equal(found["state_dict"]["steps"], steps)
    assert found["meta"]["model_cfg"] == {"type": "c"}
    assert "the mean of 3 checkpoints" in capsys.readouterr().out


def test_halves_are_averaged_without_overflow():
    largest = torch.full((2,), 65504.0, dtype=torch.float16)
    found = mean_of([{"w": largest}, {"w": largest}], ["a", "b"])["w"]
    assert found.dtype == torch.float16
    assert torch.equal(found, largest)


@pytest.mark.parametrize(
    "other",
    [
        {"w": torch.zeros(3), "n": torch.tensor(1)},
        {"w": torch.zeros(2)},
        {"w": torch.zeros(2), "n": torch.tensor(2)},
    ],
)
def test_those_of_another_network_are_refused(other):
    with pytest.raises(CheckpointError, match=r"'b.pth' is not of the same network as 'a.pth': they differ in '[wn]'"):
        mean_of([{"w": torch.zeros(2), "n": torch.tensor(1)}, other], ["a.pth", "b.pth"])


def test_one_checkpoint_is_too_few(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([saved(tmp_path / "a.pth", w=torch.zeros(1)), str(tmp_path / "out.pth")])
    assert "at least two" in capsys.readouterr().err
