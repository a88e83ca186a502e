"""The comparison of ways to learn from few pairs: what is learned from what, and how it is tabulated."""

import argparse
import json
from pathlib import Path

import pytest

from benchmarks.few_shot import pairs_of
from benchmarks.few_shot_cells import (
    BY_NUMBER,
    CHOSEN_AT,
    CHOSEN_ON,
    FEWER,
    KINDS,
    OLD,
    PROJECT,
    RIVAL,
    SCRATCH,
    UNPRETRAINED,
    WAYS,
    Cell,
    all_cells,
    chosen_rate,
    to_test,
    ways_of,
)
from benchmarks.few_shot_tables import (
    choices_table,
    difference,
    forgetting_table,
    networks_table,
    new_table,
    rates_table,
    read_cells,
)
from dtir.apis.adaptation.settings import AdaptationSettings

RATE = {way.name: way.rates for way in WAYS}


@pytest.fixture
def real_pairs(data_dir, without_data, monkeypatch):
    """Has the datasets find the real pairs."""
    if not (data_dir / "train_pairs").is_dir():
        without_data(f"the pairs to train on are not in {data_dir / 'train_pairs'}; set DTIR_DATA to the folder above")
    monkeypatch.setenv("DTIR_DATA", str(data_dir))


@pytest.mark.usefixtures("real_pairs")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_test_picture_is_trained_on(kind, tmp_path):
    tested = {Path(record["gt_path"]).name for record in to_test(kind)}
    pairs = FEWER.get(kind.name, CHOSEN_AT)
    folder = pairs_of(Cell(kind, pairs, 0), tmp_path)
    trained = {path.name for path in (folder / "GT").iterdir()}
    assert len(trained) == pairs
    assert len(tested) >= 5
    assert not trained & tested


@pytest.mark.usefixtures("real_pairs")
def test_a_kind_has_a_cell_for_each_number_of_pairs_that_it_has():
    args = argparse.Namespace(pairs=[30, 100], seeds=2, kinds=None, networks=1)
    cells = {(cell.kind.name, cell.pairs) for cell in all_cells(args)}
    assert cells == {
        ("low-light", 30),
        ("hazy", 30),
        ("raindrop", 30),
        ("real noise", 30),
        ("shadowed-docs", 10),
        ("low-light", 100),
        ("hazy", 100),
    }


@pytest.mark.usefixtures("real_pairs")
def test_further_networks_learn_by_the_ways_that_decide_from_as_many_pairs_as_these_are_of():
    args = argparse.Namespace(pairs=[30, 10], seeds=2, kinds=["hazy"], networks=2)
    cells = list(all_cells(args))
    assert [(cell.pairs, cell.network, cell.seed) for cell in cells] == [
        *((30, network, seed) for network in (0, 1) for seed in (0, 1)),
        *((10, 0, seed) for seed in (0, 1)),
    ]
    assert len({cell.file for cell in cells}) == len(cells)
    assert {way.name for way in ways_of(cells[2])} == {RIVAL, PROJECT}


def test_all_ways_learn_from_the_pairs_of_the_main_comparison_and_those_that_decide_from_others():
    by_name = {kind.name: kind for kind in KINDS}
    every, unswept = {way.name for way in WAYS}, {way.name for way in WAYS if not way.swept}
    expected = {
        ("low-light", CHOSEN_AT): every,
        ("hazy", CHOSEN_AT): unswept,
        ("shadowed-docs", FEWER["shadowed-docs"]): unswept,
        ("low-light", 100): set(BY_NUMBER),
        ("hazy", 10): set(BY_NUMBER),
    }
    found = {key: {way.name for way in ways_of(Cell(by_name[key[0]], key[1], 0))} for key in expected}
    assert found == expected


def test_all_ways_that_know_old_tasks_are_with_replay_and_without():
    # By adapters no old task changes, whatever is replayed.
    whole = [way for way in WAYS if way.base in ("told", "method") and way.settings["method"] == "full"]
    kinds = {(way.base, way.settings.get("importance") != 0.0): set() for way in whole if not way.swept}
    for way in (way for way in whole if not way.swept):
        replayed = AdaptationSettings(**way.settings).replay_share
        kinds[way.base, way.settings.get("importance") != 0.0].add((replayed, way.replay))
    held = {(0.0, False), (0.05, False), (0.05, True)}
    free = {(0.0, False), (0.05, True)}
    assert kinds == {(base, keeps): held if keeps else free for base in ("told", "method") for keeps in (True, False)}


def test_all_ways_search_the_rate_or_take_that_of_a_way_that_does():
    searching = {way.name for way in WAYS if way.rate_of is None}
    assert {way.rate_of for way in WAYS} - {None} <= searching
    assert len({way.name for way in WAYS}) == len(WAYS)


