"""Published figures that a test's tables stand beside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dtir.evaluation.metrics.base import AVERAGE
from dtir.tasks import TASKS, task_of

PAPER = "Lu et al., arXiv 2506.21722"


@dataclass(frozen=True)
class PublishedTable:
    """A table of a paper.

    Attributes:
        title: What was measured.
        source: Where it is published.
        measured: How, in words.
        columns: Names of the metrics, as in the paper.
        rows: Values in the order of the columns, by method, in the paper's order.
        own_columns: For each column the row of a test's table and the metric that stand under it.
        digits: After the point, for each column, as the paper prints them.
    """

    title: str
    source: str
    measured: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[float]]
    own_columns: Sequence[tuple[str, str]]
    digits: Sequence[int]

    def shown(self, values: Sequence[float]) -> list[str]:
        """A row's values as the paper prints them."""
        return [format(value, f".{digits}f") for value, digits in zip(values, self.digits, strict=True)]

    @property
    def methods(self) -> list[str]:
        """The methods without the ablations."""
        return [name for name in self.rows if " w/o " not in name]

    @property
    def note(self) -> str:
        """Where the figures are from and when they compare."""
        return (
            f"Published figures: {self.source}, {self.measured}, on the test sets of that paper. They compare with "
            "this test's only where its pictures and protocol are the same."
        )


SETTING_B = PublishedTable(
    title="Setting B: average over ten tasks",
    source=PAPER,
    measured="PSNR and SSIM on RGB, LPIPS with AlexNet",
    columns=("PSNR", "SSIM", "LPIPS"),
    own_columns=((AVERAGE, "PSNR"), (AVERAGE, "SSIM"), (AVERAGE, "LPIPS")),
    digits=(2, 3, 3),
    rows={
        "X-Restormer": (26.43, 0.852, 0.171),
        "PromptIR": (27.14, 0.859, 0.148),
        "DA-CLIP": (27.00, 0.794, 0.127),
        "RAM": (27.51, 0.840, 0.172),
        "the paper's method": (28.13, 0.862, 0.123),
        "the paper's method on NAFNet": (28.47, 0.865, 0.127),
        "the paper's method on X-Restormer": (28.32, 0.859, 0.130),
        "the paper's method w/o MoE": (27.64, 0.842, 0.188),
        "the paper's method w/o TIT": (27.01, 0.743, 0.394),
    },
)

SETTING_A_DEHAZING = PublishedTable(
    title="Setting A: dehazing, trained on RESIDE, restoration (RESIDE) and generalisation (REVIDE)",
    source=PAPER,
    measured="PSNR and SSIM on RGB",
    columns=("restoration PSNR", "restoration SSIM", "generalisation PSNR", "generalisation SSIM"),
    own_columns=(("hazy", "PSNR"), ("hazy", "SSIM"), ("hazy@REVIDE", "PSNR"), ("hazy@REVIDE", "SSIM")),
    digits=(2, 3, 2, 3),
    rows={
        "X-Restormer": (29.34, 0.921, 17.26, 0.688),
        "IR-SDE": (25.25, 0.906, 16.63, 0.624),
        "DA-CLIP": (30.16, 0.936, 16.38, 0.636),
        "DehazeFormer": (30.29, 0.964, 15.82, 0.537),
        "the paper's method": (29.08, 0.933, 20.74, 0.782),
        "the paper's method w/o TMGP": (28.95, 0.895, 15.29, 0.535),
        "the paper's method w/o GEF": (21.25, 0.624, 14.47, 0.565),
        "the paper's method w/o importance": (28.65, 0.844, 16.10, 0.611),
        "the paper's method w/o orthogonality": (28.79, 0.909, 19.88, 0.742),
    },
)


def published_table(tasks: Sequence[str]) -> PublishedTable | None:
    """The published table that a test of these tasks, or rows, is looked at beside; None where there is none.

    The ten tasks are Setting B, dehazing alone is Setting A.
    """
    tested = set(map(task_of, tasks))
    if tested == set(TASKS):
        return SETTING_B
    return SETTING_A_DEHAZING if tested == {"hazy"} else None
