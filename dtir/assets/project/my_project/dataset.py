"""The data: pairs of one task."""

import os

from dtir.datasets import SyntheticDataset
from dtir.registry import DATASETS


@DATASETS.register_module()
class MyDataset(SyntheticDataset):
    """Photographs with stripes. For pairs of your own, take `PairedDataset` (folders LQ/ and GT/) in the config.

    Args:
        data_root: Folder of clean pictures; "asset://photos" are those that come with dtir.
        **options: Of `SyntheticDataset`: patch, files, eval_crop, max_size, ...
    """

    def __init__(self, data_root: str | os.PathLike, **options) -> None:
        super().__init__("striped", data_root, degradation="MyStripes", **options)
