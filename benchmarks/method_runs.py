"""The trainings that benchmarks.method compares, each a config with small settings laid over it."""

import copy
import re
from dataclasses import dataclass, replace
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DefaultScope

from benchmarks.lab import REPO, small_training
from dtir.cli.launching import load_config
from dtir.core.atomic import atomic_save
from dtir.core.checkpoint import find_last_checkpoint, load_checkpoint
from dtir.registry import RESTORERS, SCOPE
from dtir.tasks import TASKS

LAB = "configs/_base_/lab/method.py"
FULL, PLAIN = "dtir/dtir_unet_10task", "ablations/plain_joint"
BRIEF = "dtir/dtir_unet_10task_brief"
TOLD, RELEASED = "baselines/dtir_unet_told_10task", "eedtp/eedtp_10task"
ESTIMATOR = "models/universal_estimator"
REFERENCE = "told, equal total steps"


@dataclass(frozen=True)
class Run:
    """One training of the comparison.

    Attributes:
        name: What it is called in the table.
        config: Below configs/, without the suffix.
        seed: Seed of the whole run.
        pairs: Folder of train_pairs/ if one task is trained, else None for ten.
        long: Whether plain training goes on for as many iterations as the pre-training and the restoration together.
        settings: File of the settings that are laid over the config.
        tasks: Those that are trained where they are several and not all ten.
    """

    name: str
    config: str
    seed: int = 0
    pairs: str | None = None
    long: bool = False
    settings: str = LAB
    tasks: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """The folder of its results."""
        return re.sub(r"\W+", "_", f"{self.name}_seed{self.seed}")

    @property
    def task(self) -> str | None:
        """The one task that is trained, if it is one."""
        return self.pairs and {"rainy-light": "rainy"}.get(self.pairs, self.pairs)


TRAINING_HOOKS = ("StageEMAHook", "TimestepMatchingHook", "BlindTaskHook")
ABLATIONS = ["tmgp", "gef", "importance", "orthogonality", "matched_t", "layer_decay", "tit", "moe"]
# Further seeds are of the rows of the fair comparison alone.
ABLATION_SEEDS = 3


def all_runs(seeds: int, settings: str = LAB) -> list[Run]:
    """The rows of a fair comparison, then the ablations."""
    rows = [
        Run("plain", PLAIN),
        Run("told", TOLD),
        Run("told, equal total steps", TOLD, long=True),
        Run("full", FULL),
        Run("brief", BRIEF),
        Run("released", RELEASED),
        Run("plain, equal total steps", PLAIN, long=True),
    ]
    main = [replace(row, seed=seed) for seed in range(seeds) for row in rows]
    ablations = [
        Run(f"w/o {part}", f"ablations/wo_{part}", seed)
        for seed in range(min(seeds, ABLATION_SEEDS))
        for part in ABLATIONS
    ]
    return [replace(run, settings=settings) for run in (*main, *ablations)]


def lab_config(run: Run, out: Path) -> Config:
    """The run's config, small."""
    config = load_config(REPO / "configs" / f"{run.config}.py", work_dir=out / run.folder)
    lab = Config.fromfile(REPO / run.settings)
    tasks = [run.task] if run.task else list(run.tasks or config.model.tasks)
    sets = [{**copy.deepcopy(lab.train_sets[task]), "patch": lab.patch} for task in tasks]
    if run.pairs:
        sets[0]["data_root"] = f"train_pairs/{run.pairs}"
    small_training(config, tasks, sets, lab.optimizer, run.seed)
    _small_model(config.model, lab)
    config.train_cfg.stages = [_lab_stage(stage, lab.stages, run, config) for stage in config.train_cfg.stages]
    for regularizer in config.train_cfg.get("regularizers", []):
        regularizer.update(lab.importance if regularizer.type == "ParameterImportance" else {})
    # The others report on validations, of which there are none here.
    config.custom_hooks = [hook for hook in config.custom_hooks if hook.type in TRAINING_HOOKS]
    for hook in config.custom_hooks:
        hook.update(lab.matching if hook.type == "TimestepMatchingHook" else {})
    return config


