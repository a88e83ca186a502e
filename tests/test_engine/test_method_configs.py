"""Every ablation differs from the whole method in what its name says; DTIRUNet and NAFNet train by the configs."""

import pytest
from tiny_run import ROOT

from dtir.cli.launching import load_config
from dtir.engine import StagedRunner

CONFIGS = ROOT / "configs"
WHOLE = "dtir/dtir_unet_10task.py"
RESTORATION_STEPS = 300_000 + 10 * 100_000


def resolved(name: str, work_dir) -> dict:
    config = load_config(CONFIGS / name, work_dir=work_dir).to_dict()
    return {key: value for key, value in config.items() if not key.startswith("_")}


def without(values: list[dict], *kinds: str) -> list[dict]:
    kept = [value for value in values if value["type"] not in kinds]
    assert len(kept) == len(values) - len(kinds)
    return kept


def drop(config: dict, regularizers: tuple[str, ...] = (), hooks: tuple[str, ...] = ()) -> None:
    config["train_cfg"]["regularizers"] = without(config["train_cfg"]["regularizers"], *regularizers)
    config["custom_hooks"] = without(config["custom_hooks"], *hooks)


RELEASED = {
    "noisy": 4,
    "rainy": 8,
    "jpeg-compressed": 12,
    "snowy": 15,
    "inpainting": 19,
    "raindrop": 22,
    "shadowed": 27,
    "low-light": 38,
    "hazy": 47,
    "motion-blurry": 50,
}


def no_pre_training(config):
    config["train_cfg"]["stages"] = [stage for stage in config["train_cfg"]["stages"] if stage["name"] != "pretrain"]
    config["model"]["matched_t"] = RELEASED
    drop(config, regularizers=("ParameterImportance",), hooks=("TimestepMatchingHook",))


def no_matching(config):
    config["model"]["matched_t"] = {task: 5 * k for k, task in enumerate(config["model"]["tasks"], start=1)}
    drop(config, hooks=("TimestepMatchingHook",))


def no_generalisation_enhanced_tuning(config):
    for stage in config["train_cfg"]["stages"][1:]:
        del stage["generative_share"]
    drop(config, regularizers=("ParameterImportance", "LayerDecay", "OrthogonalProjection"))


def no_order_of_tasks(config):
    pretrain, finetune, incremental = config["train_cfg"]["stages"]
    joint = {key: value for key, value in incremental.items() if key != "per_task"}
    parts = [{**joint, "name": f"joint_{k:02d}"} for k in range(1, 11)]
    config["train_cfg"]["stages"] = [pretrain, finetune, *parts]


def no_experts(config):
    config["model"]["network"]["adapter"] = None
    config["optim_wrapper"]["paramwise_cfg"] = None
    drop(config, regularizers=("ExpertBalance",), hooks=("ExpertUseHook",))


