import pytest

from dtir.core.errors import DatasetError
from dtir.datasets.benchmarks import BENCHMARKS
from dtir.tasks import TASKS

# Benchmark, pictures of a published layout, and per folder the names of the pairs: LQ of the first, GT of the second.
LAYOUTS = [
    (
        "gopro",
        [
            "GOPRO_Large/train/GOPR1/blur/0001.png",
            "GOPRO_Large/train/GOPR1/sharp/0001.png",
            "GOPRO_Large/train/GOPR1/blur_gamma/0001.png",
            "GOPRO_Large/test/GOPR2/blur/0001.png",
            "GOPRO_Large/test/GOPR2/sharp/0001.png",
        ],
        {
            "train/motion-blurry/GOPR1_0001": ("train/GOPR1/blur/0001", "train/GOPR1/sharp/0001"),
            "val/motion-blurry/GOPR2_0001": ("test/GOPR2/blur/0001", "test/GOPR2/sharp/0001"),
        },
    ),
    (
        "gopro",
        ["GoPro/train/input/a.png", "GoPro/train/target/a.png"],
        {"train/motion-blurry/a": ("train/input/a", "train/target/a")},
    ),
    (
        "reside_6k",
        [
            "RESIDE-6K/train/hazy/7.jpg",
            "RESIDE-6K/train/GT/7.jpg",
            "RESIDE-6K/test/hazy/9_1.png",
            "RESIDE-6K/test/GT/9.png",
        ],
        {"train/hazy/7": ("train/hazy/7", "train/GT/7"), "val/hazy/9_1": ("test/hazy/9_1", "test/GT/9")},
    ),
    (
        "reside_6k",
        [
            "ITS/hazy/1_1_0.9.png",
            "ITS/hazy/1_2_0.8.png",
            "ITS/clear/1.png",
            "SOTS/indoor/hazy/1400_1.png",
            "SOTS/indoor/gt/1400.png",
            "SOTS/outdoor/hazy/0001_0.8_0.2.jpg",
            "SOTS/outdoor/gt/0001.png",
        ],
        {
            "train/hazy/1_1_0.9": ("ITS/hazy/1_1_0.9", "ITS/clear/1"),
            "train/hazy/1_2_0.8": ("ITS/hazy/1_2_0.8", "ITS/clear/1"),
            "val/hazy/indoor_1400_1": ("indoor/hazy/1400_1", "indoor/gt/1400"),
            "val/hazy/outdoor_0001_0.8_0.2": ("outdoor/hazy/0001_0.8_0.2", "outdoor/gt/0001"),
        },
    ),
    (
        "lol_v1",
        [
            "LOLdataset/our485/low/2.png",
            "LOLdataset/our485/high/2.png",
            "LOLdataset/eval15/low/1.png",
            "LOLdataset/eval15/high/1.png",
        ],
        {"train/low-light/2": ("our485/low/2", "our485/high/2"), "val/low-light/1": ("eval15/low/1", "eval15/high/1")},
    ),
    (
        "raindrop",
        [
            "train/data/0_rain.png",
            "train/gt/0_clean.png",
            "test_a/data/3_rain.png",
            "test_a/gt/3_clean.png",
            "test_b/data/9_rain.png",
            "test_b/gt/9_clean.png",
        ],
        {
            "train/raindrop/0_rain": ("train/data/0_rain", "train/gt/0_clean"),
            "val/raindrop/3_rain": ("test_a/data/3_rain", "test_a/gt/3_clean"),
        },
    ),
    (
        "rain100h",
        [
            "train/RainTrainH/rainy/rain-1.png",
            "train/RainTrainH/norain-1.png",
            "test/Rain100H/rainy/rain-001.png",
            "test/Rain100H/norain-001.png",
        ],
        {
            "train/rainy/rain-1": ("RainTrainH/rainy/rain-1", "RainTrainH/norain-1"),
            "val/rainy/rain-001": ("Rain100H/rainy/rain-001", "Rain100H/norain-001"),
        },
    ),
    (
        "rain100h",
        [
            "rain_data_train_Heavy/rain/norain-1x2.png",
            "rain_data_train_Heavy/norain/norain-1.png",
            "rain_data_test_Heavy/rain/X2/norain-001x2.png",
            "rain_data_test_Heavy/norain/norain-001.png",
        ],
        {
            "train/rainy/norain-1x2": ("rain/norain-1x2", "train_Heavy/norain/norain-1"),
            "val/rainy/norain-001x2": ("X2/norain-001x2", "test_Heavy/norain/norain-001"),
        },
    ),
    (
        "rain100h",
        [
            "Rain100H/train/rain/rain-1.png",
            "Rain100H/train/norain/norain-1.png",
            "Rain100H/test/rain/rain-2.png",
            "Rain100H/test/norain/norain-2.png",
        ],
        {
            "train/rainy/rain-1": ("train/rain/rain-1", "train/norain/norain-1"),
            "val/rainy/rain-2": ("test/rain/rain-2", "test/norain/norain-2"),
        },
    ),
    ("rain100h", ["test/Rain100H/input/1.png", "test/Rain100H/target/1.png"], {"val/rainy/1": ("input/1", "target/1")}),
    # Without a test part, the training part is not taken for it.
    (
        "rain100h",
        ["train/Rain100H/rain/rain-1.png", "train/Rain100H/norain/norain-1.png"],
        {"train/rainy/rain-1": ("rain/rain-1", "norain/norain-1")},
    ),
    (
        "srd",
        [
            "Train/shadow/IMG_1.jpg",
            "Train/shadow_free/IMG_1_no_shadow.jpg",
            "test/shadow/IMG_2.jpg",
            "test/shadow_free/IMG_2_free.jpg",
        ],
        {
            "train/shadowed/IMG_1": ("Train/shadow/IMG_1", "IMG_1_no_shadow"),
            "val/shadowed/IMG_2": ("test/shadow/IMG_2", "IMG_2_free"),
        },
    ),
    (
        "srd",
        ["SRD/train/train_A/1.jpg", "SRD/train/train_B/1.jpg", "SRD/train/train_C/1_no_shadow.jpg"],
        {"train/shadowed/1": ("train_A/1", "train_C/1_no_shadow")},
    ),
    (
        "snow100k_l",
        [
            "Snow100K-training/all/synthetic/a.jpg",
            "Snow100K-training/all/gt/a.jpg",
            "Snow100K-training/all/mask/a.jpg",
            "media/jdway/GameSSD/overlapping/test/Snow100K-L/synthetic/b.jpg",
            "media/jdway/GameSSD/overlapping/test/Snow100K-L/gt/b.jpg",
            "media/jdway/GameSSD/overlapping/test/Snow100K-S/gt/b.jpg",
        ],
        {"train/snowy/a": ("synthetic/a", "all/gt/a"), "val/snowy/b": ("L/synthetic/b", "L/gt/b")},
    ),
    (
        "revide",
        [
            "REVIDE_indoor/Test/hazy/C001/00000.JPG",
            "REVIDE_indoor/Test/gt/C001/00000.JPG",
            "REVIDE_indoor/Train/hazy/J001/00000.JPG",
            "REVIDE_indoor/Train/gt/J001/00000.JPG",
        ],
        {"generalization/REVIDE/C001_00000": ("Test/hazy/C001/00000", "Test/gt/C001/00000")},
    ),
    (
        "rain100l",
        [
            "rain_data_train_Light/rain/norain-1x2.png",
            "rain_data_train_Light/norain/norain-1.png",
            "Rain100L/rainy/rain-001.png",
            "Rain100L/norain-001.png",
        ],
        {
            "train/rainy-light/norain-1x2": ("rain/norain-1x2", "norain/norain-1"),
            "generalization/Rain100L/rain-001": ("rainy/rain-001", "Rain100L/norain-001"),
        },
    ),
    (
        "realsnow",
        ["RealSnow/testing/synthetic/a.png", "RealSnow/testing/gt/a.png", "RealSnow/training/gt/b.png"],
        {"generalization/RealSnow/a": ("synthetic/a", "testing/gt/a")},
    ),
    (
        "lol_v2_real",
        [
            "LOL-v2/Real_captured/Test/Low/low00690.png",
            "LOL-v2/Real_captured/Test/Normal/normal00690.png",
            "LOL-v2/Synthetic/Test/Low/r1.png",
            "LOL-v2/Synthetic/Test/Normal/r1.png",
        ],
        {"generalization/LOL-v2-real/low00690": ("Low/low00690", "Normal/normal00690")},
    ),
    (
        "lol_v2_synthetic",
        ["LOL-v2/Synthetic/Test/Low/r1.png", "LOL-v2/Synthetic/Test/Normal/r1.png"],
        {"generalization/LOL-v2-synthetic/r1": ("Low/r1", "Normal/r1")},
    ),
]


