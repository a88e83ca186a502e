"""Reports people can look at: tables, curves, panels."""

from .charts import plot_learning_curves, plot_matching_curves
from .comparison import TestReport, write_test_report
from .confusion import write_confusion
from .examples import ExampleStore
from .experts import write_expert_use
from .forgetting import write_forgetting
from .panels import PanelRow, save_panel
from .tables import read_results, result_grid, write_results

__all__ = [
    "ExampleStore",
    "PanelRow",
    "TestReport",
    "plot_learning_curves",
    "plot_matching_curves",
    "read_results",
    "result_grid",
    "save_panel",
    "write_confusion",
    "write_expert_use",
    "write_forgetting",
    "write_results",
    "write_test_report",
]
