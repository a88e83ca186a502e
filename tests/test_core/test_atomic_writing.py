"""Files that appear whole or not at all."""

import pytest

from dtir.core.atomic import atomic_write, remove_abandoned, temporary_of, temporary_stem


def temporaries(folder):
    return [path for path in folder.iterdir() if temporary_of(path.name)]


def write(path, text, error=None):
    with atomic_write(path, "w", "utf-8") as file:
        file.write(text)
        if error:
            raise error


def test_a_file_is_old_or_new(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_write(path, "w", "utf-8") as file:
        file.write("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    with pytest.raises(RuntimeError, match="stopped"):
        write(path, "part", RuntimeError("stopped"))
    assert path.read_text() == "new"
    assert temporaries(tmp_path) == []


def test_what_is_being_written_is_not_taken_for_what_was_left(tmp_path):
    path = tmp_path / "a.txt"
    with atomic_write(path, "w", "utf-8") as file:
        (temporary,) = temporaries(tmp_path)
        remove_abandoned(temporary)
        assert temporary.exists()
        file.write("whole")
    assert path.read_text() == "whole"
    left = tmp_path / f".a.txt.{'x' * 8}.tmp"
    left.write_text("part")
    remove_abandoned(left)
    assert not left.exists()
    remove_abandoned(left)


@pytest.mark.parametrize("name", ["n" * 251 + ".png", "画" * 83 + ".png", "n" * 241])
def test_a_name_as_long_as_the_file_system_allows(tmp_path, name):
    with atomic_write(tmp_path / name, "w", "utf-8") as file:
        file.write("whole")
        (temporary,) = temporaries(tmp_path)
        assert temporary_of(temporary.name) == temporary_stem(name)
        assert temporary_stem(name) != temporary_stem(f"x{name[1:]}")
    assert [path.name for path in tmp_path.iterdir()] == [name]
