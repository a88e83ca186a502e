import cv2
import numpy as np
import pytest

from dtir.core.errors import DatasetError
from dtir.datasets import PairedDataset
from dtir.datasets.pairing import RULES, describe_alone, match_pairs


def same(*names):
    return {name: name for name in names}


@pytest.mark.parametrize("rule", RULES)
def test_the_example_of_each_rule_is_a_pair(rule):
    lq, gt = RULES[rule].example
    assert match_pairs(same(lq), same(gt), rule).pairs == [(lq, lq, gt)]


@pytest.mark.parametrize(
    ("rule", "lq", "gt"),
    [
        ("rain", "rain-12", "norain-12"),
        ("rain-x2", "norain-012", "norain-012"),
        ("reside", "0001_0.8_0.2", "0001"),
        ("srd", "MG_0036", "MG_0036_free"),
        ("srd", "_MG_0036", "_MG_0036"),
        ("lol-v2", "low00690", "normal00690"),
        ("lol-v2", "r000da54ft", "r000da54ft"),
    ],
)
def test_variants_of_published_names(rule, lq, gt):
    assert len(match_pairs(same(lq), same(gt), rule).pairs) == 1


def test_what_does_not_belong_together_is_left_alone():
    matched = match_pairs(same("rain-1", "rain-2", "photo"), same("norain-1", "norain-3"), "rain")
    assert matched.pairs == [("rain-1", "rain-1", "norain-1")]
    assert matched.lq_alone == ["rain-2", "photo"]
    assert matched.gt_alone == ["norain-3"]
    message = describe_alone(matched, "rainy", "clean", "rain")
    assert message.startswith("3 pictures have no partner by the rule 'rain' (LQ 'rain-001', GT 'norain-001')")
    assert "'rain-2' has no partner in 'clean'; 'photo' has no partner in 'clean'; 'norain-3'" in message


def test_several_hazy_pictures_share_a_clean_one():
    matched = match_pairs(same("1400_1", "1400_2", "1401_1"), same("1400", "1401"), "reside")
    assert [(lq, gt) for _, lq, gt in matched.pairs] == [("1400_1", "1400"), ("1400_2", "1400"), ("1401_1", "1401")]
    assert not matched.lq_alone + matched.gt_alone


def test_folders_in_names_are_equal_within_a_pair():
    matched = match_pairs(same("a/rain-1"), same("a/norain-1", "b/norain-1"), "rain")
    assert matched.pairs == [("a/rain-1", "a/rain-1", "a/norain-1")]
    assert matched.gt_alone == ["b/norain-1"]


def test_two_pictures_with_one_partner_are_an_error():
    with pytest.raises(DatasetError, match="'x_free' and 'x_no_shadow' would have the same partner"):
        match_pairs(same("x"), same("x_free", "x_no_shadow"), "srd")
    with pytest.raises(DatasetError, match="'low1' and '1' would have the same partner"):
        match_pairs(same("low1", "1"), same("normal1"), "lol-v2")


def test_an_unknown_rule_names_the_known_ones():
    with pytest.raises(DatasetError, match=r"unknown pairing rule 'rein'. Did you mean 'rain'\?.*raindrop \(LQ 0_rain"):
        match_pairs({}, {}, "rein")


def test_a_paired_dataset_reads_published_names(tmp_path):
    for folder, name, level in (("data", "0_rain", 10), ("gt", "0_clean", 200), ("data", "1_rain", 20)):
        (tmp_path / folder).mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / folder / f"{name}.png"), np.full((8, 8, 3), level, np.uint8))
    settings = {"lq_dir": "data", "gt_dir": "gt", "pairing": "raindrop"}
    with pytest.raises(DatasetError, match=r"1 pictures have no partner by the rule 'raindrop'.*1_rain\.png' has no"):
        PairedDataset("raindrop", tmp_path, **settings)
    (tmp_path / "data" / "1_rain.png").unlink()
    item = PairedDataset("raindrop", tmp_path, **settings)[0]
    assert item["data_samples"]["name"] == "0_rain"
    assert (item["inputs"].unique().tolist(), item["data_samples"]["gt"].unique().tolist()) == ([10], [200])
