from pathlib import Path

import pytest

from dtir.apis.archive.share import ALL, Share, parse_share
from dtir.core.errors import ConfigError


def test_every_picture_is_in_one_share_and_shares_are_about_equal():
    paths = [Path(f"out/{number}.png") for number in range(2000)]
    shares = [[path for path in paths if Share(number, 4).holds(path)] for number in (1, 2, 3, 4)]
    assert sorted(path for share in shares for path in share) == sorted(paths)
    assert all(430 < len(share) < 570 for share in shares)
    assert all(ALL.holds(path) for path in paths)


def test_a_share_follows_from_the_path_alone():
    assert [number for number in range(1, 9) if Share(number, 8).holds(Path("scans/a.png"))] == [5]


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "3", "a/b", "1/2/3", "-1/4"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(ConfigError, match=f"the share '{text}' is none; of 16"):
        parse_share(text)


def test_the_text_of_a_share():
    assert parse_share("3/16") == (3, 16)
