import itertools
from collections import Counter
from fractions import Fraction

import pytest

from dtir.core.errors import ConfigError
from dtir.datasets.sampler import MultiTaskBatchSampler, SampleKey, StageDraws

SIZES = [5, 1, 7, 3]


def batches(batch_size=8, rank=0, world_size=1, seed=3, stage=1, tasks=(0, 2, 3), share=0.1, num=6, **options):
    sampler = MultiTaskBatchSampler(SIZES, batch_size, seed, rank, world_size)
    sampler.set_stage(stage, tasks, share, num, **options)
    return list(sampler)


def flat(lists):
    return list(itertools.chain.from_iterable(lists))


@pytest.mark.parametrize("mixing", ["balanced", "proportional"])
@pytest.mark.parametrize(("world_size", "batch_size"), [(2, 12), (4, 6), (3, 8), (24, 1)])
def test_global_batches_do_not_depend_on_the_processes(world_size, batch_size, mixing):
    single = batches(24, mixing=mixing)
    split = [batches(batch_size, rank, world_size, mixing=mixing) for rank in range(world_size)]
    for number, whole in enumerate(single):
        assert flat(rank[number] for rank in split) == whole


def test_batches_hold_consecutive_global_draws():
    keys = batches(4, rank=1, world_size=3, num=5)
    assert [[key.draw for key in batch] for batch in keys] == [
        list(range((b * 3 + 1) * 4, (b * 3 + 2) * 4)) for b in range(5)
    ]


@pytest.mark.parametrize("mixing", ["balanced", "proportional"])
def test_restart_anywhere_continues_the_same_sequence(mixing):
    whole = batches(5, num=9, mixing=mixing)
    for start in range(10):
        assert batches(5, num=9, start=start, mixing=mixing) == whole[start:]


@pytest.mark.parametrize("mixing", ["balanced", "proportional"])
def test_keys_may_be_asked_for_in_any_order(mixing):
    plan = StageDraws(3, 0, (0, 2, 3), SIZES, 0.25, mixing)
    forward = [plan.key_at(draw) for draw in range(100)]
    assert [plan.key_at(draw) for draw in reversed(range(100))] == forward[::-1]
    assert [StageDraws(3, 0, (0, 2, 3), SIZES, 0.25, mixing).key_at(draw) for draw in range(100)] == forward


@pytest.mark.parametrize("share", [0, 0.1, 0.3, 0.7, 1 / 3, 1, Fraction(1, 3)])
@pytest.mark.parametrize("batch_size", [1, 3, 4, 7, 10, 16])
def test_generative_share_is_exact(share, batch_size):
    exact = Fraction(str(share))
    generative = [key.generative for key in flat(batches(batch_size, share=share, num=40))]
    for count in range(len(generative) + 1):
        assert sum(generative[:count]) == exact * count // 1


def test_a_share_of_three_tenths_is_three_in_every_ten():
    generative = [key.generative for key in flat(batches(10, share=0.3, num=20))]
    assert [sum(generative[start : start + 10]) for start in range(0, 200, 10)] == [3] * 20


def test_balanced_blocks_hold_each_task_once_in_changing_order():
    tasks = [key.task for key in flat(batches(9, num=40))]
    blocks = [tuple(tasks[start : start + 3]) for start in range(0, len(tasks), 3)]
    assert {frozenset(block) for block in blocks} == {frozenset((0, 2, 3))}
    assert len(set(blocks)) == 6


def test_balanced_epochs_show_each_picture_once_in_changing_order():
    keys = flat(batches(6, tasks=(0, 1, 2, 3), num=70))
    for task, size in enumerate(SIZES):
        shown = [key.index for key in keys if key.task == task]
        epochs = [tuple(shown[start : start + size]) for start in range(0, len(shown) - size + 1, size)]
        assert {frozenset(epoch) for epoch in epochs} == {frozenset(range(size))}
        assert len(set(epochs)) > 1 or size == 1


def test_proportional_epochs_show_each_picture_of_the_union_once():
    union = {(task, index) for task in (0, 2, 3) for index in range(SIZES[task])}
    pictures = [(key.task, key.index) for key in flat(batches(len(union), num=12, mixing="proportional"))]
    epochs = [tuple(pictures[start : start + len(union)]) for start in range(0, len(pictures), len(union))]
    assert len(epochs) == len(set(epochs)) == 12
    assert {frozenset(epoch) for epoch in epochs} == {frozenset(union)}
    assert Counter(task for task, _ in pictures) == {task: 12 * SIZES[task] for task in (0, 2, 3)}


def test_a_very_late_draw_is_reached_directly():
    late = StageDraws(0, 0, (0, 2), [10, 10, 10], 0.1).key_at(10**15)
    assert late.draw == 10**15
    assert late.task in (0, 2)


@pytest.mark.parametrize("mixing", ["balanced", "proportional"])
def test_seed_and_stage_change_the_sequence(mixing):
    def pictures(**options):
        return [(key.task, key.index) for key in flat(batches(mixing=mixing, **options))]

    assert len({tuple(pictures(seed=seed, stage=stage)) for seed in (0, 1) for stage in (0, 1)}) == 4


def test_a_running_iterator_keeps_its_stage():
    sampler = MultiTaskBatchSampler(SIZES, 4)
    sampler.set_stage(0, [0], 0, 3)
    running = iter(sampler)
    sampler.set_stage(1, [2], 0, 1)
    assert {key.stage for key in flat(running)} == {0}
    assert {key.stage for key in flat(sampler)} == {1}


def test_length_counts_the_batches_left():
    sampler = MultiTaskBatchSampler(SIZES, 4)
    sampler.set_stage(0, [0], 0, num_batches=10, start=7)
    assert len(sampler) == len(list(sampler)) == 3
    assert sampler.key_at(5) == SampleKey(0, 5, 0, sampler.key_at(5).index, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": []}, "at least one task"),
        ({"tasks": [0, 0]}, "none twice"),
        ({"tasks": [4]}, "4 tasks"),
        ({"share": 1.5}, r"generative_share=1.5 must lie in \[0, 1\]"),
        ({"mixing": "random"}, "balanced, proportional"),
        ({"start": 7}, "start=7"),
    ],
)
def test_stage_values_out_of_range_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        batches(**options)


@pytest.mark.parametrize("arguments", [([], 4), ([3, 0], 4), ([3], 0), ([3], 4, -1), ([3], 4, 0, 2, 2)])
def test_sampler_values_out_of_range_are_refused(arguments):
    with pytest.raises(ConfigError):
        MultiTaskBatchSampler(*arguments)


def test_drawing_before_a_stage_is_an_error():
    with pytest.raises(RuntimeError, match="set_stage"):
        iter(MultiTaskBatchSampler(SIZES, 4))
