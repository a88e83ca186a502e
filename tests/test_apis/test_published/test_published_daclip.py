"""DA-CLIP's two published files, tiny and random, restore a picture."""

import numpy as np
import pytest
import torch

from dtir.apis import RestorationInferencer
from dtir.core.errors import CheckpointError, ConfigError
from dtir.models.backbones import DACLIPUNet
from dtir.models.daclip import DACLIP
from dtir.tasks import TASKS

open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed; pip install -e .[language]")
PICTURE = np.random.default_rng(0).random((20, 24, 3), dtype=np.float32)


def save_encoder(path, dim=8):
    torch.manual_seed(0)
    clip = open_clip.CLIP(
        embed_dim=dim,
        vision_cfg={"image_size": 32, "patch_size": 16, "width": 64, "layers": 2},
        text_cfg={"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
    )
    torch.save({"state_dict": DACLIP(clip).state_dict()}, path)


@pytest.fixture
def files(tmp_path):
    torch.manual_seed(1)
    network = DACLIPUNet(nf=32, ch_mult=[1, 1, 1, 1], context_dim=8, use_image_context=True)
    for p in network.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.1)
    torch.save(network.state_dict(), tmp_path / "universal-ir.pth")
    save_encoder(tmp_path / "daclip_ViT-B-32.pt")
    return tmp_path


def inferencer(folder, **options):
    return RestorationInferencer(folder / "universal-ir.pth", device="cpu", num_steps=2, **options)


def test_a_picture_is_restored_by_what_is_seen_in_it(files):
    loaded = inferencer(files)
    restorer = loaded.restorer
    assert loaded.tasks == TASKS
    assert (restorer.scheduler.num_timesteps, type(restorer.sampler).__name__) == (100, "PosteriorSampler")
    output, outcome = loaded(PICTURE, with_details=True)
    assert np.isfinite(output).all()
    (only,) = outcome.passes
    assert (only.task in TASKS, only.step) == (True, 0)
    lq = torch.from_numpy(PICTURE).permute(2, 0, 1)[None]
    content, damage = restorer.encoder.embed(restorer.encoder.prepared(lq))
    found = restorer.contexts(lq, torch.tensor([0]))
    torch.testing.assert_close(found, (damage, content))
    # A named task: the direction of its name, as long as what is seen.
    named, _ = restorer.contexts(lq, torch.tensor([TASKS.index("rainy") + 1]))
    torch.testing.assert_close(named.norm(), damage.norm())
    torch.testing.assert_close(torch.nn.functional.normalize(named), restorer.encoder.embed_texts(["rainy"]))
    said, outcome = loaded(PICTURE, prompt="remove the rain", with_details=True)
    assert [done.step for done in outcome.passes] == [TASKS.index("rainy") + 1]
    assert np.abs(said - output).max() > 1e-4


def test_what_is_missing_is_named(files):
    (files / "daclip_ViT-B-32.pt").rename(files / "clip.pt")
    with pytest.raises(ConfigError, match=r"needs DA-CLIP's model to read the picture: put daclip_ViT-B-32\.pt beside"):
        inferencer(files)
    first = inferencer(files, encoder=files / "clip.pt").restore_array(PICTURE)
    assert first.shape == PICTURE.shape
    save_encoder(files / "clip.pt", dim=6)
    with pytest.raises(CheckpointError, match="gives embeddings of length 6, and the network takes 8"):
        inferencer(files, encoder=files / "clip.pt")
