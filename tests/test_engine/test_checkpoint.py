import pickle
from types import SimpleNamespace

import pytest
import torch
from tiny_run import built, last_state, tiny_config, train

from dtir.apis.models.build import load_restorer
from dtir.core.checkpoint import find_last_checkpoint, load_checkpoint, load_state
from dtir.core.errors import CheckpointError, DtirError
from dtir.engine import StagedRunner, StagedTrainLoop
from dtir.engine.hooks import AtomicCheckpointHook, BlindTaskHook, ForgettingHook
from dtir.evaluation import PSNR, PictureMetric
from dtir.regularizers import ParameterImportance


class Payload:
    """Pickled, this would run code when it is loaded."""

    def __reduce__(self):
        return print, ("code of the checkpoint ran",)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("finished")
    return work_dir, train(work_dir)


def plain_types(value) -> bool:
    if isinstance(value, dict):
        return all(plain_types(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return all(plain_types(item) for item in value)
    return isinstance(value, (torch.Tensor, str, int, float, bool, type(None)))


def test_checkpoint_is_plain_and_complete(finished):
    state = last_state(finished[0])
    assert plain_types(state)
    assert state["meta"]["tasks"] == ["noisy", "low-light", "jpeg-compressed"]
    assert state["meta"]["model_cfg"]["network"]["backbone"] == {"type": "TinyBackbone"}
    assert [curve["task"] for curve in state["matching"]] == state["meta"]["tasks"]
    assert state["state_dict"]["matched_t"].tolist() == [curve["t_star"] for curve in state["matching"]]


def test_old_checkpoints_are_pruned_and_the_best_is_kept(finished):
    work_dir = finished[0]
    assert sorted(path.name for path in work_dir.glob("iter_*.pth")) == ["iter_12.pth", "iter_14.pth"]
    best = last_state(work_dir)["meta"]["best"]
    assert [path.name for path in work_dir.glob("best_*.pth")] == [best["file"]]
    assert find_last_checkpoint(work_dir) == work_dir / "iter_14.pth"
    assert not list(work_dir.glob(".*.tmp"))


def test_restorer_from_checkpoint_holds_the_averaged_weights(finished):
    work_dir, runner = finished
    device = next(runner.model.parameters()).device
    restorer = load_restorer(work_dir / "iter_14.pth").to(device)
    average = next(hook for hook in runner.hooks if type(hook).__name__ == "StageEMAHook").ema_model.module
    x, t = torch.rand(1, 3, 9, 7, device=device), torch.tensor([3], device=device)
    assert torch.equal(restorer.restore(x, t), average.eval().restore(x, t))
    assert not torch.equal(restorer.restore(x, t), runner.model.eval().restore(x, t))


def test_pickled_code_is_refused_and_not_run(tmp_path, capsys):
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": {}, "meta": Payload()}, path)
    with pytest.raises(CheckpointError, match=r"evil.pth' holds pickled Python objects"):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(CheckpointError, match=r"evil.pth'"):
        load_checkpoint(path)
    assert "code of the checkpoint ran" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", "truncated"])
def test_damaged_files_are_named(tmp_path, finished, content):
    path = tmp_path / "damaged.pth"
    whole = (finished[0] / "iter_14.pth").read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content == "truncated" else content)
    with pytest.raises(CheckpointError, match=r"damaged.pth'"):
        load_checkpoint(path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint at '.*nowhere.pth'"):
        load_checkpoint(tmp_path / "nowhere.pth")
    assert find_last_checkpoint(tmp_path) is None
    (tmp_path / "last_checkpoint").write_text("iter_7.pth")
    with pytest.raises(CheckpointError, match=r"names 'iter_7.pth', which is not there"):
        find_last_checkpoint(tmp_path)


def test_another_architecture_is_named(tmp_path, finished):
    other = StagedRunner.from_cfg(tiny_config(tmp_path, **{"model.network.backbone.width": 4})).model
    with pytest.raises(CheckpointError, match="belongs to another model than DiffusionRestorer") as error:
        load_state(other, last_state(finished[0])["state_dict"], "iter_14.pth")
    assert "of another shape" in str(error.value)
    with pytest.raises(CheckpointError, match=r"missing key\(s\)"):
        load_state(other, {"odd": torch.zeros(1)}, "odd.pth")


def test_bare_weights_cannot_be_restored_with(tmp_path):
    path = tmp_path / "bare.pth"
    torch.save({"intro.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"Found: intro.weight"):
        load_restorer(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"randomness.seed": 7}, "trained with seed=0, the config has seed=7"),
        ({"train_dataloader.batch_size": 4}, "trained with 8 samples in all per step"),
        ({"train_cfg.stages": [{"name": "finetune", "iters": 99, "lr": 1e-3}]}, "max_iters=14, the config has"),
        ({"model.network.backbone.width": 4}, "belongs to another model than DiffusionRestorer"),
    ],
)
def test_resuming_another_run_is_refused(finished, options, message):
    with pytest.raises(CheckpointError, match=message):
        train(finished[0], resume=True, **options)


def test_full_disk_keeps_the_older_checkpoints(tmp_path, monkeypatch):
    runner = train(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.pth")}

    def full(obj, file):
        file.write(b"part of a checkpoint")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(DtirError, match=r"cannot write checkpoint '.*iter_14.pth': .*No space left on device"):
        runner.save_checkpoint(str(tmp_path), "iter_14.pth")
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.pth")} == before
    assert not list(tmp_path.glob(".*.tmp"))


class Difference(PictureMetric):
    """Of which less is better."""

    name, higher_is_better = "Difference", False

    def measure(self, picture, gt):
        return (picture - gt).abs().flatten(1).mean(1)


@pytest.mark.parametrize(
    ("save_best", "key", "best"),
    [
        ("average/PSNR", "average/PSNR", 1),
        ("average/Difference", "average/Difference", 2),
        ("noisy/Difference", "noisy/Difference", 2),
        ("noisy/y/PSNR", "y/noisy/PSNR", 1),
    ],
)
def test_the_best_checkpoint_is_not_the_latest(tmp_path, save_best, key, best):
    hook, loop = AtomicCheckpointHook(save_best=save_best), StagedTrainLoop.__new__(StagedTrainLoop)
    evaluator = SimpleNamespace(metrics=[PSNR(), Difference(), PSNR(protocol="y", prefix="y")])
    model = SimpleNamespace(tasks=("noisy",))
    runner = SimpleNamespace(
        work_dir=tmp_path, iter=0, _train_loop=loop, model=model, val_loop=SimpleNamespace(evaluator=evaluator)
    )
    runner.save_checkpoint = lambda out, name: (out / name).write_text(str(runner.iter))
    hook.before_train(runner)
    for runner.iter, value in enumerate((22.0, 25.0, 20.0, 24.0)):
        hook.after_val_epoch(runner, {key: value})
    name = f"best_{save_best.replace('/', '_')}_iter_{best}.pth"
    assert hook.best["file"] == name
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("resume", [True, False])
def test_a_resumed_run_compares_with_its_best(tmp_path, resume):
    hook, loop = AtomicCheckpointHook(), StagedTrainLoop.__new__(StagedTrainLoop)
    saved = []
    runner = SimpleNamespace(work_dir=tmp_path, iter=7, _train_loop=loop, _resume=resume)
    runner.save_checkpoint = lambda out, name: saved.append(name)
    hook.after_load_checkpoint(runner, {"meta": {"best": {"value": 25.0, "file": "best_average_PSNR_iter_1.pth"}}})
    hook.after_val_epoch(runner, {"average/PSNR": 24.0})
    # Weights of another run begin their own.
    assert saved == ([] if resume else ["best_average_PSNR_iter_7.pth"])


def test_weights_of_another_run_come_without_what_its_hooks_knew(tmp_path):
    regularizer, hooks = ParameterImportance(), (ForgettingHook(), BlindTaskHook(width=8))
    saved = built(tmp_path / "first", custom_hooks=[])
    saved.optim_wrapper = saved.build_optim_wrapper(saved.optim_wrapper)
    state = {part: {"a": torch.ones(1)} for part in ("mean", "square", "anchor")}
    regularizer.state, hooks[0].stages = state, {"one": {"noisy": 20.0}}
    hooks[1].before_train(saved)
    for hook in (regularizer, *hooks):
        saved.register_hook(hook)
    saved.save_checkpoint(tmp_path, "a.pth")
    for resume in (False, True):
        options = {"load_from": str(tmp_path / "a.pth"), "resume": resume, "custom_hooks": []}
        runner = built(tmp_path / str(resume), **options)
        for hook in (ParameterImportance(), ForgettingHook()):
            runner.register_hook(hook)
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        runner.load_or_resume()
        loaded = {type(hook).__name__: hook for hook in runner.hooks}
        assert loaded["ParameterImportance"].state == (state if resume else {})
        assert loaded["ForgettingHook"].stages == ({"one": {"noisy": 20.0}} if resume else {})
        for key, value in saved.model.state_dict().items():
            assert torch.equal(value, runner.model.state_dict()[key])
