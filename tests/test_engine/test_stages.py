import math

import pytest

from dtir.core.errors import ConfigError
from dtir.engine.optim import learning_rate
from dtir.engine.stages import Stage, StagePlan

STAGES = [
    {"name": "pretrain", "iters": 5, "lr": 1.0, "generative_share": 1.0},
    {"name": "incremental", "iters": 3, "lr": 1.0, "per_task": True},
]


def test_stage_is_a_pure_function_of_the_iteration():
    plan = StagePlan(STAGES, num_tasks=2)
    assert plan.max_iters == 11
    names = [plan.at(i).name for i in range(11)]
    assert names == ["pretrain"] * 5 + ["incremental_1"] * 3 + ["incremental_2"] * 3
    assert [(s.index, s.start, s.end) for s in plan] == [(0, 0, 5), (1, 5, 8), (2, 8, 11)]


def test_per_task_stage_trains_the_first_k_tasks():
    plan = StagePlan(STAGES[1:], num_tasks=10)
    assert [s.settings.tasks for s in plan] == list(range(1, 11))
    assert plan.stages[0].name == "incremental_01"


def test_per_task_stage_with_a_length_per_task():
    stage = {"name": "incremental", "iters": [2, 5, 1], "lr": 1.0, "per_task": True}
    assert [s.end for s in StagePlan([stage], num_tasks=3)] == [2, 7, 8]
    with pytest.raises(ConfigError, match="iters must be an integer or a list of 2, one per task"):
        StagePlan([stage], num_tasks=2)
    with pytest.raises(ConfigError, match="iters must be one integer, without per_task"):
        Stage.from_config({**stage, "per_task": False})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"itres": 3}, "unknown key 'itres'. Did you mean 'iters'"),
        ({"iters": 0}, "iters must be an integer >= 1, got 0"),
        ({"lr": -1.0}, "lr must be a number > 0"),
        ({"generative_share": 1.5}, "generative_share must be a number in"),
        ({"schedule": "cos"}, "schedule must be one of cosine, linear, constant"),
        ({"warmup_iters": 5}, "warmup_iters must be"),
        ({"tasks": "hazy"}, "tasks must be 'all', a list"),
        ({"patch": 0}, "patch must be an integer >= 1, or None, got 0"),
        ({"trainable": "backbone.*"}, "trainable must be a list"),
    ],
)
def test_bad_stage_is_named(change, message):
    with pytest.raises(ConfigError, match="stage 'pretrain'") as error:
        Stage.from_config({**STAGES[0], **change})
    assert message in str(error.value)


def test_missing_keys_and_repeated_names_are_named():
    with pytest.raises(ConfigError, match=r"missing key\(s\) iters, lr"):
        Stage.from_config({"name": "finetune"})
    with pytest.raises(ConfigError, match="pretrain are used more than once"):
        StagePlan([STAGES[0], STAGES[0]], num_tasks=1)
    with pytest.raises(ConfigError, match="stages is empty"):
        StagePlan([], num_tasks=1)


def test_learning_rate_closed_form():
    stage = Stage("s", iters=110, lr=2.0, min_lr=0.5, warmup_iters=10)
    assert [learning_rate(stage, i) for i in (0, 4, 9)] == [0.2, 1.0, 2.0]
    assert learning_rate(stage, 10) == 2.0
    assert math.isclose(learning_rate(stage, 60), 1.25)
    assert math.isclose(learning_rate(stage, 109), 0.5 + 0.75 * (1 + math.cos(math.pi * 0.99)))
    linear = Stage("s", iters=100, lr=1.0, schedule="linear")
    assert math.isclose(learning_rate(linear, 25), 0.75)
    constant = Stage("s", iters=100, lr=1.0, schedule="constant")
    assert {learning_rate(constant, i) for i in range(100)} == {1.0}
