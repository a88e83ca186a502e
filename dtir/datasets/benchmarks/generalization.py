"""Sets that a model is tested but not trained on (arXiv 2506.21722, Setting A), and Rain100L's training part."""

from .declare import Benchmark, Part, folders
from .ten_tasks import rain_part

_REVIDE = (folders("REVIDE", "test/hazy/*", "test/gt/*"),)
_REAL_SNOW = tuple(
    folders("RealSnow", f"realsnow/{split}/{lq}", f"realsnow/{split}/gt")
    for split in ("testing", "test")
    for lq in ("synthetic", "input", "snow")
)


def _lol_v2(kind: str, archive: str) -> Part:
    low, normal = (f"ve-lol-l-{archive}-{level}_test" for level in ("low", "normal"))
    return Part(
        f"generalization/LOL-v2-{kind}",
        (
            folders("LOL-v2", f"{_LOL_V2_FOLDERS[kind]}/test/low", f"{_LOL_V2_FOLDERS[kind]}/test/normal", "lol-v2"),
            folders("VE-LOL", low, normal, "lol-v2"),
        ),
        (100,),
    )


_LOL_V2_FOLDERS = {"real": "real_captured", "synthetic": "synthetic"}

GENERALIZATION = (
    Benchmark("revide", "REVIDE", "hazy", (Part("generalization/REVIDE", _REVIDE),)),
    Benchmark(
        "rain100l",
        "Rain100L",
        "rainy",
        (
            rain_part("l", "light", "train", "train/rainy-light", (200,)),
            rain_part("l", "light", "test", "generalization/Rain100L", (100,)),
        ),
    ),
    Benchmark("realsnow", "RealSnow", "snowy", (Part("generalization/RealSnow", _REAL_SNOW),)),
    Benchmark("lol_v2_real", "LOL-v2, real part", "low-light", (_lol_v2("real", "cap"),)),
    Benchmark("lol_v2_synthetic", "LOL-v2, synthetic part", "low-light", (_lol_v2("synthetic", "syn"),)),
)
