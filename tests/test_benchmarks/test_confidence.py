"""From which probability on an estimate should be believed: the tables, on tries whose outcome is known."""

from benchmarks.confidence import THRESHOLDS, Try, folder_table, table


def rows(found: list[Try]) -> dict[str, list[str]]:
    lines = [line.strip("| ").split(" | ") for line in table(found).splitlines()[2:]]
    return {line[0]: line[1:] for line in lines}


def test_a_threshold_leaves_alone_what_is_less_likely():
    found = [
        Try("noisy", "noisy", 0.95, 20.0, 30.0),
        Try("noisy", "rainy", 0.45, 20.0, 18.0),
        Try("hazy", "clean", 0.99, 20.0, 20.0),
        Try("hazy", "hazy", 0.65, 20.0, 22.0),
    ]
    found += [Try("clean", "clean", 0.9, 60.0, 60.0), Try("clean", "hazy", 0.55, 60.0, 40.0)]
    by_threshold = rows(found)
    assert len(by_threshold) == len(THRESHOLDS)
    assert by_threshold["0.0"] == ["75 %", "+2.50", "25.0 %", "-2.00", "50.0 / 40.0"]
    assert by_threshold["0.5"] == ["50 %", "+3.00", "0.0 %", "+0.00", "50.0 / 40.0"]
    assert by_threshold["0.7"] == ["25 %", "+2.50", "0.0 %", "+0.00", "60.0 / 60.0"]


def test_a_crop_taken_for_clean_is_not_changed_however_sure_the_estimate_is():
    assert Try("noisy", "clean", 1.0, 20.0, 20.0).gain == 0.0


def test_pairs_are_told_by_folder_and_damage():
    found = [Try("noisy-cc", "motion-blurry", 0.8, 30.0, 27.0), Try("noisy-cc", "motion-blurry", 0.9, 30.0, 29.0)]
    found += [Try("noisy-cc", "noisy", 0.95, 30.0, 33.0), Try("hazy", "hazy", 0.6, 10.0, 20.0)]
    lines = folder_table(found, 0.7).splitlines()[2:]
    assert lines == ["| noisy-cc | motion-blurry | 2 | -2.00 | -3.00 |", "| noisy-cc | noisy | 1 | +3.00 | +3.00 |"]
