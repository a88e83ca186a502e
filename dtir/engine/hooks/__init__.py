"""Hooks: stages, logging, averages, checkpoints, matching, reports, tests."""

from .blind_task import AutoTaskHook, BlindTaskHook, ClassifierCheckpointHook
from .checkpoint import AtomicCheckpointHook
from .cost import CostHook
from .ema import ForeachEMA, StageEMAHook
from .expert_use import ExpertUseHook
from .forgetting import ForgettingHook
from .logger import StageLoggerHook, StageRuntimeInfoHook
from .matching import TimestepMatchingHook
from .preemption import PreemptionHook
from .progress import ProgressHook
from .report import ReportHook
from .stage_switch import StageSwitchHook
from .task_contexts import TaskContextsHook
from .testing import SaveImagesHook, SelfEnsembleHook, TestReportHook

__all__ = [
    "AtomicCheckpointHook",
    "AutoTaskHook",
    "BlindTaskHook",
    "ClassifierCheckpointHook",
    "CostHook",
    "ExpertUseHook",
    "ForeachEMA",
    "ForgettingHook",
    "PreemptionHook",
    "ProgressHook",
    "ReportHook",
    "SaveImagesHook",
    "SelfEnsembleHook",
    "StageEMAHook",
    "StageLoggerHook",
    "StageRuntimeInfoHook",
    "StageSwitchHook",
    "TaskContextsHook",
    "TestReportHook",
    "TimestepMatchingHook",
]
