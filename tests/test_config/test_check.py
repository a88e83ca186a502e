"""The strict check of config keys, and reading config files."""

from pathlib import Path

import pytest
from mmengine.config import Config
from torch import nn

from dtir.cli.launching import load_config
from dtir.config.check import accepted_keys, check_config
from dtir.core.errors import ConfigError
from dtir.engine.schema import SCHEMA

REPO = Path(__file__).resolve().parents[2]
# Those of training_free/ that name an operator are no trainings; test_guided_restorer.py runs them.
CONFIGS = sorted(
    path
    for path in (REPO / "configs").rglob("*.py")
    if "_base_" not in path.parts and (path.parent.name != "training_free" or path.name.startswith("ddpm"))
)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_valid(path):
    cfg = load_config(path)

    assert cfg.work_dir == str(Path("work_dirs") / path.stem)
    types = {
        "baselines": {"SupervisedRestorer", "DiffusionRestorer"},
        "models": {"DiffusionRestorer", "TaskClassifier", "GlanceClassifier"},
        "ablations": {"DiffusionRestorer", "SupervisedRestorer"},
        "diffusion": {
            "BridgeRestorer",
            "ConditionalDiffusionRestorer",
            "ConsistencyRestorer",
            "ConditionalConsistencyRestorer",
            "DACLIPRestorer",
            "FeatureWrappingRestorer",
            "LatentAutoencoderRestorer",
        },
    }
    assert cfg.model.type in types.get(path.parent.name, {"DiffusionRestorer"})


def problem(**config) -> str:
    with pytest.raises(ConfigError) as error:
        check_config(Config(config), SCHEMA, "my.py")
    return str(error.value)


def test_mistyped_top_level_key():
    message = problem(optim_wraper={})

    assert message.startswith("my.py: unknown key 'optim_wraper'. Did you mean 'optim_wrapper'?")
    assert "leading underscore" in message
    assert "train_dataloader" in message


@pytest.mark.parametrize(
    ("config", "key", "nearest"),
    [
        ({"optim_wrapper": {"type": "StagedOptimWrapper", "clip_gard": 1}}, "optim_wrapper.clip_gard", "clip_grad"),
        ({"optim_wrapper": {"optimizer": {"type": "Adam", "beta": 1}}}, "optim_wrapper.optimizer.beta", "betas"),
        ({"train_dataloader": {"num_worker": 2}}, "train_dataloader.num_worker", "num_workers"),
        (
            {"val_dataloader": {"sampler": {"type": "DefaultSampler", "Shuffle": False}}},
            "val_dataloader.sampler.Shuffle",
            "shuffle",
        ),
        (
            {"train_cfg": {"type": "StagedTrainLoop", "stages": [{"name": "a"}, {"iter": 3}]}},
            "train_cfg.stages[1].iter",
            "iters",
        ),
        ({"train_cfg": {"type": "StagedTrainLoop", "val_intervall": 3}}, "train_cfg.val_intervall", "val_interval"),
        ({"default_hooks": {"logger": {"intervl": 3}}}, "default_hooks.logger.intervl", "interval"),
        ({"default_hooks": {"loger": {"interval": 3}}}, "default_hooks.loger", "logger"),
        ({"custom_hooks": [{"type": "StageEMAHook", "decya": 0.9}]}, "custom_hooks[0].decya", "decay"),
        ({"randomness": {"sed": 0}}, "randomness.sed", "seed"),
        ({"env_cfg": {"cudnn_bench": True}}, "env_cfg.cudnn_bench", "cudnn_benchmark"),
        ({"log_processor": {"window": 3}}, "log_processor.window", "window_size"),
        ({"val_evaluator": [{"type": "PSNR", "prefx": "x"}]}, "val_evaluator[0].prefx", "prefix"),
        (
            {"visualizer": {"type": "Visualizer", "vis_backends": [{"type": "LocalVisBackend", "savedir": "x"}]}},
            "visualizer.vis_backends[0].savedir",
            "save_dir",
        ),
    ],
)
def test_mistyped_nested_key(config, key, nearest):
    message = problem(**config)

    assert f"unknown key '{key}'" in message
    assert f"Did you mean '{nearest}'?" in message


def test_mistyped_key_deep_in_the_model():
    backbone = {"type": "NAFNet", "widht": 16}
    message = problem(
        model={"type": "DiffusionRestorer", "network": {"type": "TimeConditioning", "backbone": backbone}}
    )

    assert "unknown key 'model.network.backbone.widht'. Did you mean 'width'? Valid keys of NAFNet:" in message


def test_unknown_type_names_the_nearest_and_custom_imports():
    message = problem(model={"type": "DiffusionRestorr"})

    assert "model.type: 'DiffusionRestorr' is not registered. Did you mean 'DiffusionRestorer'?" in message
    assert "custom_imports" in message


@pytest.mark.parametrize("kind", ["nowhere.to.be.Found", "os.path", "mmdet.Thing", 3])
def test_types_that_are_no_class(kind):
    assert "is not registered" in problem(model={"type": kind})


def test_all_problems_are_reported_at_once():
    message = problem(optim_wraper={}, randomness={"sed": 0}, model={"type": "DiffusionRestorr"})

    assert len(message.splitlines()) == 3


