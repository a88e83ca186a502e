import sys

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

from dtir.apis import RestorationInferencer
from dtir.apis.models.build import load_restorer
from dtir.apis.models.files import write_model_file
from dtir.core.atomic import atomic_save
from dtir.core.errors import CheckpointError
from dtir.registry import BACKBONES, RESTORERS, SCOPE

MODEL = {
    "type": "DiffusionRestorer",
    "tasks": ["noisy", "rainy"],
    "network": {
        "type": "TimeConditioning",
        "backbone": {"type": "NAFNet", "width": 4, "enc_blk_nums": [1], "middle_blk_num": 1, "dec_blk_nums": [1]},
    },
}


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint in the form that training writes, of a model whose output depends on the time step."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(SCOPE):
        model = RESTORERS.build(MODEL)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.set_matched_t({"noisy": 6})
    atomic_save({"meta": {"model_cfg": MODEL}, "state_dict": model.state_dict()}, tmp_path / "model.pth")
    return tmp_path / "model.pth"


def test_checkpoint_restores_with_the_matched_step_of_the_task(checkpoint):
    inferencer = RestorationInferencer(checkpoint, device="cpu")
    picture = np.random.default_rng(0).random((21, 30, 3), dtype=np.float32)
    lq = torch.from_numpy(picture).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected, other = (load_restorer(checkpoint).restore(lq, torch.tensor([t])).clamp(0, 1) for t in (6, 0))
    assert inferencer.tasks == ("noisy", "rainy")
    assert inferencer.runner.traits.size_multiple == 2
    output = torch.from_numpy(inferencer.restore_array(picture, task="noisy")).permute(2, 0, 1)[None]
    torch.testing.assert_close(output, expected)
    assert (other - expected).abs().max() > 1e-3


def test_files_are_restored_in_tiles(checkpoint, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    inferencer = RestorationInferencer(checkpoint, device="cpu", tile=40, overlap=8, self_ensemble=True)
    assert inferencer.restore_file(tmp_path / "a.png", tmp_path / "out/a.png", task="noisy")
    assert cv2.imread(str(tmp_path / "out/a.png")).shape == pixels.shape


def test_damaged_checkpoint_is_named(checkpoint):
    checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    with pytest.raises(CheckpointError, match=r"model\.pth"):
        RestorationInferencer(checkpoint, device="cpu")


def test_network_of_the_users_own_has_to_be_imported(checkpoint):
    content = torch.load(checkpoint, weights_only=True)
    content["meta"]["model_cfg"]["network"]["backbone"] = {"type": "NotImportedNet"}
    atomic_save(content, checkpoint)
    with pytest.raises(CheckpointError, match=r"NotImportedNet is not in .*--import MODULE"):
        load_restorer(checkpoint)


def test_the_modules_of_a_checkpoint_are_imported_where_they_are_found(checkpoint, tmp_path, monkeypatch):
    text = (
        "from dtir.registry import BACKBONES\nfrom dtir.models.backbones.image.nafnet import NAFNet\n\n\n"
        "@BACKBONES.register_module()\nclass StoredNet(NAFNet):\n    pass\n"
    )
    (tmp_path / "stored_net_module.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    content = torch.load(checkpoint, weights_only=True)
    content["meta"]["model_cfg"]["network"]["backbone"]["type"] = "StoredNet"
    content["meta"]["custom_imports"] = ["stored_net_module", "module_that_is_gone"]
    atomic_save(content, checkpoint)

    restorer = load_restorer(checkpoint)
    assert type(restorer.backbone).__name__ == "StoredNet"
    # A model file of it knows them too.
    facts = write_model_file(tmp_path / "packed.safetensors", restorer)
    assert facts.custom_imports == ("stored_net_module", "module_that_is_gone")
    BACKBONES.module_dict.pop("StoredNet")
    monkeypatch.delitem(sys.modules, "stored_net_module")
    assert type(load_restorer(tmp_path / "packed.safetensors").backbone).__name__ == "StoredNet"
