import cv2
import numpy as np
import pytest

from dtir.core.errors import DatasetError
from dtir.datasets.benchmarks import BENCHMARKS, get_benchmark
from dtir.datasets.benchmarks.scan import average_hash, scan_all, scan_picture
from dtir.datasets.benchmarks.verify import verify


def problems(report):
    return {check: found for check, found in report.problems.items() if found}


@pytest.fixture
def root(work, write, picture):
    """A prepared tree without problems but for the number of pairs: RainDrop, two training and two test pairs."""
    for folder, names in (("train/raindrop", "ab"), ("val/raindrop", "cd")):
        for name in names:
            write(work.out / folder / "LQ" / f"{name}.png", picture(f"{name} LQ"))
            write(work.out / folder / "GT" / f"{name}.png", picture(f"{name} GT"))
    return work.out


def check(root, **settings):
    return {report.folder: report for report in verify(root, BENCHMARKS, **settings)}


def others(report):
    return {check: found for check, found in problems(report).items() if check != "count"}


def test_counts_are_those_of_the_benchmark(root):
    reports = check(root)
    assert list(reports) == ["train/raindrop", "val/raindrop"]
    assert problems(reports["train/raindrop"]) == {"count": ["2 pairs, expected 861"]}
    assert problems(reports["val/raindrop"]) == {"count": ["2 pairs, expected 58"]}
    assert reports["val/raindrop"].benchmark == "raindrop"
    assert not reports["val/raindrop"].is_right
    assert not reports["val/raindrop"].notices


def test_daclips_tree_is_verified_as_it_is(root, write, picture):
    for split in ("train", "val"):
        for side in ("LQ", "GT"):
            write(root / split / "uncompleted" / side / "1.png", picture(f"{split} {side}"))
    reports = check(root, only=get_benchmark("celebahq_inpainting"))
    assert {folder: others(report) for folder, report in reports.items()} == {
        "train/uncompleted": {},
        "val/uncompleted": {},
    }
    assert problems(reports["val/uncompleted"]) == {"count": ["1 pairs, expected 100"]}


def test_a_complete_set_is_right(root, work, write, picture):
    for number in range(13):
        for side in ("LQ", "GT"):
            write(root / "val/low-light" / side / f"{number}.png", picture(f"{number} {side}"))
    assert problems(check(root)["val/low-light"]) == {"count": ["13 pairs, expected 15"]}
    for number in (13, 14):
        for side in ("LQ", "GT"):
            write(root / "val/low-light" / side / f"{number}.png", picture(f"{number} {side}"))
    report = check(root)["val/low-light"]
    assert report.is_right
    assert report.pairs == 15


def test_pictures_alone_are_found(root):
    (root / "val/raindrop/GT/c.png").unlink()
    (root / "val/raindrop/LQ/d.png").unlink()
    report = check(root)["val/raindrop"]
    assert report.problems["partners"] == ["LQ/c.png has no GT", "GT/d.png has no LQ"]
    assert report.pairs == 0


def test_different_sizes_are_found(root, write, picture):
    write(root / "val/raindrop/LQ/c.png", picture("c", 16)[:, :14])
    assert others(check(root)["val/raindrop"]) == {
        "sizes": ["c: LQ is 14x16, GT is 12x12 (width x height)"],
    }


def test_unreadable_files_are_found(root):
    path = root / "val/raindrop/LQ/c.png"
    path.write_bytes(path.read_bytes()[:-20])
    target = root / "val/raindrop/GT/d.png"
    target.rename(root / "moved.png")
    target.symlink_to("../../nowhere.png")
    found = check(root)["val/raindrop"].problems
    assert any("c.png' is damaged" in line for line in found["unreadable"])
    assert any(
        "GT/d.png': it is a link to '../../nowhere.png', which is not there" in line for line in found["unreadable"]
    )
    assert found["partners"] == []


def test_duplicates_are_found_whatever_their_format(root, write, picture):
    for side in ("LQ", "GT"):
        write(root / "val/raindrop" / side / "copy.bmp", picture(f"c {side}"))
    report = check(root)["val/raindrop"]
    assert others(report) == {"duplicates": ["same picture: LQ/c.png, LQ/copy.bmp"]}
    assert report.notices == ["1 GTs belong to several LQs: GT/c.png, GT/copy.bmp"]


