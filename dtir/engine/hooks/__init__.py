"""Hooks: stages, logging, averages, checkpoints, matching, reports."""

from .blind_task import AutoTaskHook, BlindTaskHook
from .checkpoint import AtomicCheckpointHook
from .ema import ForeachEMA, StageEMAHook
from .expert_use import ExpertUseHook
from .forgetting import ForgettingHook
from .logger import StageLoggerHook, StageRuntimeInfoHook
from .matching import TimestepMatchingHook
from .progress import ProgressHook
from .report import ReportHook
from .stage_switch import StageSwitchHook

__all__ = [
    "AtomicCheckpointHook",
    "AutoTaskHook",
    "BlindTaskHook",
    "ExpertUseHook",
    "ForeachEMA",
    "ForgettingHook",
    "ProgressHook",
    "ReportHook",
    "StageEMAHook",
    "StageLoggerHook",
    "StageRuntimeInfoHook",
    "StageSwitchHook",
    "TimestepMatchingHook",
]
