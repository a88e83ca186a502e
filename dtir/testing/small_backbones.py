"""The smallest sensible setting of every registered backbone, for tests over the whole registry."""

SMALL = {
    "NAFNet": {"width": 4, "enc_blk_nums": [1, 1], "middle_blk_num": 1, "dec_blk_nums": [1, 1]},
    "NAFNetLocal": {"width": 4, "enc_blk_nums": [1, 1], "middle_blk_num": 1, "dec_blk_nums": [1, 1]},
    "PromptIR": {"num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1, "ffn_expansion_factor": 0.1},
    "RAMPromptIR": {"num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1, "ffn_expansion_factor": 0.1},
    "Restormer": {"dim": 8, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1},
    "TinyBackbone": {"width": 4},
    "XRestormer": {"dim": 8, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1, "window_size": 4},
    "PReNet": {"recurrent_iter": 2},
    "PReNet_r": {"recurrent_iter": 2},
    "PReNet_GRU": {"recurrent_iter": 2},
    "PRN": {"recurrent_iter": 2},
    "PRN_r": {"recurrent_iter": 2},
    "GateHazeNet": {"depth_rate": 4, "growth_rate": 4, "num_dense_layer": 1, "width": 4},
    "GridDehazeNet": {"depth_rate": 4, "growth_rate": 4, "num_dense_layer": 1, "width": 4},
    "ConditionalUNet": {"nf": 8, "depth": 2},
    "DenoisingUNet": {"nf": 8, "depth": 2},
    "ConditionalNAFNet": {"width": 4, "enc_blk_nums": [1, 1], "middle_blk_num": 1, "dec_blk_nums": [1, 1]},
    "DenoisingNAFNet": {"width": 4, "enc_blk_nums": [1, 1], "middle_blk_num": 1, "dec_blk_nums": [1, 1]},
    "DACLIPUNet": {"nf": 32, "ch_mult": [1, 1, 1, 1], "context_dim": 8, "use_image_context": True},
    "UnetRes": {"dim": 8, "dim_mults": [1, 2]},
}
