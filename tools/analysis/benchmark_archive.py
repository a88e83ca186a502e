"""What it costs to go on with an archive by its log: listing, reading the log, and finding what is left to do.

    python tools/analysis/benchmark_archive.py --pictures 100000

Makes empty files in a folder for temporary files, a thousand in each folder, with outputs, and a log that says all are
done. Nothing is restored.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

from dtir.apis.archive.archive import left_to_do
from dtir.apis.archive.attempt import Done, Origin, stamp_of
from dtir.apis.archive.folder import Job, plan_jobs
from dtir.apis.archive.job_log import JobLog
from dtir.apis.restoring.outcome import Estimate, Outcome, Pass
from dtir.cli import exit_code
from dtir.cli.numbers import positive_int

PER_FOLDER = 1000
# As many as a run with the model of the package writes.
SETTINGS = {"model_sha256": "0" * 64, **{f"option_{number}": None for number in range(14)}}


def make_archive(folder: Path, number: int) -> None:
    """Writes the files and the log."""
    log = JobLog(folder / "log.jsonl", SETTINGS)
    outcome = Outcome((Pass("noisy", 0.9, 6),), Estimate("clean", 0.9), size=(640, 480), seconds=0.5)
    for name in range(number):
        place = Path(f"box_{name // PER_FOLDER:04d}", f"scan_{name % PER_FOLDER:04d}.png")
        job = Job(folder / "in" / place, folder / "out" / place)
        for path in job:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        log.add(job, Done(outcome, Origin("0" * 64, *stamp_of(job.source))))


class Meter:
    """Prints the processor's seconds and the memory that steps take."""

    def __init__(self) -> None:
        self.seconds, self.memory = time.process_time(), _peak()

    def __call__(self, step: str) -> None:
        """After a step."""
        seconds, memory = time.process_time(), _peak()
        print(f"{step}: {seconds - self.seconds:.1f} s of a core, {memory - self.memory:.0f} MB more at the peak")
        self.seconds, self.memory = time.process_time(), memory


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Runs the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=positive_int, default=100_000, metavar="N", help="number of files (100000)")
    number = parser.parse_args().pictures
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        meter = Meter()
        make_archive(folder, number)
        meter(f"{number} files and log lines written")
        plan = plan_jobs(folder / "in", folder / "out", recursive=True)
        meter(f"{len(plan.jobs)} jobs planned")
        log = JobLog(folder / "log.jsonl", SETTINGS)
        meter(f"log of {(folder / 'log.jsonl').stat().st_size / 1e6:.0f} MB read")
        todo, done, _ = left_to_do(plan.jobs, log, overwrite=False)
        meter(f"{len(done)} found done, {len(todo)} to do")


if __name__ == "__main__":
    sys.exit(exit_code(main))
