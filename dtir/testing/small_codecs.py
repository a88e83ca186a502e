"""A small setting of every codec with weights, of codes with three channels: what the small backbones take."""

_NETWORK = {"ch": 32, "ch_mult": [1, 1], "num_res_blocks": 1, "z_channels": 3, "resolution": 16}

SMALL_CODECS = {
    "LatentUNet": {"ch": 8, "ch_mult": [1, 2], "embed_dim": 3},
    "AutoencoderKL": {"ddconfig": _NETWORK, "embed_dim": 3},
    "AutoencoderKLResi": {"ddconfig": {**_NETWORK, "ch_mult": [1, 1, 1]}, "embed_dim": 3, "num_fuse_block": 1},
    "VQModel": {"ddconfig": {**_NETWORK, "double_z": False}, "embed_dim": 3, "n_embed": 16},
}
