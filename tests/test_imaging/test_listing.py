import os
import re
import unicodedata
from pathlib import Path

import pytest

from dtir.core.errors import ConfigError, ImageFileError
from dtir.imaging.listing import list_images, name_in, natural_key, path_list, survey


def test_pictures_are_listed_in_natural_order(tmp_path):
    for name in ("img10.png", "img2.JPG", "img1.png", "notes.txt", "b.webp"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["b.webp", "img1.png", "img2.JPG", "img10.png"]


def test_recursive_listing_follows_links_but_not_in_circles(tmp_path):
    (tmp_path / "shots" / "day2").mkdir(parents=True)
    (tmp_path / "shots" / "day2" / "a.png").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.png").touch()
    (tmp_path / "shots" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "shots" / "loop").symlink_to(tmp_path / "shots")
    (tmp_path / "shots" / "c.png").symlink_to(tmp_path / "elsewhere" / "b.png")
    shots = tmp_path / "shots"
    assert [str(path.relative_to(shots)) for path in list_images(shots, recursive=True)] == [
        "c.png",
        "day2/a.png",
        "linked/b.png",
    ]
    assert [path.name for path in list_images(shots)] == ["c.png"]


class OfPy:
    """Like the paths of py.path."""

    def __fspath__(self):
        return "folder"

    def __iter__(self):
        return iter([self])


def test_a_path_that_iterates_over_its_folder_is_one_path():
    assert path_list(OfPy()) == path_list([OfPy()]) == [Path("folder")]


def test_listing_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(ImageFileError, match=r"no folder '.*none'"):
        list_images(tmp_path / "none")


def test_notes_of_macos_are_no_pictures(tmp_path):
    for name in ("1.png", "._1.png", "__MACOSX/2.png", "__MACOSX/._2.png", "a/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path, recursive=True)]
    assert names == ["1.png", "a/3.png"]


def test_what_is_left_out_is_counted_by_extension(tmp_path):
    for name in ("1.png", "2.JP2", "3.jp2", "4.heic", "README", ".hidden", "._1.png", "sub/5.psd"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert survey(tmp_path).left_out == {".jp2": 2, ".heic": 1, "": 1}
    assert survey(tmp_path, recursive=True).left_out[".psd"] == 1


def test_names_are_compared_in_one_unicode_form(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "Größe/ä.png") for form in ("NFC", "NFD"))
    assert composed != decomposed
    assert name_in(tmp_path, tmp_path / composed) == name_in(tmp_path, tmp_path / decomposed) == composed[:-4]


def test_a_text_is_one_path():
    assert path_list("a.png") == path_list(["a.png"]) == path_list(Path("a.png")) == [Path("a.png")]
    assert path_list(b"a.png") == path_list(path for path in (b"a.png",)) == [Path("a.png")]
    assert path_list([]) == []


@pytest.mark.parametrize("paths", [5, None, ["a.png", None], [5]])
def test_what_is_no_path_is_said(paths):
    with pytest.raises(ConfigError, match=r"a path is (5|None) .*expected a text or a pathlib\.Path"):
        path_list(paths)


def test_a_folder_that_may_not_be_read_is_named_and_the_others_are_listed(tmp_path, monkeypatch):
    for name in ("a/1.png", "closed/2.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    scandir = os.scandir

    def refusing(folder):
        if str(folder).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    found = survey(tmp_path, recursive=True)
    assert found.images == [tmp_path / "a/1.png"]
    assert found.unread == {
        str(tmp_path / "closed"): f"folder '{tmp_path / 'closed'}' cannot be read: Permission denied."
    }


def test_numbers_count_and_equal_ones_go_by_their_zeros():
    names = ["img2", "img02", "img10", "img", "2", "10", "a/2/b", "a/2", "a-1/2", "img2b", "img2a10", "img2a9", "x1.0"]
    parts = [[(0, int(p), p) if p.isdecimal() else (1, 0, p) for p in re.findall(r"\d+|\D+", name)] for name in names]
    assert sorted(names, key=natural_key) == [name for _, name in sorted(zip(parts, names, strict=True))]
