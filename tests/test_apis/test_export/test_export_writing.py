"""Models as files of other runtimes: what they compute, what they say of themselves, and what is refused."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dtir import RestorationInferencer, cli
from dtir.apis.export.exported import ExportedRestorer, estimator_beside
from dtir.apis.export.graph_files import Signature, open_graph, write_graph
from dtir.apis.export.writing import COMPARED, MOST_DIFFERENCE, export_model
from dtir.apis.models.build import load_restorer
from dtir.apis.models.files import write_model_file
from dtir.apis.models.graph_names import chosen_backend
from dtir.core.errors import CheckpointError, ConfigError, TaskError
from dtir.models import FixedStep
from dtir.models.backbones.traits import Traits
from dtir.models.estimator import TaskEstimator
from dtir.registry import RESTORERS
from dtir.testing.small_backbones import SMALL

TASKS = ("noisy", "rainy", "hazy")
needs_onnx = pytest.mark.usefixtures("onnx_installed")


@pytest.fixture
def onnx_installed():
    for module in ("onnx", "onnxruntime"):
        pytest.importorskip(module, reason=f"{module} is not installed; pip install -e .[onnx]")


@pytest.fixture
def openvino():
    return pytest.importorskip("openvino", reason="openvino is not installed; pip install -e .[openvino]")


def small_restorer(backbone="NAFNet", adapter=None, estimator=True, extensions=None):
    """A restorer in which no weight is zero, so that every part shows in the output."""
    torch.manual_seed(0)
    network = {"type": "TimeConditioning", "backbone": {"type": backbone, **SMALL[backbone]}, "adapter": adapter}
    if extensions:
        network |= {"type": "ExtendedConditioning", "extensions": extensions}
    config = {"type": "DiffusionRestorer", "network": network, "tasks": list(TASKS)}
    config["scheduler"] = {"type": "DDPMScheduler", "num_timesteps": 50}
    config["matched_t"] = {"noisy": 6, "rainy": 1, "hazy": 30}
    model = RESTORERS.build(config)
    for p in model.parameters():
        if not p.any():
            nn.init.normal_(p, std=0.1)
    model.model_cfg = config
    model.estimator = TaskEstimator(3, 4, TASKS, 0.0) if estimator else None
    return model.eval()


class Sole(nn.Module):
    """A restorer with one task, whose picture is what a function makes of it."""

    tasks, num_timesteps, estimator, traits = ("noisy",), 0, None, Traits(licence="MIT")

    def __init__(self, function):
        super().__init__()
        self.register_buffer("matched_t", torch.zeros(1, dtype=torch.long))
        self.function = function

    def restore(self, lq, t):
        return self.function(lq)


class Stepwise(nn.Module):
    """A restorer whose pictures show the step, with an estimator of it whose weights are random."""

    num_timesteps, traits = 50, Traits()

    def __init__(self, tasks):
        super().__init__()
        torch.manual_seed(0)
        self.tasks = tasks
        self.register_buffer("matched_t", torch.arange(len(tasks)) + 1)
        self.estimator = TaskEstimator(len(tasks), 4, tasks, 0.0, steps={"noisy": range(0, 51)})

    def restore(self, lq, t):
        return lq + t.view(-1, 1, 1, 1) / 100


@needs_onnx
@pytest.mark.parametrize(
    ("backbone", "adapter"),
    [
        ("NAFNet", {"type": "ParallelMoEAdapter"}),
        ("NAFNet", {"type": "MoEAdapter", "activation": "gelu"}),
        ("Restormer", {"type": "ParallelMoEAdapter"}),
    ],
)
def test_onnx_computes_what_the_model_does(backbone, adapter, tmp_path):
    model = small_restorer(backbone, adapter)
    for task in ("hazy", "auto"):
        done = export_model(model, tmp_path / f"{task}.onnx", "onnx", task)
        assert done.difference <= MOST_DIFFERENCE
        assert done.notes == ()
        exported = ExportedRestorer(done.files[0], "onnxruntime")
        picture = torch.rand(2, 3, 45, 70, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            steps = torch.tensor([30, 30] if task == "hazy" else [6, 30])
            torch.testing.assert_close(
                exported.restore(picture, steps), model.restore(picture, steps), atol=MOST_DIFFERENCE, rtol=0
            )
            if task == "auto":
                torch.testing.assert_close(exported.estimator(picture), model.estimator(picture), atol=1e-5, rtol=0)


@needs_onnx
@pytest.mark.parametrize("task", ["hazy", "noisy", "auto"])
def test_onnx_computes_what_a_model_does_that_learned_a_task_later(task, tmp_path):
    # The step of "hazy" is a task's own, with a curve; that of "noisy" is as before.
    model = small_restorer(extensions=[{"step": 30, "start": 6, "rank": 2, "curve": True}])
    exported = ExportedRestorer(export_model(model, tmp_path / "a.onnx", "onnx", task).files[0], "onnxruntime")
    picture = torch.rand(2, 3, 45, 70, generator=torch.Generator().manual_seed(1))
    steps = torch.tensor({"hazy": [30, 30], "noisy": [6, 6], "auto": [6, 30]}[task])
    with torch.inference_mode():
        restored = model.restore(picture, steps)
        torch.testing.assert_close(exported.restore(picture, steps), restored, atol=MOST_DIFFERENCE, rtol=0)
        if task == "auto":
            assert not torch.allclose(restored[1], model.restore(picture, steps[:1].expand(2))[1], atol=1e-2)


@pytest.mark.parametrize(
    ("name", "tasks", "installed"),
    [("a.onnx", ("noisy",), "onnx_installed"), ("a.xml", TASKS, "openvino")],
)
def test_an_exported_estimator_tells_the_step_as_the_model_does(name, tasks, installed, tmp_path, request):
    request.getfixturevalue(installed)
    model = Stepwise(tasks).eval()
    pictures = torch.rand(3, 3, 40, 33) / torch.tensor([5, 2, 1]).view(3, 1, 1, 1)
    spread_places(model.estimator, pictures)
    path = export_model(model, tmp_path / name, {".onnx": "onnx", ".xml": "openvino"}[Path(name).suffix]).files[0]
    ours, exported = (RestorationInferencer(each, device="cpu") for each in (model, path))
    for task in ("noisy", None):
        (expected, told), (found, said) = (
            each(pictures, task, "auto", passes=1, with_details=True) for each in (ours, exported)
        )
        torch.testing.assert_close(found, expected, atol=MOST_DIFFERENCE, rtol=0)
        assert [(each.task, each.step) for each in said] == [(each.task, each.step) for each in told]
        if task:
            assert len({each.step for each in said}) == 3


@pytest.mark.parametrize(("name", "installed"), [("a.onnx", "onnx_installed"), ("a.xml", "openvino")])
def test_an_exported_estimator_has_its_glance(name, installed, tmp_path, request):
    request.getfixturevalue(installed)
    model = small_restorer()
    settings = model.estimator.settings() | {
        "glance": {"told": ["rainy"], "width": 4},
        # Never sure by itself.
        "least_confidence": 1.0,
        "least_of_two": None,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model.estimator = TaskEstimator(len(model.tasks), **{**settings, "classes": model.tasks}).eval()
    path = export_model(model, tmp_path / name, {".onnx": "onnx", ".xml": "openvino"}[Path(name).suffix]).files[0]
    exported = RestorationInferencer(path, device="cpu").judge.estimator
    # Of sizes that are no multiples of the copy's, larger and smaller.
    for size in ((200, 130), (61, 97)):
        picture = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            found, glance = exported(picture), model.estimator.glance
            torch.testing.assert_close(found, model.estimator(picture), atol=1e-4, rtol=0)
            model.estimator.glance = None
            assert not torch.allclose(found, model.estimator(picture).log_softmax(1), atol=1e-2)
            model.estimator.glance = glance


def spread_places(estimator, pictures):
    """Has an estimator with random weights place pictures from -0.45 to 0.45, which is not between two of 51 steps."""
    with torch.no_grad():
        places = estimator.both(pictures)[1]
        scale = 0.9 / (places.max() - places.min())
        estimator.step_head.weight.mul_(scale)
        estimator.step_head.bias.sub_((places.max() + places.min()) / 2).mul_(scale)


@needs_onnx
def test_the_packaged_model_with_its_estimator(tmp_path):
    from dtir.apis.models.names import find_model

    out = tmp_path / "universal.onnx"
    assert cli.main(["export", "--to", "onnx", str(out)]) == 0
    model, exported = load_restorer(find_model()), ExportedRestorer(out, "onnxruntime")
    assert exported.tasks == model.tasks
    assert exported.matched_t.tolist() == model.matched_t.tolist()
    assert exported.estimator.least_confidence == model.estimator.least_confidence
    assert exported.estimator.least_of_two == model.estimator.least_of_two
    assert exported.estimator.trials == model.estimator.trials
    assert exported.flips_up_to == model.flips_up_to
    picture = torch.rand(1, 3, 50, 67, generator=torch.Generator().manual_seed(1))
    for step in (5, 50):
        with torch.inference_mode():
            found, expected = (one.restore(picture, torch.tensor([step])) for one in (exported, model))
        assert (found - expected).abs().max() <= MOST_DIFFERENCE


@needs_onnx
def test_what_a_file_says_of_itself(tmp_path):
    import onnx

    done = export_model(small_restorer(), tmp_path / "a.onnx", "onnx", licence="CC0-1.0")
    assert [file.name for file in done.files] == ["a.onnx", "a.estimator.onnx"]
    model = onnx.load(done.files[0])
    says = {entry.key: entry.value for entry in model.metadata_props}
    facts = {key: json.loads(says[key]) for key in ("tasks", "steps", "size_multiple", "licence", "value_range")}
    assert facts["steps"] == {"noisy": 6, "rainy": 1, "hazy": 30}
    assert facts["size_multiple"] == small_restorer().traits.size_multiple
    assert facts["licence"] == "CC0-1.0"
    assert json.loads(says["flips_up_to"]) == 0
    assert facts["value_range"].startswith("RGB in [0, 1]")
    assert [each.name for each in model.graph.input] == ["picture", "step"]
    shape = [axis.dim_param or axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim]
    assert shape == ["batch", 3, "height", "width"]


def test_openvino_in_both_precisions(openvino, tmp_path):
    model = small_restorer(adapter={"type": "ParallelMoEAdapter"})
    path = export_model(model, tmp_path / "a.xml", "openvino", "rainy").files[0]
    exported = ExportedRestorer(path, "openvino")
    picture, step = torch.rand(1, 3, 45, 70), torch.tensor([1])
    with torch.inference_mode():
        expected = model.restore(picture, step)
        torch.testing.assert_close(exported.restore(picture, step), expected, atol=MOST_DIFFERENCE, rtol=0)
        with exported.at_precision("bf16"):
            assert (exported.restore(picture, step) - expected).abs().mean() < 0.05
    with pytest.raises(ConfigError, match="step 1; export"):
        exported.restore(picture, torch.tensor([6]))
    weights = bytearray((tmp_path / "a.bin").read_bytes())
    weights[-2] ^= 1
    (tmp_path / "a.bin").write_bytes(weights)
    with pytest.raises(CheckpointError, match="not the file of weights"):
        ExportedRestorer(path, "openvino")


def test_torchscript_runs_by_itself(tmp_path):
    model = small_restorer(adapter={"type": "MoEAdapter"})
    path = export_model(model, tmp_path / "a.torchscript", "torchscript", "noisy").files[0]
    picture = torch.rand(1, 3, 33, 40)
    with torch.inference_mode():
        found = torch.jit.load(str(path))(picture)
        torch.testing.assert_close(found, model.restore(picture, torch.tensor([6])), atol=MOST_DIFFERENCE, rtol=0)
    with pytest.raises(CheckpointError, match="exported for another runtime"):
        load_restorer(path)


def test_a_model_file_folded_for_one_task(tmp_path):
    model = small_restorer(adapter={"type": "ParallelMoEAdapter"})
    path = export_model(model, tmp_path / "hazy.safetensors", "safetensors", "hazy").files[0]
    folded = load_restorer(path)
    assert isinstance(folded.network, FixedStep)
    assert folded.tasks == ("hazy",)
    picture = torch.rand(1, 3, 20, 12)
    with torch.inference_mode():
        torch.testing.assert_close(
            folded.restore(picture, folded.matched_t[:1]), model.restore(picture, torch.tensor([30]))
        )
    with pytest.raises(ConfigError, match="folded for one task"):
        export_model(model, tmp_path / "all.safetensors", "safetensors")


def test_what_differs_is_not_written(tmp_path):
    # A trace keeps the branch that its own size took.
    branching = Sole(lambda x: x if x.shape[-1] < 100 else x + 0.01)
    with pytest.raises(ConfigError, match=r"differs from PyTorch by 1\.0e-02 for pictures of 192 x 160 pixels"):
        export_model(branching, tmp_path / "a.torchscript", "torchscript")
    assert any(size[2] >= 100 for size in COMPARED)
    assert list(tmp_path.iterdir()) == []


@needs_onnx
def test_a_refusal_is_one_sentence(tmp_path, capfd):
    resizing = Sole(lambda x: nn.functional.interpolate(x, x.shape[-2:], mode="bilinear", antialias=True))
    with pytest.raises(ConfigError, match=r"cannot be exported to ONNX: .*upsample_bilinear2d_aa"):
        export_model(resizing, tmp_path / "a.onnx", "onnx")
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "task", "out", "error", "words"),
    [
        ({}, "foggy", "a.torchscript", TaskError, "foggy"),
        ({"estimator": None}, "auto", "a.torchscript", ConfigError, "noisy, rainy, hazy"),
        ({"set_sampling": print}, "noisy", "a.torchscript", ConfigError, "many steps"),
        ({}, "noisy", "a.pt", ConfigError, r"ends in \.torchscript"),
    ],
)
def test_what_cannot_be_exported_is_said(change, task, out, error, words, tmp_path):
    model = small_restorer()
    for name, value in change.items():
        setattr(model, name, value)
    with pytest.raises(error, match=words):
        export_model(model, tmp_path / out, "torchscript", task)
    assert list(tmp_path.iterdir()) == []


@needs_onnx
def test_dtir_restore_runs_an_exported_model(tmp_path):
    model = small_restorer()
    write_model_file(tmp_path / "m.safetensors", model)
    out = tmp_path / "m.onnx"
    assert cli.main(["export", "--model", str(tmp_path / "m.safetensors"), "--to", "onnx", str(out)]) == 0
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p.png", dpi=(300, 300))
    options = ["--tile", "64", "--task", "rainy", "--log", str(tmp_path / "log.jsonl")]
    for name in ("m.onnx", "m.safetensors"):
        words = ["restore", tmp_path / "p.png", "--model", tmp_path / name, "--out", tmp_path / f"{name}.png", *options]
        assert cli.main(list(map(str, words))) == 0
    first, second = (Image.open(tmp_path / f"{name}.png") for name in ("m.onnx", "m.safetensors"))
    assert np.abs(np.asarray(first).astype(int) - np.asarray(second)).max() <= 1
    assert round(first.info["dpi"][0]) == 300
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["settings"].get("backend") for line in lines] == ["onnxruntime", None]
    estimator_beside(out).unlink()
    with pytest.raises(CheckpointError, match=r"estimator '.*m\.estimator\.onnx' is missing"):
        RestorationInferencer(out)


@needs_onnx
def test_a_file_of_another_program_is_refused(tmp_path):
    signature = Signature(("picture",), ("out",), ({2: "height"},))
    write_graph(tmp_path / "a.onnx", "onnx", nn.ReLU(), [torch.rand(1, 3, 8, 8)], signature, {})
    import onnx

    model = onnx.load(tmp_path / "a.onnx")
    model.ClearField("metadata_props")
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(CheckpointError, match="not written by dtir export"):
        RestorationInferencer(tmp_path / "a.onnx")
    (tmp_path / "a.onnx").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="damaged or no ONNX model"):
        RestorationInferencer(tmp_path / "a.onnx")


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.onnx").touch()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"pip install 'dtir\[onnx\]'"):
        open_graph(tmp_path / "a.onnx", "onnxruntime")


def test_backends_run_exported_models_alone(tmp_path):
    assert chosen_backend(tmp_path / "a.xml", None) == "openvino"
    assert chosen_backend(tmp_path / "a.onnx", "openvino") == "openvino"
    assert chosen_backend(tmp_path / "a.pth", "torch") is None
    with pytest.raises(ConfigError, match=r"dtir export --model .*a\.pth --to onnx a\.onnx"):
        chosen_backend(tmp_path / "a.pth", "onnxruntime")
    with pytest.raises(ConfigError, match="onnxruntime runs; leave out"):
        chosen_backend(tmp_path / "a.onnx", "torch")