@pytest.mark.parametrize(("name", "tree", "pairs"), LAYOUTS, ids=[f"{i}-{row[0]}" for i, row in enumerate(LAYOUTS)])
def test_a_published_layout_is_understood(work, name, tree, pairs):
    work.tree(*tree)
    manifests = work.prepare(name)
    made = {}
    for folder, manifest in manifests.items():
        assert manifest.pairs == len(list((work.out / folder / "GT").iterdir()))
        for lq in (work.out / folder / "LQ").iterdir():
            (gt,) = (work.out / folder / "GT").glob(f"{lq.stem}.*")
            made[f"{folder}/{lq.stem}"] = lq.resolve(), gt.resolve()
    assert set(made) == set(pairs)
    for pair, (lq, gt) in pairs.items():
        assert made[pair][0].with_suffix("").as_posix().endswith(lq)
        assert made[pair][1].with_suffix("").as_posix().endswith(gt)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_what_was_prepared_is_a_source_of_its_benchmark(work, name):
    folders = [part.folder for part in BENCHMARKS[name].parts]
    work.tree(*(f"{folder}/{side}/a.png" for folder in folders for side in ("LQ", "GT")))
    manifests = work.prepare(name)
    assert list(manifests) == folders
    assert work.files() == sorted(
        f"{folder}/{file}" for folder in folders for file in ("GT/a.png", "LQ/a.png", "manifest.json")
    )


