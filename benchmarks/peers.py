"""Plain calculators of other packages, beside which steps are measured.

symmetrix-xl is MACE compiled for the processor. It is installed from PyPI into a folder of its own, without its
dependencies, which mace-torch has brought.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from ase.calculators.calculator import Calculator

PACKAGE = "symmetrix-xl==0.1.1"


def sevennet_calculator() -> Callable[[], Calculator]:
    """Return a function that makes a plain SevenNet-0 calculator.

    Raises
    ------
    ImportError
        If the package sevenn is not installed.
    """
    from sevenn.calculator import SevenNetCalculator

    return lambda: SevenNetCalculator("7net-0", device="cpu")


def chgnet_calculator() -> Callable[[], Calculator]:
    """Return a function that makes a plain CHGNet calculator.

    Raises
    ------
    ImportError
        If the package chgnet is not installed.
    """
    from chgnet.model import CHGNet, CHGNetCalculator

    def make() -> Calculator:
        with contextlib.redirect_stdout(io.StringIO()):  # chgnet prints its device
            return CHGNetCalculator(CHGNet.load(use_device="cpu", verbose=False), use_device="cpu")

    return make


def install(folder: Path) -> None:
    """Install the package into a folder from which it can be imported.

    Raises
    ------
    ImportError
        If it cannot be installed.
    """
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ImportError(f"{PACKAGE} cannot be installed: {(done.stderr.strip() or 'pip failed').splitlines()[-1]}")
    sys.path.append(str(folder))


def symmetrix_calculator(model_file: Path, folder: Path, threads: int) -> tuple[Calculator, float]:
    """Return the calculator of a MACE model in float32, and the seconds that converting and compiling it took.

    Parameters
    ----------
    model_file
        File of the model.
    folder
        Folder into which the package is installed, and where it keeps what it compiles.
    threads
        Number of OpenMP threads; it cannot be changed in the same process.

    Raises
    ------
    ImportError
        If the package cannot be installed.
    """
    os.environ |= {"OMP_NUM_THREADS": str(threads), "OMP_PROC_BIND": "false"}
    os.environ["SYMMETRIX_JIT_CACHE"] = str(folder / "compiled")
    install(folder / "packages")
    from symmetrix import Symmetrix

    started = perf_counter()
    logging.disable(logging.WARNING)  # the list of all elements
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            calculator: Calculator = Symmetrix(str(model_file), dtype="float32")
    finally:
        logging.disable(logging.NOTSET)
    return calculator, perf_counter() - started