def _small_model(model: dict, lab: Config) -> None:
    """The settings' network and loss; the released recipe keeps its own kind of network and its losses."""
    if "network" not in model:
        model.backbone, model.losses = lab.backbone, [lab.loss]
    elif model.network.type == "OwnTime":
        model.network.backbone.update(lab.released_backbone)
    else:
        model.network.backbone = lab.backbone
        # One loss for both objectives, so that a generative sample counts as much as a restoring one.
        model.restoration_loss = model.generative_loss = lab.loss
        if model.network.get("adapter"):
            model.network.adapter.rank = lab.adapter_rank


def _lab_stage(stage: dict, table: dict, run: Run, config: Config) -> dict:
    names = [other.name for other in config.train_cfg.stages]
    small = dict(table["incremental" if stage.name.startswith("joint") else stage.name])
    if stage.name.startswith("joint"):
        # Without the order of the tasks, stages of the same lengths.
        small["iters"] = small["iters"][int(stage.name.removeprefix("joint_")) - 1]
    elif stage.name == "incremental" and "finetune" not in names:
        # The released recipe has nothing but incremental stages: as long in all, and of one length.
        small = {**table["train"], "iters": [table["train"]["iters"] // 10] * 10}
        del small["warmup_iters"]
    if run.long:
        small["iters"] += table["pretrain"]["iters"]
    elif stage.name == "train" and "primer" in names:
        # As many in all as with the pre-training of the others.
        small["iters"] += table["pretrain"]["iters"] - table["primer"]["iters"]
    return {**stage, **small, "validate": False}


def pretraining(seed: int, settings: str = LAB) -> Run:
    """The generative pre-training that the runs of a seed share."""
    return Run("pretrain", FULL, seed, settings=settings)


def estimator(seed: int, settings: str = LAB) -> Run:
    """The estimator of the ten tasks, trained by itself, that the runs of a seed share."""
    return Run("estimator", ESTIMATOR, seed, settings=settings)


def _estimator_config(run: Run, out: Path) -> Config:
    """On larger crops of the networks' data and of what the settings add to it."""
    config = load_config(REPO / f"configs/{run.config}.py", work_dir=out / run.folder)
    lab = Config.fromfile(REPO / run.settings)
    sets = [copy.deepcopy(lab.estimator_sets[task]) for task in TASKS]
    small_training(config, list(TASKS), sets, lab.optimizer, run.seed)
    config.train_cfg.stages = [{"name": "estimator", **lab.estimator}]
    config.custom_hooks = [hook for hook in config.custom_hooks if hook.type != "ReportHook"]
    return config


def prepare(run: Run, out: Path) -> Config:
    """The run's config without the pre-training that it shares, and with the weights it starts from."""
    if run.config == ESTIMATOR:
        return _estimator_config(run, out)
    config = lab_config(run, out)
    stages = config.train_cfg.stages
    if run.name == "pretrain":
        config.train_cfg.stages = stages[:1]
        config.train_cfg.regularizers, config.custom_hooks = [], [{"type": "StageEMAHook", "decay": 0.999}]
    elif stages[0].name == "pretrain" and run.config != RELEASED:
        config.train_cfg.stages = stages[1:]
        config.load_from = str(_start(run, config, out))
    return config


def _start(run: Run, config: Config, out: Path) -> Path:
    """The shared pre-training as a checkpoint of the run's own model, which may lack adapters or have other tasks."""
    trained = load_checkpoint(find_last_checkpoint(out / pretraining(run.seed, run.settings).folder))
    with DefaultScope.overwrite_default_scope(SCOPE):
        model = RESTORERS.build(config.model)
    state = model.state_dict()
    # Adapters are as they were at first.
    state.update({k: trained["state_dict"][k] for k in state if k.startswith("network.") and ".adapters." not in k})
    path = out / run.folder / "start.pth"
    atomic_save({"state_dict": state}, path)
    return path
