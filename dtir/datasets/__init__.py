"""Datasets, transforms, degradations and the counter-based sampler; importing this fills their registries."""

from . import degradations, transforms
from .base import RestorationDataset, resolve_root
from .drawn import DrawnDataset
from .masked import MaskedDataset
from .mixture import MixtureDataset
from .multi_task import MultiTaskDataset
from .packed import PackedPictures, write_pack
from .paired import PairedDataset
from .reversed import ReversedDataset
from .sampler import MultiTaskBatchSampler, SampleKey, StageDraws
from .synthetic import SyntheticDataset

__all__ = [
    "DrawnDataset",
    "MaskedDataset",
    "MixtureDataset",
    "MultiTaskBatchSampler",
    "MultiTaskDataset",
    "PackedPictures",
    "PairedDataset",
    "RestorationDataset",
    "ReversedDataset",
    "SampleKey",
    "StageDraws",
    "SyntheticDataset",
    "degradations",
    "resolve_root",
    "transforms",
    "write_pack",
]
