"""The smallest sensible setting of every registered backbone, for tests over the whole registry."""

SMALL = {
    "NAFNet": {"width": 4, "enc_blk_nums": [1, 1], "middle_blk_num": 1, "dec_blk_nums": [1, 1]},
    "NAFNetLocal": {"width": 4, "enc_blk_nums": [1, 1], "middle_blk_num": 1, "dec_blk_nums": [1, 1]},
    "PromptIR": {"num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1, "ffn_expansion_factor": 0.1},
    "RAMPromptIR": {"num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1, "ffn_expansion_factor": 0.1},
    "Restormer": {"dim": 8, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1},
    "TinyBackbone": {"width": 4},
    "XRestormer": {"dim": 8, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1, "window_size": 4},
}
