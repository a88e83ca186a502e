"""The comparison on other sets than those of the training: what its runs are, and how they are tabulated."""

import copy
import json
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from benchmarks.generalisation import handed_on, pool_locally
from benchmarks.generalisation_cells import ONE, SOURCES, TEN, TEST_SETS, Cell, all_cells
from benchmarks.generalisation_tables import difference, earlier, means, print_tables, rows_of, worst
from dtir.core.errors import ConfigError
from dtir.engine.stages import StagePlan
from dtir.models.backbones import DTIRUNet
from dtir.registry import RESTORERS, SCOPE

CELLS = [cell for cell in all_cells(1) if not cell.way.pretrained]


def names(cells):
    return [cell.file for cell in cells]


def test_cells_have_files_of_their_own():
    cells = list(all_cells(2))
    assert len(set(names(cells))) == len(cells) == 2 * (len(ONE) * len(SOURCES) + len(TEN))


@pytest.mark.parametrize("cell", CELLS, ids=names(CELLS))
def test_a_cell_has_as_many_iterations_as_those_that_it_is_compared_with(cell):
    config = (cell.parted if cell.way.first else cell.config)(Path("unused"))
    plan = StagePlan(config.train_cfg.stages, len(config.model.tasks))
    iters = sum(stage.settings.iters for stage in plan)
    if cell.way.shares:
        half = cell.half(Path("unused"))
        assert 2 * sum(stage.settings.iters for stage in StagePlan(half.train_cfg.stages, 10)) == iters
    if cell.way.first:
        before = cell.before(Path("unused"))
        iters += sum(stage.settings.iters for stage in StagePlan(before.train_cfg.stages, len(before.model.tasks)))
    assert iters == (800 if cell.source is None and cell.way.long else 400)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_a_cell_of_one_task_trains_on_its_pairs(source):
    config = Cell(ONE[0], source, 0).config(Path("unused"))
    assert config.model.tasks == [source.task]
    root = f"train_pairs/{source.pairs}" if source.pairs else "clean"
    assert [data.data_root for data in config.train_dataloader.dataset.datasets] == [root]


def way(name):
    return next(way for way in ONE if way.name == name)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_few_pictures_are_all_that_differs(source):
    wide, few = (
        Cell(way(name), source, 0).config(Path("unused")).train_dataloader.dataset.datasets[0].datasets
        for name in ("wide", "wide, few pictures")
    )
    for whole, part in zip(wide, few, strict=True):
        assert part.pop("held", None) == (True if source.pairs else None)
        assert part.pop("held_every", None) == (5 if source.pairs else None)
        assert part.pop("data_root") == (whole.pop("data_root") if source.pairs else "clean/mcmaster")
        whole.pop("data_root", None)
        assert part == whole


@pytest.mark.parametrize(
    ("name", "kind"),
    [("wide, masked pre-training", "MaskedDataset"), ("wide, reversed pre-training", "ReversedDataset")],
)
def test_a_pretraining_sees_the_pictures_of_the_training(name, kind):
    cell = Cell(way(name), SOURCES[0], 0)
    before, after = (
        made.train_dataloader.dataset.datasets for made in (cell.before(Path("a")), cell.config(Path("a")))
    )
    assert [made.dataset for made in before] == after
    assert [made.type for made in before] == [kind]


@pytest.mark.parametrize("classified", [False, True])
def test_ten_tasks_are_handed_on_by_a_network_that_was_not_told(classified, tmp_path):
    cell = Cell(next(w for w in TEN if w.first == "masked" and w.classified == classified), None, 0)
    before, after, whole = cell.before(tmp_path), cell.parted(tmp_path), cell.config(tmp_path)
    assert before.model.type == ("ClassifyingRestorer" if classified else "SupervisedRestorer")
    assert [made.dataset.type for made in before.train_dataloader.dataset.datasets] == ["MixtureDataset"] * 10
    assert (
        2 * before.train_cfg.stages[0].iters == 2 * after.train_cfg.stages[0].iters == whole.train_cfg.stages[0].iters
    )
    with DefaultScope.overwrite_default_scope(SCOPE):
        trained = RESTORERS.build(before.model)
    for parameter in trained.parameters():
        torch.nn.init.normal_(parameter)
    torch.save({"state_dict": trained.state_dict()}, tmp_path / "before.pth")
    start = torch.load(handed_on(tmp_path / "before.pth", after, tmp_path / "start.pth"), weights_only=True)
    with DefaultScope.overwrite_default_scope(SCOPE):
        told = RESTORERS.build(after.model)
    told.load_state_dict(start["state_dict"])
    assert all(
        torch.equal(a, b) for a, b in zip(told.backbone.parameters(), trained.backbone.parameters(), strict=True)
    )


def test_another_network_is_not_handed_on(tmp_path):
    cell = Cell(next(w for w in TEN if w.first == "masked"), None, 0)
    torch.save({"state_dict": {"backbone.other": torch.zeros(1)}}, tmp_path / "before.pth")
    with pytest.raises(ConfigError, match="holds another network than DTIRUNet"):
        handed_on(tmp_path / "before.pth", cell.parted(tmp_path), tmp_path / "start.pth")


