"""tools/analysis/benchmark_denormals.py: what numbers too small for a CPU's fast path cost."""

import pytest
import torch
from restorer_with_parts import stored

from tools.analysis import benchmark_denormals


@pytest.fixture(name="_flushing")
def flushing_fixture():
    if not torch.set_flush_denormal(False):
        pytest.skip("this CPU cannot count denormal numbers as zero")
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_flushing")
def test_both_kinds_are_timed(tmp_path, capsys):
    stored(tmp_path / "m.safetensors")
    assert (
        benchmark_denormals.main([str(tmp_path / "m.safetensors"), "--side", "8", "--batch", "2", "--steps", "2"]) == 0
    )
    _, _, kept, flushed, ratio, _ = (cell.strip() for cell in capsys.readouterr().out.splitlines()[-2].split("│"))
    assert float(ratio) == pytest.approx(float(kept) / float(flushed), abs=0.2)


@pytest.mark.usefixtures("_flushing")
def test_a_step_flushes_or_keeps_and_leaves_them_kept(tmp_path):
    model = stored(tmp_path / "m.safetensors").train()
    seen = []
    model.network.register_forward_pre_hook(lambda *_: seen.append((torch.tensor(1e-30) * 1e-10).item() > 0))
    for flushed in (True, False):
        benchmark_denormals.passes(model, torch.rand(2, 3, 8, 8), flushed)()
        assert (torch.tensor(1e-30) * 1e-10).item() > 0
    assert seen == [False, True]
