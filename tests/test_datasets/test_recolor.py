import numpy as np
import pytest

from dtir.core.errors import ConfigError
from dtir.datasets.transforms import RandomRecolor


def sample(seed: int = 0) -> dict:
    levels = np.arange(256, dtype=np.uint8)
    picture = np.stack([levels, levels[::-1], levels // 2], axis=-1)[None]
    return {"gt": picture, "lq": picture, "rng": np.random.default_rng(seed)}


def test_zero_strength_only_permutes_channels():
    seen = set()
    for seed in range(40):
        original, out = sample(seed), RandomRecolor(0.0)(sample(seed))
        first = [tuple(out["gt"][0, :, c].tolist()) for c in range(3)]
        sources = [tuple(original["gt"][0, :, c].tolist()) for c in range(3)]
        seen.add(tuple(sources.index(channel) for channel in first))
    assert len(seen) == 6


def test_gammas_keep_black_white_and_order():
    bends = []
    for seed in range(30):
        out = RandomRecolor(0.3)(sample(seed))
        assert out["lq"] is out["gt"]
        channels = np.sort(out["gt"][0].astype(int), axis=0)
        assert (channels[0] == 0).all()
        full = channels[:, channels.max(0) == 255]
        assert full.shape[1] == 2
        bends.extend(np.log(np.maximum(full[128], 1) / 255) / np.log(128 / 255))
    assert np.exp(-0.3) - 0.05 < min(bends) < 0.85
    assert 1.15 < max(bends) < np.exp(0.3) + 0.05


def test_negative_strength_is_named():
    with pytest.raises(ConfigError, match="strength=-1"):
        RandomRecolor(-1)