def test_what_is_right_passes():
    check_config(
        Config(
            {
                "_reused": {"anything": 1},
                "optim_wrapper": {
                    "type": "dtir.StagedOptimWrapper",
                    "optimizer": {"type": "AdamW", "lr": 1e-3},
                    "paramwise_cfg": {"custom_keys": {"backbone": {"lr_mult": 0.1}}},
                },
                "custom_hooks": [{"type": "mmengine.EMAHook", "priority": "LOW"}],
                "default_hooks": {"logger": {"interval": 10}, "checkpoint": None},
                "train_dataloader": {
                    "batch_size": 2,
                    "dataset": {"type": "PairedDataset", "task": "x", "data_root": "d"},
                    "collate_fn": {"type": "pseudo_collate"},
                },
                "model": {"type": "torch.nn.Conv2d", "in_channels": 3, "out_channels": 3, "kernel_size": 3},
            }
        ),
        SCHEMA,
    )


class Base:
    def __init__(self, a, b=1):
        pass


class Forwarding(Base):
    def __init__(self, c, **kwargs):
        super().__init__(**kwargs)


class Inheriting(Forwarding):
    pass


class Anything:
    def __init__(self, a, **kwargs):
        pass


class Layer(nn.Module):
    pass


def test_accepted_keys_follow_kwargs_into_base_classes():
    assert accepted_keys(Inheriting) == {"a", "b", "c"}
    assert accepted_keys(Anything) is None
    assert accepted_keys(Layer) == set()
    assert accepted_keys(lambda x, *, y=1: x) == {"x", "y"}
    assert accepted_keys(lambda **kwargs: 1) is None


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def read_error(path: Path, *options: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_config(path, options)
    return str(error.value)


def test_a_mistyped_key_of_a_base_is_found(tmp_path):
    write(tmp_path, "base.py", "randomness = dict(sed=0)")

    assert "'randomness.sed'" in read_error(write(tmp_path, "child.py", "_base_ = 'base.py'"))


def test_a_child_overrides_its_base(tmp_path):
    write(tmp_path, "base.py", "_seed = 1\nrandomness = dict(seed=_seed, deterministic=True)")
    text = "_base_ = 'base.py'\nrandomness = dict(seed={{_base_._seed}})\nexperiment_name = 'x'"
    child = write(tmp_path, "child.py", text)

    assert load_config(child).randomness == {"seed": 1, "deterministic": True}
    cfg = load_config(child, ["randomness.seed=7"], "elsewhere")

    assert cfg.randomness == {"seed": 7, "deterministic": True}
    assert (cfg.experiment_name, cfg.work_dir) == ("x", "elsewhere")


def test_missing_base_names_both_files(tmp_path):
    write(tmp_path, "bases/default.py", "")
    child = write(tmp_path, "child.py", "_base_ = ['bases/defualt.py']")

    message = read_error(child)

    assert f"{child}: the base config 'bases/defualt.py' does not exist" in message
    assert f"Did you mean '{tmp_path / 'bases' / 'default.py'}'?" in message


def test_missing_config_names_the_nearest(tmp_path):
    write(tmp_path, "nafnet.py", "")

    message = read_error(tmp_path / "nafnt.py")

    assert f"config '{tmp_path / 'nafnt.py'}' does not exist. Did you mean '{tmp_path / 'nafnet.py'}'?" in message


def test_not_a_config(tmp_path):
    assert "a config ends in .py" in read_error(write(tmp_path, "weights.pth", ""))


def test_a_config_that_is_its_own_base(tmp_path):
    write(tmp_path, "a.py", "_base_ = 'b.py'")

    assert "is its own base" in read_error(write(tmp_path, "b.py", "_base_ = 'a.py'"))


def test_syntax_error_names_file_and_line_also_in_a_base(tmp_path):
    base = write(tmp_path, "base.py", "a = 1\nb = dict(\n")

    assert f"{base}:2: not valid Python" in read_error(write(tmp_path, "child.py", "_base_ = 'base.py'"))


def test_an_error_in_a_config_names_the_line(tmp_path):
    path = write(tmp_path, "c.py", "_a = 1\n_b = _missing + 1\n")

    assert f"{path}: NameError (line 2): name '_missing' is not defined" in read_error(path)


def test_custom_imports_are_found_beside_the_config(tmp_path):
    write(
        tmp_path,
        "my_check_net.py",
        "from torch import nn\nfrom dtir.registry import BACKBONES\n\n\n@BACKBONES.register_module()\n"
        "class MyCheckNet(nn.Module):\n    def __init__(self, depth):\n        super().__init__()\n",
    )
    model = "dict(type='SupervisedRestorer', tasks=['x'], backbone=dict(type='MyCheckNet', {}=1))"
    text = f"custom_imports = dict(imports=['my_check_net'])\nmodel = {model}"

    load_config(write(tmp_path, "good.py", text.format("depth")))
    message = read_error(write(tmp_path, "bad.py", text.format("dept")))

    assert "unknown key 'model.backbone.dept'. Did you mean 'depth'?" in message


def test_custom_imports_that_fail(tmp_path):
    message = read_error(write(tmp_path, "c.py", "custom_imports = dict(imports=['no_such_module_here'])"))

    assert "custom_imports: Failed to import no_such_module_here" in message
    assert "PYTHONPATH" in message


@pytest.mark.parametrize(
    ("option", "part"),
    [("seed", "key=value"), ("randomness.sed=1", "'randomness.sed'"), ("custom_hooks.5.decay=1", "cannot be applied")],
)
def test_wrong_options(tmp_path, option, part):
    path = write(tmp_path, "c.py", "randomness = dict(seed=1)\ncustom_hooks = [dict(type='StageEMAHook')]")

    assert part in read_error(path, option)