ABLATIONS = {
    "wo_tmgp": no_pre_training,
    "wo_gef": no_generalisation_enhanced_tuning,
    "wo_importance": lambda config: drop(config, regularizers=("ParameterImportance",)),
    "wo_orthogonality": lambda config: drop(config, regularizers=("OrthogonalProjection",)),
    "wo_layer_decay": lambda config: drop(config, regularizers=("LayerDecay",)),
    "wo_matched_t": no_matching,
    "wo_tit": no_order_of_tasks,
    "wo_moe": no_experts,
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_leaves_out_what_its_name_says_and_nothing_else(name, tmp_path):
    expected = resolved(WHOLE, tmp_path)
    ABLATIONS[name](expected)
    assert resolved(f"ablations/{name}.py", tmp_path) == expected


def test_plain_training_has_the_data_the_optimiser_and_the_steps_of_the_method(tmp_path):
    whole, plain = (resolved(name, tmp_path) for name in (WHOLE, "ablations/plain_joint.py"))
    # It is for the adapters, which plain training has none of.
    del whole["optim_wrapper"]["paramwise_cfg"]
    for key in ("train_dataloader", "val_dataloader", "val_evaluator", "test_evaluator", "optim_wrapper", "randomness"):
        assert plain[key] == whole[key]
    assert plain["model"]["backbone"] == whole["model"]["network"]["backbone"]
    (stage,) = plain["train_cfg"]["stages"]
    assert stage["iters"] == RESTORATION_STEPS
    assert "regularizers" not in plain["train_cfg"]


def test_every_ablation_is_looked_at():
    assert {path.stem for path in (CONFIGS / "ablations").glob("*.py")} == {*ABLATIONS, "plain_joint"}


SMALL = {"enc_blk_nums": [1, 1], "middle_blk_num": 1, "dec_blk_nums": [1, 1], "width": 4}
QUICKER = {
    "TimestepMatchingHook": {"num_images": 1, "batch_size": 2},
    "BlindTaskHook": {"width": 4},
    "ParameterImportance": {"num_samples": 2, "chunk": 2},
    "ReleasedImportance": {"num_batches": 1, "batch_size": 2},
}


def photographs(task: str, **size) -> dict:
    return {"type": "SyntheticDataset", "task": task, "data_root": "asset://photos", "files": ["rocket.jpg"], **size}


def small_run(name: str, work_dir) -> StagedRunner:
    """A training of a config with a network and data of its own, two of its tasks, and two steps a stage."""
    config = load_config(CONFIGS / name, work_dir=work_dir)
    tasks = list(config.model.tasks)[:2]
    config.model.tasks = tasks
    (config.model.network if "network" in config.model else config.model).backbone.update(SMALL)
    config.train_dataloader.update(batch_size=4, num_workers=0, dataset=None)
    config.val_dataloader.update(num_workers=0, dataset=None)
    config.train_dataloader.dataset = {
        "type": "MultiTaskDataset",
        "datasets": [photographs(task, patch=16) for task in tasks],
    }
    config.val_dataloader.dataset = {
        "type": "MultiTaskDataset",
        "datasets": [photographs(task, eval_crop=16) for task in tasks],
    }
    config.test_dataloader = config.test_cfg = config.test_evaluator = None
    for stage in config.train_cfg.stages:
        stage.update(iters=2, **({"generative_share": 0.25} if stage.get("generative_share") == 0.1 else {}))
    for part in (*config.custom_hooks, *config.train_cfg.get("regularizers", ())):
        part.update(QUICKER.get(part.type, {}))
    config.experiment_name = work_dir.name
    return StagedRunner.from_cfg(config)


METHOD = [
    "eedtp/eedtp_10task.py",
    "eedtp/eedtp_deraining.py",
    *(f"ablations/{name}.py" for name in (*ABLATIONS, "plain_joint")),
    *(
        f"dtir/{network}_{tasks}.py"
        for network in ("dtir_unet", "nafnet")
        for tasks in ("10task", "dehazing", "deraining", "desnowing", "low_light")
    ),
]


@pytest.mark.parametrize("name", METHOD)
def test_a_config_of_the_method_trains_through_all_its_stages(name, tmp_path):
    runner = small_run(name, tmp_path)
    before = {key: p.detach().clone() for key, p in runner.model.named_parameters()}
    runner.train()
    assert runner.iter == 2 * len(runner.train_loop.plan)
    matched = runner.model.matched_t
    stepped = "matched_t" in runner.cfg.model or runner.cfg.model.type == "SupervisedRestorer"
    matching = any(hook.type == "TimestepMatchingHook" for hook in runner.cfg.custom_hooks)
    assert ((matched >= 0) == (matching or stepped)).all()
    after = dict(runner.model.named_parameters())
    assert all(p.isfinite().all() for p in after.values())
    moved = {key for key, p in after.items() if not before[key].equal(p)}
    assert any("backbone" in key for key in moved)
    assert any("adapters" in key for key in moved) == any("adapters" in key for key in before)