@pytest.mark.parametrize(
    ("name", "folder", "made"),
    [("gopro", "motion-blurry", "train/motion-blurry"), ("celebahq_inpainting", "uncompleted", "train/inpainting")],
)
def test_task_folders_as_of_daclip_are_training_sets(work, name, folder, made):
    work.tree(f"universal/{folder}/LQ/a.png", f"universal/{folder}/GT/a.png")
    assert list(work.prepare(name)) == [made]
    assert work.files() == [f"{made}/{file}" for file in ("GT/a.png", "LQ/a.png", "manifest.json")]


def test_another_layout_may_be_asked_for(work):
    work.tree(*(f"train/G/{folder}/1.png" for folder in ("blur", "blur_gamma", "sharp")))
    work.prepare("gopro", layout="GOPRO_Large, blur_gamma")
    assert (work.out / "train/motion-blurry/LQ/G_1.png").resolve().parent.name == "blur_gamma"
    with pytest.raises(DatasetError, match=r"gopro has no layout 'gamma'; it has: .*GOPRO_Large, blur_gamma"):
        work.prepare("gopro", layout="gamma")


def test_a_wrong_source_says_what_was_expected_and_found(work):
    work.tree("LOLdataset/our485/low/2.png", "LOLdataset/our485/high/2.png")
    with pytest.raises(DatasetError, match=r"no GoPro in a known layout.*train/\*/blur/\*.*our485/high \(1 pictures\)"):
        work.prepare("gopro")
    assert not work.out.exists()