def test_shares_follow_errors():
    cell = Cell(next(way for way in TEN if way.shares == "loss"), None, 0)
    equal, told = cell.half(Path("a")), cell.half(Path("a"), [0.01] * 9 + [0.03])
    assert [made.get("weight") for made in told.train_dataloader.dataset.datasets] == [833] * 9 + [2500]
    assert [config.train_cfg.stages[0].get("mixing", "balanced") for config in (equal, told)] == [
        "balanced",
        "proportional",
    ]


def test_another_loss_is_all_that_differs():
    l2, l1 = (Cell(way(name), SOURCES[0], 0).config(Path("a")) for name in ("wide", "wide, L1 + 0.1 FFT"))
    first, second = (dict(config.model.to_dict()) for config in (l2, l1))
    assert [loss.pop("losses")[0]["type"] for loss in (first, second)] == ["PSNRLoss", "WeightedLosses"]
    assert first == second
    for key in ("train_cfg", "train_dataloader", "optim_wrapper", "custom_hooks"):
        assert l2[key] == l1[key]


def test_local_pooling_is_global_on_patches_of_the_training():
    torch.manual_seed(0)
    network = DTIRUNet(4, 1, [1, 1, 1], [1, 1, 1]).eval()
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.3)
    local = copy.deepcopy(network)
    pool_locally(local, 40)
    same = torch.rand(1, 3, 40, 40)
    larger = same.repeat(1, 1, 2, 2) * torch.linspace(0, 1, 80)
    with torch.no_grad():
        assert torch.equal(local(same), network(same))
        assert (local(larger) - network(larger)).abs().max() > 1e-3
    assert local.state_dict().keys() == network.state_dict().keys()


def test_own_steps_are_all_that_differs_from_the_same_network_without():
    told, own = (Cell(TEN[k], None, 0).config(Path("unused")) for k in (1, 2))
    assert told.model == own.model
    assert own.model.matched_t["noisy"] == 23
    # Pairs are faded no further than to what was recorded, the last step of their band.
    assert own.model.matched_t["rainy"] == 35
    for before, after in zip(*(config.train_dataloader.dataset.datasets for config in (told, own)), strict=True):
        steps = [part.pop("severity_steps") for part in after.datasets]
        assert before == after
        assert steps[1] == [(0.0, 0)]


def test_the_bands_of_ten_tasks_do_not_meet():
    datasets = Cell(TEN[2], None, 0).config(Path("unused")).train_dataloader.dataset.datasets
    ends = [step for made in datasets for _, step in made.datasets[0].severity_steps]
    assert ends == sorted(set(ends))
    assert (ends[0], ends[-1]) == (1, 50)


@pytest.fixture(name="results")
def results_fixture(tmp_path):
    for seed, gain in ((0, 1.0), (1, 3.0)):
        for way, extra in ((ONE[0], 0.0), (ONE[2], gain)):
            values = {name: {"PSNR": [20 + extra, 22 + extra], "input": [18.0, 24.0]} for name in ("Rain100L", "rainy")}
            path = tmp_path / Cell(way, SOURCES[0], seed).file
            path.write_text(json.dumps({"told": {**values, "clean": {"RMSE": [2.0, 4.0]}}}))
    return tmp_path


def test_rows_are_compared_at_equal_seeds(results):
    rows = rows_of(results, SOURCES[0], 2)
    assert list(rows) == ["plain", "wide"]
    assert means(rows["wide"], ["rainy"]) == [22, 24]
    assert difference(rows["wide"], rows["plain"], ["rainy"]) == "+2.00 [+2.00, +2.00] (+1.00, +3.00)"
    del rows["plain"][0]
    assert difference(rows["wide"], rows["plain"], ["rainy"]) == "+3.00 [+3.00, +3.00] (+3.00)"


def test_the_worst_gain_is_that_of_any_picture():
    values = {name: {"PSNR": [20.0, 21.0], "input": [18.0, 24.0]} for name in TEST_SETS}
    assert worst({0: values}) == "-3.0"


def test_the_tables(results, capsys):
    print_tables(results, 2)
    lines = capsys.readouterr().out.splitlines()
    assert "| Rain100L | Rain100H | 21.00 | 21.00 ± 0.00 | 23.00 ± 1.41 |" in lines
    assert "| Rain100L | 3.00 ± 0.00 | 3.00 ± 0.00 |" in lines


def test_the_earlier_comparison_is_tabulated_where_it_has_results(tmp_path):
    for seed, value in ((0, 20.0), (1, 26.0)):
        folder = tmp_path / f"full_Rain100L_seed{seed}"
        folder.mkdir()
        (folder / "results.json").write_text(json.dumps({"rainy": {"PSNR": [value, value + 2]}}))
    assert earlier(tmp_path).splitlines()[2:] == ["| Rain100L | Rain100H | - | 24.00 ± 4.24 |"]
