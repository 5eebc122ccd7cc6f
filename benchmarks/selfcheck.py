"""Time the first evaluation of potentials, with the self-check and with a record of it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time


def first_evaluation(name: str, dtype: str) -> None:
    """Print CPU and wall time (s) of the first evaluation in this process."""
    from alchemflows.alchemy.backends import load_potential
    from alchemflows.alchemy.backends.selfcheck import random_system
    from alchemflows.alchemy.potential import AlchemicalPotential
    from alchemflows.schemas.potential import PotentialSpec

    backend = load_potential(PotentialSpec(name=name, dtype=dtype, device="cpu"))
    system = random_system(backend.cutoff_A, [50, 53, 55, 82])
    potential = AlchemicalPotential(system, backend)
    structure = system.structure
    wall, cpu = time.perf_counter(), time.process_time()
    potential.evaluate(structure.cart_coords[None], structure.lattice.matrix[None], [[0.5, 0.3, 0.6]])
    print(f"CPU {time.process_time() - cpu:.2f} s, wall {time.perf_counter() - wall:.2f} s")


def main() -> None:
    """Start two processes for each potential and dtype: one that checks and one that finds the record."""
    if len(sys.argv) == 3:
        first_evaluation(*sys.argv[1:])
        return
    for name in ("mace-demo", "sevennet-0"):
        for dtype in ("float32", "float64"):
            with tempfile.TemporaryDirectory() as folder:
                for what in ("with the check", "with a record"):
                    print(f"{name}, {dtype}, {what}:", end=" ", flush=True)
                    subprocess.run(
                        [sys.executable, "-W", "ignore", __file__, name, dtype],
                        check=True,
                        env=os.environ | {"ALCHEMFLOWS_CHECKS": folder},
                    )


if __name__ == "__main__":
    main()
