import cv2
import numpy as np

from dtir.evaluation.records import PictureRecord
from dtir.evaluation.reports import ExampleStore


def record(name: str, value: float, task: str = "noisy") -> PictureRecord:
    return PictureRecord(task, name, {"PSNR": value})


def pictures(value: int) -> dict[str, np.ndarray]:
    return {name: np.full((8, 8, 3), value + k, np.uint8) for k, name in enumerate(("lq", "pred", "gt"))}


def offer_all(folder, values, count=2) -> tuple[ExampleStore, list[PictureRecord]]:
    store = ExampleStore(folder / "kept", count)
    records = [record(f"p{value}", value) for value in values]
    for one in records:
        store.offer(one, pictures(int(one.values["PSNR"])))
    return store, records


def shades(path) -> list[int]:
    """Grey values of the LQ column, row by row."""
    return cv2.imread(str(path))[26 + 160 :: 26 + 320 + 6, 160, 0].tolist()


def test_panels_show_the_extremes(tmp_path):
    values = [50, 20, 90, 10, 70, 30, 80, 60]
    store, records = offer_all(tmp_path, values)
    assert store.write(tmp_path, records, ["noisy", "hazy"]) == []
    assert shades(tmp_path / "noisy_best.png") == [90, 80]
    assert shades(tmp_path / "noisy_worst.png") == [10, 20]
    assert len(list((tmp_path / "kept").iterdir())) == 4
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["noisy_best.png", "noisy_worst.png"]


def test_a_few_pictures_are_both_best_and_worst(tmp_path):
    store, records = offer_all(tmp_path, [20, 10], count=3)
    store.write(tmp_path, records, ["noisy"])
    assert shades(tmp_path / "noisy_best.png") == [20, 10]
    assert shades(tmp_path / "noisy_worst.png") == [10, 20]


def test_a_second_start_goes_on_with_what_is_kept(tmp_path):
    _, first = offer_all(tmp_path, [50, 20, 90, 10])
    store = ExampleStore(tmp_path / "kept", 2)
    store.know(first)
    rest = [record(f"p{value}", value) for value in (95, 40)]
    for one in rest:
        store.offer(one, pictures(int(one.values["PSNR"])))
    store.write(tmp_path, [*first, *rest], ["noisy"])
    assert shades(tmp_path / "noisy_best.png") == [95, 90]
    assert shades(tmp_path / "noisy_worst.png") == [10, 20]
    assert len(list((tmp_path / "kept").iterdir())) == 4


def test_pictures_that_are_gone_are_named(tmp_path):
    store, records = offer_all(tmp_path, [30, 20, 10], count=1)
    for path in (tmp_path / "kept").iterdir():
        path.write_bytes(b"")
    assert store.write(tmp_path, records, ["noisy"]) == ["noisy/p10", "noisy/p30"]
    assert not list(tmp_path.glob("*.png"))


def test_names_that_are_paths_and_tasks_do_not_meet(tmp_path):
    store = ExampleStore(tmp_path / "kept", 1)
    records = [record("a/b", 20, "noisy"), record("a/b", 30, "hazy")]
    for one in records:
        store.offer(one, pictures(int(one.values["PSNR"])))
    store.write(tmp_path, records, ["noisy", "hazy"])
    assert shades(tmp_path / "noisy_best.png") == [20]
    assert shades(tmp_path / "hazy_worst.png") == [30]


def test_rows_are_lq_restored_and_gt_in_their_colours(tmp_path):
    colours = {"lq": (250, 0, 0), "pred": (0, 250, 0), "gt": (0, 0, 250)}
    store = ExampleStore(tmp_path / "kept", 1)
    one = record("a", 20)
    store.offer(one, {name: np.full((8, 8, 3), rgb, np.uint8) for name, rgb in colours.items()})
    store.write(tmp_path, [one], ["noisy"])
    middle = cv2.imread(str(tmp_path / "noisy_best.png"))[26 + 160, 160 :: 320 + 6, ::-1]
    assert [tuple(pixel) for pixel in middle.tolist()] == list(colours.values())
