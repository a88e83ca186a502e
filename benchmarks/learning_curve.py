"""The learning curves of a training, however often it was stopped, as a picture and as the numbers in it.

python -m benchmarks.learning_curve work_dirs/universal_nafnet --out results
"""

import argparse
import json
import sys
from pathlib import Path

from dtir.cli import exit_code
from dtir.core.atomic import atomic_write
from dtir.evaluation.reports import plot_learning_curves


def read_scalars(work_dir: Path) -> list[dict]:
    """What the runs in a work folder logged, by step; where a resumed run did a step again, its own numbers."""
    by_step = {}
    for path in sorted(work_dir.glob("*/vis_data/scalars.json")):
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            by_step[entry["step"]] = entry
    return [by_step[step] for step in sorted(by_step)]


def main() -> int:
    """Reads and draws; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work_dir", type=Path, help="work folder of a training")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    args = parser.parse_args()
    scalars = read_scalars(args.work_dir)
    if not scalars:
        parser.error(f"no run in {args.work_dir} has logged anything (*/vis_data/scalars.json)")
    plot_learning_curves(args.out / f"{args.work_dir.name}_curves.svg", scalars)
    with atomic_write(args.out / f"{args.work_dir.name}_log.json", "w", encoding="utf-8") as file:
        file.write("\n".join(json.dumps(entry) for entry in scalars) + "\n")
    print(f"{len(scalars)} entries, steps {scalars[0]['step']} to {scalars[-1]['step']}, into {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
