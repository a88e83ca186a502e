"""Pictures restored on a Ray cluster: reading, restoring and writing as one pipeline of Ray Data.

Small pieces of work pass through it, one picture each, so that a machine which goes away costs the pictures in work on
it and no other. What is read and written goes from stage to stage as the bytes of files; a worker restores a file of
the same name as a run on one machine does, so that the outputs are the same.
"""

import contextlib
import functools
import hashlib
import os
import pickle
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from dtir.apis.archive.attempt import Done, Origin, attempt, stamp_of
from dtir.apis.archive.cluster import Cluster, Room, check_machines, connected, room
from dtir.apis.archive.folder import Failure, Job
from dtir.apis.archive.workers import Recipe, ended_twice
from dtir.core.errors import ConfigError, ImageFileError
from dtir.imaging.outputs import output_file

if TYPE_CHECKING:
    import pyarrow
    from ray.data import Dataset, Datasource

# Of a reading task: many enough for few tasks, few enough to be read again where its machine goes away.
PICTURES_PER_TASK = 64
# A larger file is restored where it lies: libvips reads it in bands, and it need not fit into any memory.
LARGEST_PASSED = 2**26
# Times that Ray itself gives a picture to another worker, whose first one was ended.
RETRIES = 2
COLUMN = "item"


class Item(NamedTuple):
    """A picture on its way.

    Attributes:
        number: Number of its job.
        job: What is to be done.
        content: Bytes of the input, after restoring of the output; None where the files stay where they are.
        done: What became of it; before that, its origin alone.
        fault: An error of the program, in words.
    """

    number: int
    job: Job
    content: bytes | None = None
    done: Done = Done(None)
    fault: str = ""


def run_on_cluster(
    jobs: Sequence[Job],
    recipe_for: Callable[[str], Recipe],
    cluster: Cluster,
    workers: int | None,
    device: str | None,
    needed: Sequence[Path],
) -> Iterator[tuple[Job, Done]]:
    """Yields every job with what became of it, in the order in which they end.

    A picture whose worker is ended goes to another one; where that is ended too, it is restored once more, alone, and
    if that is in vain it has failed.

    Args:
        jobs: All that is to be done.
        recipe_for: Called with the device of the workers ("cpu" or "cuda"), how each makes what restores a picture.
        cluster: On which.
        workers: Their number; None is one for each GPU, or for each core where there are none.
        device: That is wished; None takes GPUs where there are any.
        needed: Files beside the inputs that every machine must see.

    Raises:
        LibraryError, ConfigError: See `connected`, `room` and `check_machines`.
        RuntimeError: The program has a fault, which a worker came upon.
    """
    if not jobs:
        return
    with connected(cluster) as ray:
        space = room(ray, workers, device)
        space = space._replace(workers=min(space.workers, len(jobs)))
        out_dir = Path(os.path.commonpath([job.target.parent for job in jobs]))
        check_machines(ray, [*needed, jobs[0].source], out_dir)
        recipe = recipe_for("cuda" if space.gpu else "cpu")
        left = set(range(len(jobs)))
        for item in _items(ray, _pipeline(ray, jobs, recipe, space)):
            left.discard(item.number)
            yield item.job, item.done
        for number in sorted(left):
            yield jobs[number], _alone(ray, jobs[number], recipe, space)


