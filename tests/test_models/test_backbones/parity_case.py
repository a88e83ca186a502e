"""Fixtures of published networks: state dict from its recipe, inputs, outputs, and the noise floor."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn


class ParityCase:
    """One `<name>.npz` of the parity folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.arrays = np.load(folder / f"{name}.npz")
        self.meta = json.loads(str(self.arrays["meta"]))

    def state_dict(self, recipe: str = "recipe") -> dict[str, Tensor]:
        state = {}
        for key, shape, mode, offset, scale in self.meta[recipe]:
            state[key] = self._tensor(state, key, shape, mode, offset, scale)
        return state

    def _tensor(self, state, key, shape, mode, offset, scale) -> Tensor:
        if mode == "alias":
            return state[offset]
        if mode == "keep":
            return torch.from_numpy(self.arrays[f"w/{key}"])
        seed = zlib.crc32((self.meta["salt"] + key).encode()) & 0xFFFFFFFF
        z = np.random.RandomState(seed).standard_normal(shape)
        z = np.abs(z) if mode == "abs" else z
        return torch.from_numpy((offset + scale * z).astype(np.float32))

    def load(self, network: nn.Module) -> nn.Module:
        network.load_state_dict(self.state_dict(), strict=True)
        return network.eval()

    def groups(self) -> list[tuple[list[Tensor], list[Tensor], float | list[float]]]:
        """Inputs, outputs, and the largest difference allowed of each call: a number, or one for each output."""
        bounds = iter(10 * floor for floor in self.meta["fp64_maxdiff"])
        groups = []
        for group in self.meta["groups"]:
            inputs, outputs = ([self.array(name) for name in group[kind]] for kind in ("inputs", "outputs"))
            allowed = [next(bounds) for _ in outputs]
            groups.append((inputs, outputs, allowed if len(allowed) > 1 else allowed[0]))
        assert next(bounds, None) is None
        return groups

    def array(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name])
