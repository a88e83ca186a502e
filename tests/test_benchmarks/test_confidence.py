"""From which probability on an estimate should be believed: the tables, on tries whose outcome is known."""

from benchmarks.confidence import Try, by_confidence, by_two, folder_table, table

FOUND = [
    Try("noisy", "noisy", 0.95, 0.97, 20.0, 30.0),
    Try("noisy", "rainy", 0.45, 0.85, 20.0, 18.0),
    Try("hazy", "clean", 0.99, 0.01, 20.0, 20.0),
    Try("hazy", "hazy", 0.65, 0.95, 20.0, 22.0),
    Try("clean", "clean", 0.9, 0.1, 60.0, 60.0),
    Try("clean", "hazy", 0.55, 0.6, 60.0, 40.0),
]


def rows(sure) -> dict[str, list[str]]:
    lines = [line.strip("| ").split(" | ") for line in table(FOUND, "threshold", sure).splitlines()[2:]]
    return {line[0]: line[1:] for line in lines}


def test_a_threshold_leaves_alone_what_is_less_likely():
    by_threshold = rows({value: by_confidence(value) for value in (0.0, 0.5, 0.7)})
    assert by_threshold == {
        "0": ["75 %", "+2.50", "25.0 %", "-2.00", "50.0 / 40.0"],
        "0.5": ["50 %", "+3.00", "0.0 %", "+0.00", "50.0 / 40.0"],
        "0.7": ["25 %", "+2.50", "0.0 %", "+0.00", "60.0 / 60.0"],
    }


def test_two_damages_together_are_ground_too():
    by_threshold = rows({value: by_two(value, 0.7) for value in (0.8, 0.9, 0.96)})
    assert by_threshold == {
        "0.8": ["75 %", "+2.50", "25.0 %", "-2.00", "60.0 / 60.0"],
        "0.9": ["50 %", "+3.00", "0.0 %", "+0.00", "60.0 / 60.0"],
        "0.96": ["25 %", "+2.50", "0.0 %", "+0.00", "60.0 / 60.0"],
    }


def test_a_crop_taken_for_clean_is_not_changed_however_sure_the_estimate_is():
    assert Try("noisy", "clean", 1.0, 0.0, 20.0, 20.0).gain == 0.0


def test_pairs_are_told_by_folder_and_damage():
    found = [
        Try("noisy-cc", "motion-blurry", 0.8, 0.9, 30.0, 27.0),
        Try("noisy-cc", "motion-blurry", 0.9, 0.95, 30.0, 29.0),
        Try("noisy-cc", "noisy", 0.95, 0.96, 30.0, 33.0),
        Try("hazy", "hazy", 0.6, 0.7, 10.0, 20.0),
    ]
    lines = folder_table(found, by_confidence(0.7)).splitlines()[2:]
    assert lines == ["| noisy-cc | motion-blurry | 2 | -2.00 | -3.00 |", "| noisy-cc | noisy | 1 | +3.00 | +3.00 |"]