@pytest.fixture(name="results")
def results_fixture(tmp_path) -> Path:
    """Two ways; the higher rate is the better one on the held-out pairs of both kinds, for one way alone."""
    for kind in KINDS:
        pairs = FEWER.get(kind.name, CHOSEN_AT)
        for seed in (0, 1):
            measured = {}
            for name, gain in ((SCRATCH, 0.0), (PROJECT, 1.5), (RIVAL, 0.5)):
                values = {"input": [10.0, 20.0], "PSNR": [12.0 + gain + seed, 22.0 + gain + seed]}
                old = {task: [30.0 - 0.2 * seed, 31.0] for task in OLD}
                low = {**values, "held_out": 20.0 + gain, **({} if name == SCRATCH else {"old": old, "lost": {}})}
                high = {**low, "held_out": 21.0 if name == SCRATCH else 19.0, "PSNR": [1.0, 1.0]}
                measured[name] = {f"{rate:g}": value for rate, value in zip(RATE[name], (low, high), strict=True)}
            (tmp_path / Cell(kind, pairs, seed).file).write_text(json.dumps(measured))
            for base in ("told", "method"):
                path = tmp_path / f"base_{base}_seed{seed}.json"
                path.write_text(json.dumps({task: [30.0, 31.0] for task in OLD}))
    return tmp_path


def test_the_rate_is_that_of_the_held_out_pairs(results):
    rates = {way.name: chosen_rate(way, results) for way in WAYS if way.name in (SCRATCH, PROJECT, RIVAL)}
    assert rates == {SCRATCH: RATE[SCRATCH][1], PROJECT: RATE[PROJECT][0], RIVAL: RATE[RIVAL][0]}
    assert chosen_rate(next(way for way in WAYS if way.name == "told: full"), results) is None


def test_rates_stand_beside_what_they_reach(results):
    row = next(line for line in rates_table(results).splitlines() if line.startswith(f"| {SCRATCH}"))
    low, high = (f"{rate:g}" for rate in RATE[SCRATCH])
    assert row == f"| {SCRATCH} | {low}, {high} | 20.00, 21.00 | 17.00, 1.00 | {high} |"


def test_tables_compare_at_equal_pictures_and_seeds(results):
    kinds = [kind.name for kind in KINDS]
    found = read_cells(results, {name: FEWER.get(name, CHOSEN_AT) for name in kinds})
    assert set(found) == {SCRATCH, PROJECT, RIVAL}
    assert set(CHOSEN_ON) <= set(found[RIVAL])
    assert difference(found, PROJECT, RIVAL, kinds) == "+1.00 [+1.00, +1.00]"
    assert difference(found, PROJECT, UNPRETRAINED, kinds) == "-"
    row = next(line for line in new_table(found, kinds).splitlines() if line.startswith(f"| {RIVAL}"))
    assert row.startswith(f"| {RIVAL} | 2 | 18.00 ± 0.71 |")
    assert "| 18.00 | +17.00 [" in row
    gains = next(line for line in choices_table(found, kinds[:1]).splitlines() if f"{PROJECT} - {RIVAL}" in line)
    assert gains == f"| {PROJECT} - {RIVAL} | +1.00, +1.00: +1.00 ± 0.00 |"
    lost = next(line for line in forgetting_table(found, kinds, results).splitlines() if line.startswith(f"| {RIVAL}"))
    assert lost.endswith("| -0.05 | -0.10 |")


def test_differences_of_networks_are_means_over_the_choices_of_the_pairs(results):
    kinds = [kind.name for kind in KINDS]
    numbers = {name: FEWER.get(name, CHOSEN_AT) for name in kinds}
    for network, gain in ((1, 2.0), (2, 3.0)):
        for kind in KINDS:
            # Of one of the two choices.
            first = json.loads((results / Cell(kind, numbers[kind.name], 1).file).read_text())
            for values in first[PROJECT].values():
                values["PSNR"] = [value + gain for value in values["PSNR"]]
            path = results / Cell(kind, numbers[kind.name], 1, network).file
            path.write_text(json.dumps({name: first[name] for name in (PROJECT, RIVAL)}))
    lines = networks_table([read_cells(results, numbers, k) for k in range(3)], kinds).splitlines()
    # By Student's t of two degrees of freedom: 4.303 / sqrt(3) of the standard deviation.
    assert lines[3] == f"| {PROJECT} - {RIVAL} |" + " +1.00, +3.00, +4.00: +2.67 ± 3.79 |" * 6
    # An unfinished network is left out of the average alone.
    for network in (1, 2):
        (results / Cell(KINDS[0], numbers[kinds[0]], 1, network).file).unlink()
    row = networks_table([read_cells(results, numbers, k) for k in range(3)], kinds).splitlines()[3]
    assert row.startswith(f"| {PROJECT} - {RIVAL} | +1.00: +1.00 | +1.00, +3.00, +4.00: +2.67 ± 3.79 |")
    assert row.endswith("| +1.00: +1.00 |")
    # Scratch at the choice that both have: 13 and 23, by its rate 1 and 1.
    assert lines[4] == f"| {RIVAL} - {SCRATCH} |" + " +17.00, +17.50, +17.50: +17.33 ± 0.72 |" * 6