def test_an_incomplete_source_names_what_is_alone(work):
    work.tree("train/data/0_rain.png", "train/gt/0_clean.png", "train/data/1_rain.png", "train/gt/2_clean.png")
    with pytest.raises(DatasetError, match=r"2 pictures have no partner by the rule 'raindrop'.*1_rain.*2_clean"):
        work.prepare("raindrop")
    assert not work.out.exists()


def test_a_complete_layout_does_not_stand_in_for_an_incomplete_one(work):
    work.tree(*(f"train/G/{folder}/{name}.png" for folder in ("blur", "blur_gamma", "sharp") for name in "ab"))
    (work.sources / "train/G/blur/b.png").unlink()
    with pytest.raises(DatasetError, match=r"layout 'GOPRO_Large': 1 pictures have no partner.*sharp/b\.png"):
        work.prepare("gopro")


def test_a_list_names_the_faces_that_are_held_out(work, tmp_path):
    work.tree("celeba_hq_256/1.png", "celeba_hq_256/2.png", "celeba_hq_256/3.png", "thin/0.png")
    table = tmp_path / "list.txt"
    table.write_text("val/inpainting/LQ/2.png\n")
    manifests = work.prepare("celebahq_inpainting", names=table)
    assert [name for name in manifests["val/inpainting"].files if name.startswith("GT")] == ["GT/2.png"]
    assert [name for name in manifests["train/inpainting"].files if name[:2] == "GT"] == ["GT/1.png", "GT/3.png"]
    work.out = tmp_path / "other"
    table.write_text("val/inpainting/LQ/2.png\ntrain/inpainting/LQ/3.png\n")
    assert work.prepare("celebahq_inpainting", names=table)["train/inpainting"].pairs == 1


def test_a_list_selects_a_subset(work, tmp_path):
    work.tree(*(f"Snow100K-L/{folder}/{name}.jpg" for folder in ("synthetic", "gt") for name in "abc"))
    table = tmp_path / "daclip_val.csv"
    table.write_text("filepath\ttitle\n/u/val/snowy/LQ/b.jpg\ta house: snowy\n/u/val/hazy/LQ/c.png\ta tree: hazy\n")
    assert work.prepare("snow100k_l", names=table)["val/snowy"].pairs == 1
    assert [name for name in work.files() if name.startswith("val/snowy/LQ")] == ["val/snowy/LQ/b.jpg"]
    table.write_text("/u/val/snowy/LQ/b.jpg\ttitle\n/u/val/snowy/LQ/d.jpg\ttitle\n")
    with pytest.raises(DatasetError, match="1 names of the list are not in the sources: d"):
        work.prepare("snow100k_l", names=table)
    table.write_text("/u/val/hazy/LQ/c.png\ta tree: hazy\n")
    with pytest.raises(DatasetError, match="names no pictures of the task 'snowy'"):
        work.prepare("snow100k_l", names=table)


def test_a_part_that_no_path_of_the_list_names_is_taken_whole(work, tmp_path):
    work.tree(
        *(f"{part}/{side}/{name}.png" for part in ("our485", "eval15") for side in ("low", "high") for name in "ab")
    )
    (tmp_path / "list.txt").write_text("train/low-light/LQ/b.png\n")
    manifests = work.prepare("lol_v1", names=tmp_path / "list.txt")
    assert {folder: one.pairs for folder, one in manifests.items()} == {"train/low-light": 1, "val/low-light": 2}
    (tmp_path / "list.txt").write_text("b\n")
    work.out = tmp_path / "other"
    manifests = work.prepare("lol_v1", names=tmp_path / "list.txt")
    assert [list(one.files) for one in manifests.values()] == [["LQ/b.png", "GT/b.png"]] * 2


def test_every_task_has_a_training_and_a_test_part():
    folders = {part.folder for benchmark in BENCHMARKS.values() for part in benchmark.parts}
    assert folders >= {f"{split}/{task}" for split in ("train", "val") for task in TASKS}
