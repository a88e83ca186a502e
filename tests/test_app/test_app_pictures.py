"""What the page does with files, without the page."""

import zipfile

import cv2
import numpy as np
import pytest

from dtir import cli
from dtir.apis.restoring.wish import Wish
from dtir.app.pictures import FAILED, LEFT, RESTORED, WAITING, Limits, take_in
from dtir.app.visit import Visit, Wishes
from dtir.core.errors import ConfigError

NOISY = Wishes("noisy", 0.5)


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def restored_by_command(path, out, *options):
    """Bytes of what the command writes."""
    assert cli.main(["restore", str(path), "--out", str(out), "--device", "cpu", *map(str, options)]) == 0
    return (out / path.name).read_bytes()


@pytest.mark.parametrize("name", ["scan.jpg", "cut out.png", "deep.tif"])
def test_a_picture_becomes_the_bytes_that_the_command_writes(inferencer, pictures, work, tmp_path, name):
    picture = take_in(pictures / name, work, Limits())
    picture.restore(inferencer, NOISY.of(picture))
    assert picture.state == RESTORED
    assert picture.text == f"noisy, step {inferencer.timestep('noisy')}; strength 0.5"
    expected = restored_by_command(pictures / name, tmp_path / "out", "--task", "noisy", "--strength", 0.5)
    assert picture.job.target.read_bytes() == expected
    assert expected != (pictures / name).read_bytes()
    assert picture.job.target.name == f"{(pictures / name).stem}_restored{(pictures / name).suffix}"


@pytest.mark.parametrize(("rest", "options"), [(False, []), (True, ["--task", "noisy"])])
def test_paint_is_the_mask_of_the_command(inferencer, pictures, work, tmp_path, rest, options):
    picture = take_in(pictures / "scan.jpg", work, Limits())
    # Upright, as the orientation in its EXIF says.
    assert picture.size == (64, 96)
    paint = np.zeros((96, 64), np.uint8)
    paint[20:40, 10:30] = 255
    picture.paint(paint)
    picture.restore(inferencer, Wishes("noisy", 1.0, rest).of(picture))
    expected = restored_by_command(pictures / "scan.jpg", tmp_path / "out", "--mask", picture.mask, *options)
    assert picture.job.target.read_bytes() == expected
    assert ("noisy" in picture.text, "inpainting" in picture.text) == (rest, True)


def test_paint_over_a_smaller_copy_covers_the_same_part_of_the_picture(work, tmp_path):
    assert cv2.imwrite(str(tmp_path / "wide.png"), np.full((100, 3200, 3), 90, np.uint8))
    picture = take_in(tmp_path / "wide.png", work, Limits())
    assert cv2.imread(str(picture.before)).shape == (50, 1600, 3)
    paint = np.zeros((50, 1600), np.uint8)
    paint[10:20, 400:800] = 128
    picture.paint(paint)
    rows, columns = np.nonzero(cv2.imread(str(picture.mask), cv2.IMREAD_GRAYSCALE))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 39, 800, 1599)
    picture.paint(np.full((50, 1600), 127, np.uint8))
    assert picture.mask is None


