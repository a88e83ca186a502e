"""What keeps the old tasks while the whole network learns a new one."""

import copy

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

from dtir.apis.adaptation.rehearsal import Limit, Rehearsal, old_pictures
from dtir.core.errors import DatasetError
from dtir.datasets import PairedDataset, SyntheticDataset
from dtir.registry import RESTORERS, SCOPE

PATCH = 16


@pytest.fixture(name="root")
def root_fixture(tmp_path):
    """Three pairs of a new damage, and two of the old task "hazy"."""
    rng = np.random.default_rng(0)
    for folder, count in (("new", 3), ("replay/hazy", 2)):
        for kind in ("LQ", "GT"):
            (tmp_path / folder / kind).mkdir(parents=True)
            for k in range(count):
                rgb = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
                assert cv2.imwrite(str(tmp_path / folder / kind / f"{k}.png"), rgb)
    return tmp_path


@pytest.fixture(name="old")
def old_fixture():
    torch.manual_seed(0)
    network = {
        "type": "TimeConditioning",
        "embed_dim": 8,
        "backbone": {"type": "NAFNet", "width": 4, "enc_blk_nums": [1], "middle_blk_num": 1, "dec_blk_nums": [1]},
    }
    config = {"type": "DiffusionRestorer", "tasks": ["noisy", "hazy", "own"], "network": network}
    with DefaultScope.overwrite_default_scope(SCOPE):
        model = RESTORERS.build(config)
    model.set_matched_t({"noisy": 6, "hazy": 40, "own": 9})
    for name, p in model.named_parameters():
        if "to_modulation" in name or name.endswith(("beta", "gamma")):
            torch.nn.init.normal_(p, std=0.1)
    return model.eval()


def _rehearsal(old, root, share=0.0) -> Rehearsal:
    pairs = PairedDataset("dark", root / "new", patch=PATCH)
    return Rehearsal(old, old_pictures(old.tasks, pairs, [0, 2], root / "replay", PATCH), share, 0, "cpu")


def test_each_old_task_has_replayed_pairs_or_made_ones_or_the_new_ones(root, old):
    pairs = PairedDataset("dark", root / "new", patch=PATCH)
    noisy, hazy, own = old_pictures(old.tasks, pairs, [0, 2], root / "replay", PATCH)
    assert isinstance(noisy, SyntheticDataset)
    assert [record["name"] for record in noisy.records] == ["0", "2"]
    assert isinstance(hazy, PairedDataset)
    assert len(hazy) == 2
    assert own is pairs
    with pytest.raises(DatasetError, match="no folder of an old task; expected one of noisy, hazy, own"):
        old_pictures(old.tasks, pairs, [0], root / "new", PATCH)


def test_a_rehearsed_sample_has_the_old_output_as_its_target(root, old):
    batch = (torch.zeros(64, 3, PATCH, PATCH), torch.ones(64, 3, PATCH, PATCH), torch.full((64,), 5))
    lq, gt, t = _rehearsal(old, root, share=0.5).mixed(*batch, iteration=1)
    new = t == 5
    assert 16 < new.sum() < 48
    assert set(t[~new].tolist()) == {6, 40, 9}
    assert (lq[new] == 0).all()
    assert (gt[new] == 1).all()
    with torch.no_grad():
        torch.testing.assert_close(gt[~new], old.restore(lq[~new], t[~new]))


def test_the_loss_is_that_of_the_error_or_of_a_change_that_has_nothing_to_do_with_it(root, old):
    rehearsal = _rehearsal(old, root)
    assert set(rehearsal.losses(old).values()) == {0.0}
    gt, (restored, error) = rehearsal.measured[1][1], rehearsal.before[1]
    # As far from the old output as the GT is, whether to the better or to the worse.
    assert _lost(rehearsal, old, gt) == pytest.approx(10 * np.log10(2), abs=1e-3)
    worse = (10 * torch.log10(gt.square().mean((1, 2, 3)) / error)).mean().item()
    moved = (10 * torch.log10(1 + restored.square().mean((1, 2, 3)) / error)).mean().item()
    assert _lost(rehearsal, old, torch.zeros_like(gt)) == pytest.approx(max(worse, moved), abs=1e-3)


def _lost(rehearsal: Rehearsal, old, output: torch.Tensor) -> float:
    """By the task "hazy" where the network gives this output."""
    model = copy.deepcopy(old)
    model.restore = lambda lq, t: output
    return rehearsal.losses(model)["hazy"]


def test_what_changed_is_taken_back_as_far_as_is_tolerated(root, old):
    rehearsal = _rehearsal(old, root)
    new = copy.deepcopy(old)
    shared = list(new.network.parameters())
    limit = Limit(shared, rehearsal, tolerance=0.1)
    before = [p.detach().clone() for p in shared]
    with torch.no_grad():
        for p in shared:
            p.add_(0.05 * torch.randn_like(p))
    after = [p.detach().clone() for p in shared]
    assert max(rehearsal.losses(new).values()) > 0.1
    share = limit.hold(new)
    assert 0 < share < 1
    assert 0.05 < max(rehearsal.losses(new).values()) <= 0.1
    for p, start, end in zip(shared, before, after, strict=True):
        torch.testing.assert_close(p, start + share * (end - start))
    assert limit.hold(new) == 1
