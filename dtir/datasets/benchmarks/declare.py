"""What is declared of a benchmark: where its parts go, how its archives are laid out, how many pairs it has."""

from dataclasses import dataclass

from dtir.tasks import folder_names


@dataclass(frozen=True)
class Layout:
    """One published arrangement of files.

    A pattern is a path whose end it must match, component by component and without regard to case, the last being the
    file's name without extension. A component that is `*` alone, the last excepted, becomes part of the pair's name.

    Attributes:
        name: What it is called in messages and manifests.
        gt: Patterns of the clean pictures; all that match one of them are taken.
        lq: Patterns of the degraded pictures; none where the benchmark derives them.
        rule: Key of `dtir.datasets.pairing.RULES`.
        mask: Patterns of masks, 255 = keep.
        without: Components that no path may have.
    """

    name: str
    gt: tuple[str, ...]
    lq: tuple[str, ...] = ()
    rule: str = "same"
    mask: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """A training or test part.

    Attributes:
        folder: Where it goes, `<split>/<name>`; the split is "train", "val" or "generalization".
        layouts: Published arrangements, the preferred one first.
        counts: Numbers of pairs that are right, the paper's first; none where it is not stated.
        recipe: Key of `dtir.datasets.benchmarks.recipes.RECIPES` for layouts without LQ.
        held_out: How many pictures, the first in natural order, a part of the same pictures holds out for testing.
    """

    folder: str
    layouts: tuple[Layout, ...]
    counts: tuple[int, ...] = ()
    recipe: str = ""
    held_out: int = 0

    @property
    def split(self) -> str:
        """The split, "train" for example."""
        return self.folder.split("/")[0]

    @property
    def folders(self) -> list[str]:
        """What `folder` may be called, in DA-CLIP's tree too."""
        name = self.folder.partition("/")[2]
        return [f"{self.split}/{other}" for other in folder_names(name)]

    def all_layouts(self, task: str) -> tuple[Layout, ...]:
        """The layouts, DA-CLIP's own and this toolbox's (which is the same) before the published ones."""
        return (*_tree_layouts(self, task), *self.layouts)


@dataclass(frozen=True)
class Benchmark:
    """A benchmark by its parts.

    Attributes:
        name: What it is called on the command line.
        title: What its authors call it.
        task: The kind of degradation, one of `dtir.tasks.TASKS`.
        parts: Training and test parts.
    """

    name: str
    title: str
    task: str
    parts: tuple[Part, ...]


def folders(name: str, lq: str, gt: str, rule: str = "same", without: tuple[str, ...] = ()) -> Layout:
    """A layout of one folder for the LQs and one for the GTs."""
    return Layout(name, (f"{gt}/*",), (f"{lq}/*",), rule, without=without)


def _tree_layouts(part: Part, task: str) -> list[Layout]:
    if part.folder != f"{part.split}/{task}":
        return [_tree(f"prepared tree, {part.folder}", part.folder)]
    names = folder_names(task)
    trees = [_tree(f"DA-CLIP's tree, {part.split}/{name}", f"{part.split}/{name}") for name in names]
    if part.split == "train":
        trees += [_tree(f"DA-CLIP's tree, {name}", name, ("val", "test", "generalization")) for name in names]
    return trees


def _tree(name: str, folder: str, without: tuple[str, ...] = ()) -> Layout:
    return Layout(name, (f"{folder}/gt/*",), (f"{folder}/lq/*",), mask=(f"{folder}/mask/*",), without=without)