def _pipeline(ray: ModuleType, jobs: Sequence[Job], recipe: Recipe, space: Room) -> "Dataset":
    # Reading and writing wait for files, beside the workers that compute; two for each hide the waiting.
    tasks = -(-len(jobs) // PICTURES_PER_TASK)
    read = ray.data.read_datasource(
        _source(jobs),
        num_cpus=0,
        compute=ray.data.TaskPoolStrategy(size=min(2 * space.workers, tasks)),
        override_num_blocks=tasks,
    )
    # Blocks of one picture each.
    read.context.target_max_block_size = 1
    # Those of pictures that end their workers are left out, and tried again alone.
    read.context.max_errored_blocks = -1
    read.context.enable_progress_bars = False
    read.context.print_on_execution_start = False
    restored = read.map(
        Worker,
        fn_constructor_args=(recipe, space.cores),
        compute=ray.data.ActorPoolStrategy(size=space.workers, max_tasks_in_flight_per_actor=2),
        num_cpus=space.cores,
        num_gpus=int(space.gpu),
        max_task_retries=RETRIES,
    )
    return restored.map(write, num_cpus=0, compute=ray.data.TaskPoolStrategy(size=min(2 * space.workers, len(jobs))))


def _items(ray: ModuleType, dataset: "Dataset") -> Iterator[Item]:
    # Whatever ends this, the workers go too.
    with contextlib.closing(iter(dataset.iter_rows())) as rows:
        while True:
            try:
                row = next(rows, None)
            except ray.exceptions.RayError as error:
                last = str(error).strip().splitlines()[-1]
                raise ConfigError(
                    f"the cluster cannot go on: {last}. Pictures that are done stay, and with --log are not done "
                    "again; Ray's own files on its machines say more: `ray logs` finds them."
                ) from error
            if row is None:
                return
            item = pickle.loads(row[COLUMN])
            if item.fault:
                raise RuntimeError(f"restoring '{item.job.source}' met a fault of the program:\n{item.fault}")
            yield item


def _source(jobs: Sequence[Job]) -> "Datasource":
    """The jobs as a source of Ray Data, whose tasks read the files."""
    from ray.data import Datasource, ReadTask
    from ray.data.block import BlockMetadata

    class Pictures(Datasource):
        def estimate_inmemory_data_size(self) -> int | None:
            return None

        def get_read_tasks(self, parallelism: int, **_: object) -> list[ReadTask]:
            parts = [range(first, len(jobs))[:PICTURES_PER_TASK] for first in range(0, len(jobs), PICTURES_PER_TASK)]
            return [
                ReadTask(
                    functools.partial(read_all, [(number, jobs[number]) for number in part]),
                    BlockMetadata(num_rows=len(part), size_bytes=None, input_files=None, exec_stats=None),
                )
                for part in parts
            ]

    return Pictures()


def read_all(numbered: Sequence[tuple[int, Job]]) -> Iterator["pyarrow.Table"]:
    """Reads pictures, one after the other: tables of one row."""
    import pyarrow

    for number, job in numbered:
        yield pyarrow.table({COLUMN: [pickle.dumps(read(Item(number, job)))]})


def read(item: Item) -> Item:
    """Takes up the bytes of an input, or nothing of one that is large, cannot be read, or would be replaced."""
    source, target = item.job
    size, mtime_ns = stamp_of(source)
    try:
        if not 0 < (size or 0) <= LARGEST_PASSED or (target.exists() and target.samefile(source)):
            return item
        content = source.read_bytes()
    except OSError:
        # It is said when the file itself is to be restored.
        return item
    origin = Origin(hashlib.sha256(content).hexdigest(), size, mtime_ns)
    return item._replace(content=content, done=Done(None, origin))


class Worker:
    """Restores pictures; loads the model once.

    Args:
        recipe: How it makes what restores one.
        threads: For computing.
    """

    def __init__(self, recipe: Recipe, threads: int) -> None:
        self.restore_one = recipe.follow(threads)

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        """A row with an item, restored."""
        item = pickle.loads(row[COLUMN])
        try:
            item = self._restored(item)
        except Exception:
            # Ray leaves out what raises, as it does what ends a worker.
            item = item._replace(content=None, fault=traceback.format_exc())
        return {COLUMN: pickle.dumps(item)}

    def _restored(self, item: Item) -> Item:
        if item.content is None:
            return item._replace(done=attempt(self.restore_one, item.job, _quiet))
        with tempfile.TemporaryDirectory(prefix="dtir-") as folder:
            here = Job(Path(folder, "in", item.job.source.name), Path(folder, "out", item.job.target.name))
            here.source.parent.mkdir()
            here.source.write_bytes(item.content)
            result = attempt(self.restore_one, here, _quiet).result
            content = None if isinstance(result, Failure) else here.target.read_bytes()
        return item._replace(content=content, done=Done(_elsewhere(result, here, item.job), item.done.origin))


def write(row: dict[str, bytes]) -> dict[str, bytes]:
    """A row with an item, whose output is written."""
    item = pickle.loads(row[COLUMN])
    if item.content is not None:
        try:
            with output_file(item.job.target) as file:
                file.write(item.content)
        except ImageFileError as error:
            item = item._replace(done=item.done._replace(result=Failure(item.job.source, str(error))))
    return {COLUMN: pickle.dumps(item._replace(content=None))}


def _elsewhere(result: object, here: Job, job: Job) -> object:
    """A failure with the places that the user knows."""
    if not isinstance(result, Failure):
        return result
    reason = result.reason
    for there, known in zip(here, job, strict=True):
        reason = reason.replace(str(there), str(known))
    return Failure(job.source, reason)


def _alone(ray: ModuleType, job: Job, recipe: Recipe, space: Room) -> Done:
    restore = ray.remote(num_cpus=space.cores, num_gpus=int(space.gpu), max_retries=0)(restore_alone)
    try:
        return ray.get(restore.remote(job, recipe, space.cores))
    except ray.exceptions.RayTaskError as error:
        raise RuntimeError(f"restoring '{job.source}' met a fault of the program:\n{error}") from error
    except ray.exceptions.RayError:
        return ended_twice(job)


def restore_alone(job: Job, recipe: Recipe, threads: int) -> Done:
    """What becomes of a picture in a process of its own."""
    return attempt(recipe.follow(threads), job, _quiet)


def _quiet(done: int, total: int) -> None:
    """The tiles of a picture on another machine are not shown."""
