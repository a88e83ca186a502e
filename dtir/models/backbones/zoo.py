"""Published settings of the registered networks, with the figures their authors state."""

from typing import NamedTuple


class Published(NamedTuple):
    """One published setting.

    Attributes:
        backbone: Config of the network.
        params_m: Parameters in millions as published or as counted in the published code, None where none is stated.
        gflops: Multiply-accumulates in units of 1e9 at `size`, as published, None where none is stated.
        size: Height and width for which `gflops` is stated.
        source: Where the figures stand.
        channels: Of the input.
    """

    backbone: dict
    params_m: float | None
    gflops: float | None
    source: str
    size: int = 256
    channels: int = 3


_NAFNET_GOPRO = {"enc_blk_nums": [1, 1, 1, 28], "middle_blk_num": 1, "dec_blk_nums": [1, 1, 1, 1]}
_NAFNET_SIDD = {"enc_blk_nums": [2, 2, 4, 8], "middle_blk_num": 12, "dec_blk_nums": [2, 2, 2, 2]}

_DEHAZE_WIDE = {"embed_dims": [48, 96, 192, 96, 48]}
_DEHAZE_CONV = {"conv_type": ["Conv"] * 5}

_MAXIM_S = {"type": "MAXIM", "features": 32, "num_groups": 2, "num_bottleneck_blocks": 2}
_RESSHIFT = {
    "type": "UNetModelSwin",
    "channel_mult": [1, 2, 2, 4],
    "num_head_channels": 32,
    "use_scale_shift_norm": True,
    "swin_embed_dim": 192,
    "mlp_ratio": 4,
}

