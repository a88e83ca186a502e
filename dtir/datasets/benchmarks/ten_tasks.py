"""The ten benchmarks of the universal setting (DA-CLIP's sets; counts of arXiv 2506.21722, Setting B)."""

from .declare import Benchmark, Layout, Part, folders


def _rain_layouts(letter: str, word: str, split: str) -> tuple[Layout, ...]:
    """Layouts of Rain100H (letter "h", word "heavy") and Rain100L ("l", "light")."""
    set_name = f"rain100{letter}"
    packed = f"raintrain{letter}" if split == "train" else set_name
    # A test part's folders may carry no "test", but not those of the other part.
    without = ("train",) if split == "test" else ("test",)
    return (
        Layout("PReNet's archive", (f"{packed}/norain-*",), (f"{packed}/rainy/rain-*",), "rain", without=without),
        *(
            folders(f"authors' archive, {lq}", f"{top}/{lq}", f"{top}/norain", "rain-x2")
            for top in (f"rain_data_{split}_{word}", f"rain_{word}_{split}")
            for lq in ("rain/x2", "rain")
        ),
        *(
            folders(f"{lq} and norain folders", f"{top}/{lq}", f"{top}/norain", rule, without)
            for top in (f"{set_name}/{split}", f"{split}/{set_name}", *((set_name,) if split == "test" else ()))
            for lq in ("rain", "rainy")
            for rule in ("rain", "same")
        ),
        *(
            folders("input and target folders", f"{top}/input", f"{top}/target")
            for top in (f"{set_name}/{split}", f"{split}/{set_name}")
        ),
    )


def rain_part(letter: str, word: str, split: str, folder: str, counts: tuple[int, ...]) -> Part:
    """A part of Rain100H or Rain100L; `split` is "train" or "test"."""
    return Part(folder, _rain_layouts(letter, word, split), counts)


def _gopro(split: str) -> tuple[Layout, ...]:
    return (
        folders("GOPRO_Large", f"{split}/*/blur", f"{split}/*/sharp"),
        folders("GOPRO_Large, blur_gamma", f"{split}/*/blur_gamma", f"{split}/*/sharp"),
        folders("blur and sharp folders", f"{split}/blur", f"{split}/sharp"),
        folders("input and target folders", f"{split}/input", f"{split}/target"),
    )


def _reside(split: str) -> tuple[Layout, ...]:
    return tuple(
        folders(f"RESIDE-6k, {rule} names", f"{split}/hazy", f"{split}/gt", rule) for rule in ("same", "reside")
    )


_ITS = (
    folders("RESIDE ITS or OTS", "its/hazy", "its/clear", "reside"),
    folders("RESIDE ITS or OTS", "train/hazy", "train/clear", "reside"),
)
_SOTS = (
    folders("RESIDE SOTS", "sots/*/hazy", "sots/*/gt", "reside"),
    folders("RESIDE SOTS", "nyuhaze500/hazy", "nyuhaze500/gt", "reside"),
)
_DF2K = (Layout("DIV2K and Flickr2K", ("div2k_train_hr/*", "flickr2k_hr/*", "flickr2k/*", "df2k/*", "df2k_hr/*")),)
# 800 + 2650; the paper has 3440.
_DF2K_COUNTS = (3440, 3450)


def _srd(split: str) -> tuple[Layout, ...]:
    return (
        folders("shadow and shadow_free folders", f"{split}/shadow", f"{split}/shadow_free", "srd"),
        folders("A and C folders", f"{split}/{split}_a", f"{split}/{split}_c", "srd"),
    )


_SNOW_TRAIN = tuple(
    folders("Snow100K", f"{top}/synthetic", f"{top}/gt") for top in ("all", "snow100k-training", "train")
)
_FACES = (Layout("CelebA-HQ and RePaint's masks", ("celeba*/*",), mask=("thin/*", "inpainting_masks/*")),)

TEN_TASKS = (
    Benchmark(
        "gopro",
        "GoPro",
        "motion-blurry",
        (Part("train/motion-blurry", _gopro("train"), (2103,)), Part("val/motion-blurry", _gopro("test"), (1111,))),
    ),
    Benchmark(
        "reside_6k",
        "RESIDE-6k",
        "hazy",
        (
            Part("train/hazy", (*_reside("train"), *_ITS), (6000,)),
            Part("val/hazy", (*_reside("test"), *_SOTS), (1000,)),
        ),
    ),
    Benchmark(
        "jpeg_div2k_flickr2k",
        "DIV2K and Flickr2K, JPEG quality 10",
        "jpeg-compressed",
        (Part("train/jpeg-compressed", _DF2K, _DF2K_COUNTS, recipe="jpeg10"),),
    ),
    Benchmark(
        "live1",
        "LIVE1, JPEG quality 10",
        "jpeg-compressed",
        (Part("val/jpeg-compressed", (Layout("LIVE1", ("refimgs/*", "live1/*")),), (29,), recipe="jpeg10"),),
    ),
    Benchmark(
        "lol_v1",
        "LOL-v1",
        "low-light",
        (
            Part("train/low-light", (folders("LOLdataset", "our485/low", "our485/high"),), (485,)),
            Part("val/low-light", (folders("LOLdataset", "eval15/low", "eval15/high"),), (15,)),
        ),
    ),
    Benchmark(
        "noise_div2k_flickr2k",
        "DIV2K and Flickr2K, Gaussian noise of sigma 50",
        "noisy",
        (Part("train/noisy", _DF2K, _DF2K_COUNTS, recipe="noise50"),),
    ),
    Benchmark(
        "cbsd68",
        "CBSD68, Gaussian noise of sigma 50",
        "noisy",
        (
            Part(
                "val/noisy",
                (Layout("CBSD68", ("cbsd68/original_png/*",)), Layout("CBSD68", ("cbsd68/*",))),
                (68,),
                recipe="noise50",
            ),
        ),
    ),
    Benchmark(
        "raindrop",
        "RainDrop",
        "raindrop",
        (
            Part("train/raindrop", (folders("RainDrop", "train/data", "train/gt", "raindrop"),), (861,)),
            Part("val/raindrop", (folders("RainDrop", "test_a/data", "test_a/gt", "raindrop"),), (58,)),
        ),
    ),
    Benchmark(
        "rain100h",
        "Rain100H",
        "rainy",
        (
            rain_part("h", "heavy", "train", "train/rainy", (1800,)),
            rain_part("h", "heavy", "test", "val/rainy", (100,)),
        ),
    ),
    Benchmark(
        "srd",
        "SRD",
        "shadowed",
        (Part("train/shadowed", _srd("train"), (2680,)), Part("val/shadowed", _srd("test"), (408,))),
    ),
    Benchmark(
        "snow100k_l",
        "Snow100K-L",
        "snowy",
        (
            Part("train/snowy", _SNOW_TRAIN, (1872,)),
            Part("val/snowy", (folders("Snow100K", "snow100k-l/synthetic", "snow100k-l/gt"),), (601,)),
        ),
    ),
    Benchmark(
        "celebahq_inpainting",
        "CelebA-HQ with RePaint's thin masks",
        "inpainting",
        (
            Part("train/inpainting", _FACES, (29900,), recipe="inpainting", held_out=100),
            Part("val/inpainting", _FACES, (100,), recipe="inpainting", held_out=100),
        ),
    ),
)
