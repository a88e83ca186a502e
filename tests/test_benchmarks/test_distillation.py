import pytest
import torch
from mmengine.registry import DefaultScope

from benchmarks import distillation
from dtir.models import ConsistencyRestorer
from dtir.registry import RESTORERS, SCOPE


def test_the_student_begins_as_its_teacher(tmp_path):
    config = distillation.distillation_config(tmp_path / "teacher.pth", 7)
    assert config.load_from == config.model.teacher == str(tmp_path / "teacher.pth")
    assert [stage.iters for stage in config.train_cfg.stages] == [7]
    with DefaultScope.overwrite_default_scope(SCOPE):
        model = RESTORERS.build(config.model)
    assert isinstance(model, ConsistencyRestorer)
    assert model.way.tolist() == list(range(distillation.STEPS + 1))
    assert model.restore(torch.rand(1, 3, 16, 16), torch.zeros(1)).shape == (1, 3, 16, 16)
    assert model.num_evals == 1


def test_detail_is_the_mean_step_between_neighbours():
    ramp = torch.arange(16.0).view(1, 1, 1, 16).expand(1, 3, 16, 16) / 255
    assert distillation.detail(ramp) == pytest.approx(0.5)
    line = distillation.row("a", ramp, ramp.double() + 0.1, ramp)
    assert line[0] == "a"
    assert float(line[1]) == pytest.approx(20.0)
    assert line[4] == "-"