ZOO: dict[str, Published] = {
    "nafnet_gopro_w32": Published({"type": "NAFNet", "width": 32, **_NAFNET_GOPRO}, 17.11, None, "published code"),
    "nafnet_gopro_w64": Published(
        {"type": "NAFNet", "width": 64, **_NAFNET_GOPRO}, 67.89, 63.0, "arXiv 2506.21722, table 4"
    ),
    "nafnet_sidd_w32": Published({"type": "NAFNet", "width": 32, **_NAFNET_SIDD}, 29.16, None, "published code"),
    "nafnet_sidd_w64": Published({"type": "NAFNet", "width": 64, **_NAFNET_SIDD}, 115.98, None, "published code"),
    "nafnet_local_gopro_w32": Published(
        {"type": "NAFNetLocal", "width": 32, **_NAFNET_GOPRO}, 17.11, None, "state dict of NAFNet"
    ),
    "dtir_unet": Published({"type": "DTIRUNet"}, 27.8, 72.0, "budget: arXiv 2506.21722, table 4"),
    "eedtp": Published({"type": "EEDTPRestorationNet"}, 68.28, None, "released with arXiv 2506.21722"),
    "eedtp_adapters": Published(
        {"type": "EEDTPRestorationNet", "adapters": {"num_experts": 10, "T": 50, "reduction": 4}},
        74.76,
        None,
        "released with arXiv 2506.21722",
    ),
    "restormer": Published({"type": "Restormer"}, 26.127, None, "published code"),
    "restormer_denoising": Published(
        {"type": "Restormer", "LayerNorm_type": "BiasFree"}, 26.112, None, "published code"
    ),
    "restormer_dual_pixel": Published(
        {"type": "Restormer", "inp_channels": 6, "dual_pixel_task": True}, 26.133, None, "published code", channels=6
    ),
    "promptir": Published({"type": "PromptIR"}, 35.59, 158.0, "published code; arXiv 2506.21722, table 4"),
    "ram_promptir": Published({"type": "RAMPromptIR"}, 35.38, None, "published code"),
    "x_restormer": Published(
        {"type": "XRestormer", "num_blocks": [2, 4, 4, 4], "spatial_heads": [1, 2, 4, 8]}, 26.04, None, "published code"
    ),
    "x_restormer_sr4": Published(
        {"type": "XRestormer", "num_blocks": [2, 4, 4, 4], "spatial_heads": [1, 2, 4, 8], "scale": 4},
        26.04,
        None,
        "published code",
    ),
    "prenet": Published({"type": "PReNet"}, 0.168963, None, "published code"),
    "prenet_r": Published({"type": "PReNet_r"}, 0.094979, None, "published code"),
    "prenet_gru": Published({"type": "PReNet_GRU"}, None, None, "published code"),
    "prn": Published({"type": "PRN"}, 0.095107, None, "published code"),
    "prn_r": Published({"type": "PRN_r"}, None, None, "published code"),
    "griddehazenet": Published({"type": "GateHazeNet"}, 0.958051, None, "published code"),
    "irsde_unet": Published({"type": "ConditionalUNet"}, 137.15, None, "published code"),
    "irsde_denoising_unet": Published({"type": "DenoisingUNet"}, None, None, "published code"),
    "irsde_nafnet": Published(
        {"type": "ConditionalNAFNet", "width": 64, **_NAFNET_GOPRO}, 76.61, None, "published code"
    ),
    "irsde_denoising_nafnet": Published(
        {"type": "DenoisingNAFNet", "width": 64, **_NAFNET_GOPRO}, None, None, "published code"
    ),
    "daclip_unet": Published(
        {"type": "DACLIPUNet", "ch_mult": [1, 2, 4, 8], "use_image_context": True}, 48.98, None, "published code"
    ),
    "diffuir_t": Published({"type": "UnetRes", "dim": 32, "dim_mults": [1, 1, 1, 1]}, 0.886, None, "published code"),
    "diffuir_s": Published({"type": "UnetRes", "dim": 32, "dim_mults": [1, 2, 2, 4]}, 3.27, None, "DiffUIR"),
    "diffuir_b": Published({"type": "UnetRes", "dim": 64, "dim_mults": [1, 2, 2, 4]}, 12.41, None, "DiffUIR"),
    "diffuir_l": Published({"type": "UnetRes", "dim": 64, "dim_mults": [1, 2, 4, 8]}, 36.26, None, "published code"),
    "airnet": Published({"type": "AirNet", "batch_size": 5}, 8.93, None, "published code; all-in-one checkpoint"),
    "airnet_denoising": Published({"type": "AirNet", "batch_size": 3}, 8.93, None, "published code"),
    "airnet_one_task": Published({"type": "AirNet", "batch_size": 1}, 8.93, None, "published code"),
    "uretinex": Published({"type": "URetinexNet"}, 0.340105, None, "published code"),
    "mprnet_deraining": Published({"type": "MPRNet"}, 3.64, None, "published code"),
    "mprnet_denoising": Published(
        {"type": "MPRNet", "n_feat": 80, "scale_unetfeats": 48, "scale_orsnetfeats": 32}, 15.74, None, "published code"
    ),
    "mprnet_deblurring": Published(
        {"type": "MPRNet", "n_feat": 96, "scale_unetfeats": 48, "scale_orsnetfeats": 32}, 20.13, None, "published code"
    ),
    "mirnet": Published({"type": "MIRNet"}, 31.79, None, "published code"),
    "ram_swinir": Published({"type": "RAMSwinIR"}, 11.51, None, "published code"),
    "dehazeformer_t": Published(
        {"type": "DehazeFormer", "depths": [4, 4, 4, 2, 2], "attn_ratio": [0, 0.5, 1, 0, 0]},
        0.687,
        None,
        "published code",
    ),
    "dehazeformer_s": Published({"type": "DehazeFormer", "depths": [8, 8, 8, 4, 4]}, 1.28, None, "published code"),
    "dehazeformer_b": Published({"type": "DehazeFormer"}, 2.52, None, "published code"),
    "dehazeformer_d": Published({"type": "DehazeFormer", "depths": [32, 32, 32, 16, 16]}, 4.98, None, "published code"),
    "dehazeformer_w": Published({"type": "DehazeFormer", **_DEHAZE_WIDE}, 9.69, None, "published code"),
    "dehazeformer_m": Published(
        {"type": "DehazeFormer", "depths": [12, 12, 12, 6, 6], **_DEHAZE_CONV}, 4.64, None, "published code"
    ),
    "dehazeformer_l": Published(
        {"type": "DehazeFormer", "depths": [16, 16, 16, 12, 12], **_DEHAZE_WIDE, **_DEHAZE_CONV},
        25.45,
        None,
        "published code",
    ),
    "irsde_latent": Published({"type": "LatentUNet"}, None, None, "published code"),
    "enlightengan": Published({"type": "EnlightenGAN"}, 8.637, None, "published code"),
    "maxim_s1": Published({**_MAXIM_S, "num_stages": 1}, 6.108515, 93.16, "published code"),
    "maxim_s2": Published(_MAXIM_S, 13.35383, 206.74, "published code"),
    "maxim_s2_multi_scale": Published({**_MAXIM_S, "num_supervision_scales": 3}, 14.1, 216.0, "MAXIM"),
    "maxim_s3": Published({**_MAXIM_S, "num_stages": 3}, 20.599145, 320.32, "published code"),
    "maxim_s3_multi_scale": Published({**_MAXIM_S, "num_stages": 3, "num_supervision_scales": 3}, 22.2, None, "MAXIM"),
    "maxim_m1": Published({**_MAXIM_S, "features": 64, "num_stages": 1}, 19.361219, 308.5, "published code"),
    "maxim_m2": Published({**_MAXIM_S, "features": 64}, 40.83911, 675.26, "published code"),
    "maxim_m3": Published({**_MAXIM_S, "features": 64, "num_stages": 3}, 62.317001, 1042.01, "published code"),
    "resshift": Published({**_RESSHIFT, "lq_size": 64}, 118.59, None, "ResShift"),
}
