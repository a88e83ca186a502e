"""A small restorer of two tasks, of which one has parts of its own, as the tools on its weights see it."""

import copy

import torch
from mmengine.registry import DefaultScope

from dtir.apis.models.files import write_model_file
from dtir.registry import RESTORERS, SCOPE

MODEL = {
    "type": "DiffusionRestorer",
    "tasks": ["noisy", "rainy"],
    "matched_t": {"noisy": 2, "rainy": 4},
    "network": {
        "type": "ExtendedConditioning",
        "extensions": [{"step": 4, "start": 3, "rank": 2, "curve": True}],
        "embed_dim": 8,
        "backbone": {"type": "NAFNet", "width": 4, "enc_blk_nums": [1], "middle_blk_num": 1, "dec_blk_nums": [1]},
    },
    "scheduler": {"type": "DDPMScheduler", "num_timesteps": 6},
}


def build(model: dict, state: dict | None = None) -> torch.nn.Module:
    """A restorer of a config, with these weights."""
    with DefaultScope.overwrite_default_scope(SCOPE):
        restorer = RESTORERS.build(copy.deepcopy(model)).eval()
    if state is not None:
        restorer.load_state_dict(state)
    return restorer


def stored(path) -> torch.nn.Module:
    """Writes a model file in half precision; returns the restorer, whose weights are those of the file."""
    torch.manual_seed(0)
    restorer = build(MODEL)
    for parameter in restorer.parameters():
        parameter.data = torch.nn.init.normal_(parameter, std=0.2).half().float()
    restorer.model_cfg = MODEL
    write_model_file(path, restorer)
    return restorer