def test_what_is_no_picture_or_too_large_is_refused_in_a_sentence_and_leaves_nothing(pictures, work):
    files = {"notes.txt": b"words", "camera.heic": b"\0\0\0\x18ftypheic", "empty.png": b""}
    for name, content in files.items():
        (pictures / name).write_bytes(content)
    scan = (pictures / "scan.jpg").read_bytes()
    (pictures / "broken.jpg").write_bytes(scan[: len(scan) // 2])
    visit = Visit()
    names = [*files, "broken.jpg", "scan.jpg"]
    refused = visit.take([pictures / name for name in names], work, Limits(megapixels=0.0062))
    assert [picture.name for picture in visit.pictures] == ["scan.jpg"]
    assert refused[0].startswith("'notes.txt' has no known picture extension; known are .jpg")
    assert refused[1].startswith("'camera.heic' has no known picture extension")
    assert refused[2] == "'empty.png' is empty (0 bytes): copy or download it again."
    assert refused[3].startswith("'broken.jpg' is damaged, ends early or is no picture")
    assert visit.take([pictures / "scan.jpg"], work, Limits(megapixels=0.006)) == [
        "'scan.jpg' has 0.00614 megapixels, and this page takes 0.006 at most: restore it with dtir restore, or start "
        "the page with a larger --max-megapixels."
    ]
    assert len(list(work.iterdir())) == 1
    visit.clear()
    assert list(work.iterdir()) == []


def test_what_cannot_be_restored_says_why_by_its_name(inferencer, pictures, work):
    picture = take_in(pictures / "scan.jpg", work, Limits())
    picture.restore(inferencer, Wishes("fog").of(picture))
    assert picture.state == FAILED
    assert "fog" in picture.text
    assert "noisy" in picture.text
    (pictures / "scan.jpg").unlink()
    picture.restore(inferencer, NOISY.of(picture))
    assert picture.text == "cannot read 'scan.jpg': No such file or directory. Check the path."


def test_only_what_is_not_as_wished_is_restored(inferencer, pictures, work):
    visit = Visit()
    visit.take([pictures / "scan.jpg", pictures / "deep.tif"], work, Limits())
    first, second = visit.pictures
    assert visit.next(NOISY, visit.pictures, []) is first
    assert visit.next(NOISY, visit.pictures, [first]) is second
    visit.pack()
    assert visit.archive is None
    for picture in visit.pictures:
        picture.restore(inferencer, NOISY.of(picture))
    assert visit.next(NOISY, visit.pictures, []) is None
    assert visit.next(Wishes("noisy", 0.6), visit.pictures, []) is first
    visit.painting, visit.chosen = True, 1
    visit.keep_paint(np.full((64, 96), 255, np.uint8))
    assert visit.next(NOISY, visit.pictures, []) is second
    visit.keep_paint(None)
    assert visit.next(NOISY, visit.pictures, []) is None
    among = visit.pictures
    visit.clear()
    assert visit.next(Wishes("noisy", 0.6), among, []) is None


def test_a_picture_in_which_nothing_is_wrong_is_left_and_offered(inferencer, pictures, work, monkeypatch):
    monkeypatch.setattr(inferencer.judge, "chances", lambda image: {"clean": 0.9, "noisy": 0.1})
    picture = take_in(pictures / "scan.jpg", work, Limits())
    assert picture.state == WAITING
    picture.restore(inferencer, Wishes("auto").of(picture))
    assert (picture.state, picture.text) == (LEFT, "left as it is: clean (0.90)")
    assert picture.job.target.read_bytes() == (pictures / "scan.jpg").read_bytes()


def test_all_restored_pictures_are_in_the_zip_under_names_of_their_own(inferencer, pictures, work):
    visit = Visit()
    (pictures / "more").mkdir()
    again = pictures / "more" / "scan.jpg"
    again.write_bytes((pictures / "scan.jpg").read_bytes())
    visit.take([pictures / "scan.jpg", again], work, Limits())
    for picture in visit.pictures:
        picture.restore(inferencer, NOISY.of(picture))
    visit.pack()
    with zipfile.ZipFile(visit.archive) as archive:
        assert archive.namelist() == ["scan_restored.jpg", "2_scan_restored.jpg"]
        assert archive.read("scan_restored.jpg") == visit.pictures[0].job.target.read_bytes()


def test_limits_are_sizes():
    with pytest.raises(ConfigError, match="--max-mb 0 is no limit"):
        Limits(megabytes=0)
    with pytest.raises(ConfigError, match="--max-megapixels nan is no limit"):
        Limits(megapixels=float("nan"))


def test_words_are_in_place_of_kind_and_strength_and_paint_alone_is_filled(pictures, work):
    wishes, picture = Wishes("noisy", 0.5, prompt="remove the rain"), take_in(pictures / "scan.jpg", work, Limits())
    assert wishes.of(picture) == Wish(prompt="remove the rain")
    picture.paint(np.full(picture.size[::-1], 255, np.uint8))
    assert wishes.of(picture) == Wish(strength=0.5)
    assert Wishes("noisy", 0.5, True, "remove the rain").of(picture) == Wish(prompt="remove the rain")
