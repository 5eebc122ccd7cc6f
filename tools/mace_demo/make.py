"""Make `mace-demo`: data, training, file, measurements and card; what is done already is not done again."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path


def main(work: Path, workers: int) -> None:
    """Run the scripts of this folder one after the other."""
    work = work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    in_work = ("--work", str(work))
    for script, threads, *options in (
        ("structures.py", 1, *in_work, "--workers", str(workers)),
        ("train.py", workers, *in_work, "--threads", str(workers)),
        ("export.py", workers, *in_work),
        ("evaluate.py", workers, *in_work),
        ("stability.py", workers, "--threads", str(workers)),
        ("card.py", 1, *in_work),
    ):
        command = [sys.executable, str(Path(__file__).with_name(script)), *options]
        print(" ".join(command), flush=True)
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": str(threads)})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for everything but the model and its card")
    parser.add_argument("--workers", type=int, default=2, help="CPU cores")
    arguments = parser.parse_args()
    main(arguments.work, arguments.workers)
