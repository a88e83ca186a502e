"""tools/analysis/benchmark_denormals.py: what numbers too small for a CPU's fast path cost."""

import pytest
import torch
from restorer_with_parts import MODEL, build, stored

from dtir.apis.models.files import write_model_file
from dtir.core.errors import CheckpointError
from tools.analysis import benchmark_denormals


@pytest.fixture(autouse=True)
def threads_fixture(denormals_kept):
    threads = torch.get_num_threads()
    yield denormals_kept
    torch.set_num_threads(threads)


def test_both_kinds_are_timed(tmp_path, capsys):
    stored(tmp_path / "m.safetensors")
    assert (
        benchmark_denormals.main([str(tmp_path / "m.safetensors"), "--side", "8", "--batch", "2", "--steps", "2"]) == 0
    )
    _, _, kept, flushed, ratio, _ = (cell.strip() for cell in capsys.readouterr().out.splitlines()[-2].split("│"))
    assert min(float(kept), float(flushed), float(ratio)) > 0


def test_another_restorer_is_refused(tmp_path):
    model = {"type": "SupervisedRestorer", "tasks": ["noisy"], "backbone": MODEL["network"]["backbone"]}
    restorer = build(model)
    restorer.model_cfg = model
    write_model_file(tmp_path / "m.safetensors", restorer)
    with pytest.raises(CheckpointError, match="is of a SupervisedRestorer; only a DiffusionRestorer"):
        benchmark_denormals.main([str(tmp_path / "m.safetensors")])


def test_a_step_flushes_or_keeps_and_leaves_them_kept(tmp_path, denormals_kept):
    model = stored(tmp_path / "m.safetensors").train()
    seen = []
    model.network.register_forward_pre_hook(lambda *_: seen.append(denormals_kept()))
    for flushed in (True, False):
        benchmark_denormals.passes(model, torch.rand(2, 3, 8, 8), flushed)()
        assert denormals_kept()
    assert seen == [False, True]
