"""Whether what is tested on is a published test set, whole and as prepared: only then do published figures compare."""

from collections.abc import Iterable

from dtir.datasets.base import RestorationDataset

from .manifest import read_manifest


def are_published_sets(datasets: Iterable[RestorationDataset]) -> bool:
    """Whether every dataset is a test part that `tools/dataset_converters/prepare.py` has made, with all of its pairs.

    Where the number of pairs is published, it must be that one.

    Raises:
        DatasetError: A manifest is damaged.
    """
    return all(_is_published_set(dataset) for dataset in datasets)


def _is_published_set(dataset: RestorationDataset) -> bool:
    folder = dataset.folder
    manifest = read_manifest(folder) if folder else None
    if manifest is None or manifest.split == "train":
        return False
    return len(dataset) == manifest.pairs and (not manifest.expected or manifest.pairs in manifest.expected)
