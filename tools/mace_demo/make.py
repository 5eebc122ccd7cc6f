"""Make `mace-demo`: data, training, file, measurements and card. Finished steps are not repeated."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from train import TRAININGS


def run(script: str, threads: int, *options: str) -> None:
    """Run a script of this folder with a number of threads."""
    command = [sys.executable, str(Path(__file__).with_name(script)), *options]
    print(" ".join(command), flush=True)
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": str(threads)})


def main(work: Path, workers: int) -> None:
    """Run the scripts one after the other."""
    work = work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    in_work = ("--work", str(work))
    in_processes, in_threads = ("--workers", str(workers)), ("--threads", str(workers))
    run("structures.py", 1, *in_work, *in_processes)
    run("train.py", workers, *in_work, *in_threads)
    for number in range(2, len(TRAININGS) + 1):
        run("visited.py", 1, *in_work, "--after", str(number - 1), *in_processes)
        run("train.py", workers, *in_work, "--training", str(number), *in_threads)
    run("export.py", workers, *in_work)
    run("evaluate.py", workers, *in_work)
    run("stability.py", workers, *in_threads)
    run("card.py", 1, *in_work)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for all files except the model and its card")
    parser.add_argument("--workers", type=int, default=2, help="CPU cores")
    arguments = parser.parse_args()
    main(arguments.work, arguments.workers)