def test_two_files_of_one_name_are_found(root, write, picture):
    write(root / "val/raindrop/LQ/c.bmp", picture("other"))
    assert others(check(root)["val/raindrop"]) == {"duplicates": ["LQ/c.png has the name of LQ/c.bmp"]}


def test_test_pictures_in_training_are_found(root, write, picture):
    write(root / "train/hazy/GT/x.bmp", picture("c GT"))
    write(root / "train/hazy/LQ/x.bmp", picture("x LQ"))
    report = check(root)["val/raindrop"]
    assert others(report) == {"leaks": [f"GT/c.png is also in training: {root}/train/hazy/GT/x.bmp"]}
    assert not others(check(root)["train/hazy"])


def test_near_copies_are_a_notice(root, write, picture):
    near = picture("c GT").copy()
    near[0, 0] ^= 1
    write(root / "train/raindrop/GT/a.png", near)
    report = check(root)["val/raindrop"]
    assert report.notices == [f"GT/c.png looks like {root}/train/raindrop/GT/a.png of the training part"]
    assert not others(report)


def test_an_undamaged_lq_is_a_notice(root, write, picture):
    write(root / "val/raindrop/LQ/c.png", picture("c GT"))
    assert check(root)["val/raindrop"].notices == ["c: LQ and GT show the same picture"]


def test_checksums_are_compared_with_the_manifest(work, write, picture):
    work.tree(*(f"eval15/{side}/{name}.png" for side in ("low", "high") for name in "abc"))
    work.prepare("lol_v1", copy=True)
    assert not others(check(work.out, checksums=True)["val/low-light"])
    root = work.out / "val/low-light"
    write(root / "LQ/a.png", picture("changed"))
    (root / "GT/b.png").unlink()
    write(root / "GT/new.png", picture("new"))
    assert "checksums" not in problems(check(work.out)["val/low-light"])
    found = check(work.out, checksums=True)["val/low-light"].problems["checksums"]
    assert sorted(found) == ["GT/b.png is gone", "GT/new.png is not in the manifest", "LQ/a.png was changed"]


def test_checksums_without_a_manifest_are_a_problem(root):
    report = check(root, checksums=True)["val/raindrop"]
    assert others(report) == {"checksums": ["no manifest.json to compare with: prepare the set again"]}


def test_a_benchmark_alone_and_its_missing_part(root, write, picture):
    write(root / "train/hazy/GT/x.bmp", picture("c GT"))
    for path in (root / "train/raindrop").rglob("*.png"):
        path.unlink()
    for folder in ("LQ", "GT"):
        (root / "train/raindrop" / folder).rmdir()
    reports = check(root, only=get_benchmark("raindrop"))
    assert list(reports) == ["val/raindrop", "train/raindrop"]
    assert problems(reports["train/raindrop"]) == {"count": ["this part is missing: prepare it"]}
    with pytest.raises(DatasetError, match="no GoPro in"):
        check(root, only=get_benchmark("gopro"))


def test_a_root_may_lie_within_the_tree(root):
    assert list(check(root / "val")) == ["val/raindrop"]
    assert check(root / "val/raindrop")["val/raindrop"].benchmark == "raindrop"


def test_a_root_without_sets_is_an_error(tmp_path):
    for path, message in ((tmp_path / "none", "no folder"), (tmp_path, "no folders with LQ and GT in")):
        with pytest.raises(DatasetError, match=message):
            check(path)


def test_a_damaged_manifest_is_an_error(root):
    (root / "val/raindrop/manifest.json").write_text('{"benchmark": "raindrop"')
    with pytest.raises(DatasetError, match=r"manifest\.json' is damaged or of another version"):
        check(root)


def test_several_processes_find_the_same(tmp_path, write, picture):
    paths = [tmp_path / f"{number}.png" for number in range(40)]
    for path in paths:
        write(path, picture(path.name))
    facts = scan_all(paths, 2, "pictures")
    assert list(facts) == paths
    assert facts == {path: scan_picture(path) for path in paths}


def test_the_average_hash_is_which_cells_are_bright():
    cells = np.zeros((8, 8), np.uint8)
    cells[0, :3] = 255
    bits = int("111" + "0" * 61, 2)
    assert average_hash(np.repeat(cells[:, :, None], 3, axis=2)) == bits
    large = cv2.resize(cells, (80, 160), interpolation=cv2.INTER_NEAREST)
    assert average_hash(np.repeat(large[:, :, None], 3, axis=2)) == bits
