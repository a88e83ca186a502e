"""A conditional diffusion model through the training loop, its checkpoints, and `dtir restore`."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_run import ROOT, assert_same_state, last_state, tiny_config, train

from dtir import cli
from dtir.apis import RestorationInferencer
from dtir.cli.launching import build_runner, load_config
from dtir.engine import StagedRunner
from dtir.registry import BACKBONES, CODECS
from dtir.testing.small_backbones import SMALL
from dtir.testing.small_codecs import SMALL_CODECS
from dtir.testing.stopping import stopped

CONFIG = ROOT / "tests" / "configs" / "tiny_conditional.py"
CONFIGS = ROOT / "configs" / "diffusion"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("conditional")
    runner = train(work_dir, CONFIG)
    return work_dir, runner


def test_all_parts_take_part(trained):
    work_dir, runner = trained
    state = last_state(work_dir)
    assert state["meta"]["iter"] == 6
    assert state["meta"]["best"]["value"] > 0
    weights = state["state_dict"]["backbone.intro.weight"]
    # The checkpoint's weights are the average, those that train are kept beside.
    assert not torch.equal(weights, state["ema_state_dict"]["module.backbone.intro.weight"])
    assert runner.model.num_evals == 6


@pytest.mark.parametrize("iteration", [1, 3, 5])
def test_stop_anywhere_and_resume(tmp_path, trained, iteration):
    runner = StagedRunner.from_cfg(tiny_config(tmp_path, CONFIG))
    with stopped(runner, "before_optim_step", iteration):
        runner.train()
    train(tmp_path, CONFIG, resume=True)
    assert_same_state(last_state(tmp_path), last_state(trained[0]))


def restore(checkpoint, source, out, *options) -> np.ndarray:
    command = ["restore", source, "--checkpoint", checkpoint, "--task", "super-resolution", "--out", out, *options]
    assert cli.main([str(part) for part in command]) == 0
    return cv2.imread(str(out / source.name))


def test_a_checkpoint_restores_pictures_of_any_size(tmp_path, trained):
    source = tmp_path / "a.png"
    cv2.imwrite(str(source), np.random.default_rng(0).integers(0, 256, (37, 21, 3), np.uint8))
    checkpoint = trained[0] / "iter_6.pth"
    torch.manual_seed(1)
    first = restore(checkpoint, source, tmp_path / "first", "--device", "cpu")
    torch.manual_seed(2)
    again = restore(checkpoint, source, tmp_path / "again", "--device", "cpu")
    assert first.shape == (37, 21, 3)
    assert np.array_equal(first, again)
    tiled = restore(checkpoint, source, tmp_path / "tiled", "--tile", 16, "--overlap", 8, "--device", "cpu")
    assert np.abs(first.astype(int) - tiled).mean() < 8
    other = restore(checkpoint, source, tmp_path / "other", "--seed", 1, "--steps", 2, "--device", "cpu")
    assert not np.array_equal(first, other)


def test_progress_counts_steps(trained):
    seen = []
    inferencer = RestorationInferencer(trained[0] / "iter_6.pth", "cpu", num_steps=5)
    picture = np.zeros((8, 8, 3), np.uint8)
    inferencer.restore_array(picture, "super-resolution", on_tile=lambda *progress: seen.append(progress))
    assert seen == [(done, 5) for done in range(1, 6)]
    assert inferencer.restorer.num_evals == 10


def on_photos(dataset) -> None:
    """Real pairs are replaced by a photograph that ships, degraded."""
    files = {"data_root": "asset://photos", "files": ["chelsea.png"]}
    dataset.datasets = [
        {"type": "SyntheticDataset", "task": one.task, "patch": 16, **files} if one.type == "PairedDataset" else one
        for one in dataset.datasets
    ]


def contexts(folder, model) -> str:
    file = str(folder / "contexts.safetensors")
    model.context_dim = model.backbone.context_dim
    save_file({name: torch.ones(len(model.tasks), model.context_dim) for name in ("text", "image")}, file)
    return file


# Restorers that need a trained network, and the argument that names it.
TRAINED_BEFORE = {
    "ConsistencyRestorer": "teacher",
    "ConditionalConsistencyRestorer": "teacher",
    "FeatureWrappingRestorer": "trained",
}


def teacher(folder, backbone) -> str:
    """A checkpoint with such a network."""
    state = {f"backbone.{key}": value for key, value in BACKBONES.build(dict(backbone)).state_dict().items()}
    torch.save({"state_dict": state, "meta": {"model_cfg": {"backbone": backbone.to_dict()}}}, folder / "teacher.pth")
    return str(folder / "teacher.pth")


def small_codec(folder, codec) -> dict:
    """A small codec of that kind, and a file with its weights that a training has to read."""
    config = {**codec, **SMALL_CODECS[codec.type], "weights": str(folder / "codec.pth")}
    network = CODECS.build({**config, "weights": None}).published
    state = {key: torch.full_like(value, 0.01) for key, value in network.state_dict().items()}
    torch.save({"state_dict": {f"first_stage_model.{key}": value for key, value in state.items()}}, config["weights"])
    return config


def assert_latent_model_restores(folder, codec, task, wraps: bool) -> None:
    """Its checkpoint alone restores, with the weights that the training has read, or, where it wraps, trained."""
    checkpoint = folder / "iter_2.pth"
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    prefix = "codec.network." if codec.type == "LatentUNet" else "codec."
    read = {key: value for key, value in state.items() if key.startswith(prefix)}
    assert read
    trained = sorted({key.split(".")[2] for key, value in read.items() if (value != 0.01).any()})
    assert trained == (["fusion_layer_1"] if wraps else [])
    Path(codec.weights).unlink()
    source = folder / "a.png"
    cv2.imwrite(str(source), np.random.default_rng(0).integers(0, 256, (37, 21, 3), np.uint8))
    command = [
        "restore",
        source,
        "--model",
        checkpoint,
        "--task",
        task,
        "--out",
        folder / "restored",
        "--device",
        "cpu",
    ]
    assert cli.main([str(part) for part in command]) == 0
    assert cv2.imread(str(folder / "restored" / "a.png")).shape == (37, 21, 3)


@pytest.mark.parametrize("name", sorted(path.name for path in CONFIGS.glob("*.py")))
def test_every_config_trains(tmp_path, name):
    config = load_config(CONFIGS / name, work_dir=tmp_path)
    kind = config.model.backbone.type.replace("ConditionalUNet", "ConditionalNAFNet")
    mask = {"mask_nc": config.model.backbone.mask_nc} if config.model.get("missing") else {}
    config.model.backbone = {"type": kind, **SMALL[kind], **mask}
    codec = config.model.get("codec")
    if isinstance(codec, dict):
        config.model.codec = small_codec(tmp_path, codec)
    other = TRAINED_BEFORE.get(config.model.type)
    if other:
        config.model[other] = teacher(tmp_path, config.model.backbone)
    scheduler = config.model.get("scheduler", {})
    if scheduler.get("T", 0) == 100:
        scheduler.T = 10
    elif scheduler and scheduler.type != "ResShift":
        config.model.num_steps = 2
    if config.model.get("tile"):
        config.model.update(tile=32, tile_overlap=16)
    kept = {key: value for key, value in config.train_cfg.stages[0].items() if key == "trainable"}
    config.train_cfg.stages = [{"name": "train", "iters": 2, "lr": 1e-3, **kept}]
    for loader in (config.train_dataloader, config.val_dataloader):
        loader.num_workers = 0
        on_photos(loader.dataset)
    for hook in config.custom_hooks:
        if hook.type == "TaskContextsHook":
            hook.file = contexts(tmp_path, config.model)
    config.train_dataloader.batch_size = 2
    for dataset in config.train_dataloader.dataset.datasets if isinstance(codec, dict) else ():
        dataset.patch = 32
    for dataset in config.val_dataloader.dataset.datasets:
        dataset["max_size"] = 32
    config.experiment_name = f"every_config_{name}"
    runner = build_runner(config)
    if kind == "StableSR":
        # Its last layer is frozen, and would let no gradient through as Stable Diffusion's begins.
        torch.nn.init.normal_(runner.model.backbone.unet.out[-1].weight, std=0.1)
    before = [p.detach().clone() for p in runner.model.parameters()]
    runner.train()
    assert runner.iter == 2
    assert all(p.isfinite().all() for p in runner.model.parameters())
    assert any(not torch.equal(p, old) for p, old in zip(runner.model.parameters(), before, strict=True))
    assert (tmp_path / "report" / "panel.png").is_file()
    if isinstance(codec, dict):
        wraps = config.model.type == "FeatureWrappingRestorer"
        assert_latent_model_restores(tmp_path, config.model.codec, config.model.tasks[0], wraps)
