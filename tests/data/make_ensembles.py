"""Write exact ensemble averages of small cells: ``python tests/data/make_ensembles.py``.

Every arrangement is an ordinary structure, whose energy with ``mace-demo`` comes from mace-torch's own calculator. The
averages follow from these energies by sums over all arrangements; neighbours are found by trying all images. No part
of the Monte Carlo of the package is used. The format is that of ``alchemflows verify-ensembles``.
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units

from alchemflows.alchemy.backends import load_potential
from alchemflows.schemas.potential import PotentialSpec

TARGET = Path(__file__).parent / "ensembles.json"
#: Cubic lattice constant (Å), elements, temperature (K), counts of the canonical ensemble, and displacements (Å).
CASES = {
    "binary": (5.9, ["Na", "K"], 700.0, [2, 2], 0.15),
    "ternary": (5.7, ["Li", "Na", "K"], 900.0, [1, 2, 1], 0.12),
}
SITES = [0, 2, 4, 6]
FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


def written(a_A: float, elements: list[str], temperature_K: float, counts: list[int], shift_A: float) -> dict[str, Any]:
    """Return one case of rocksalt, displaced at random so that its sites differ."""
    rng = np.random.default_rng(len(elements))
    places = np.stack([FCC, FCC + 0.5], axis=1).reshape(-1, 3) * a_A
    places = places + rng.uniform(-shift_A, shift_A, places.shape)
    cell = a_A * np.eye(3)
    calculator = load_potential(PotentialSpec(name="mace-demo", dtype="float64", device="cpu")).library_calculator()
    labels = np.array(list(product(range(len(elements)), repeat=len(SITES))))
    energy = []
    for row in labels:
        symbols = np.array(["Cl"] * len(places), dtype=object)
        symbols[SITES] = [elements[k] for k in row]
        crystal = Atoms(list(symbols), positions=places, cell=cell, pbc=True)
        crystal.calc = calculator
        energy.append(crystal.get_potential_energy())
    energies = np.array(energy)
    shell = 0.85 * a_A
    unlike = unlike_fractions(labels, places[SITES], cell, shell)
    numbers = np.stack([(labels == k).sum(axis=1) for k in range(len(elements))], axis=1)
    beta = 1 / (units.kB * temperature_K)

    def averages(which: np.ndarray, mu: np.ndarray) -> dict[str, Any]:
        reduced = beta * (energies - numbers @ mu)[which]
        p = np.exp(-(reduced - reduced.min()))
        p /= p.sum()
        mean = p @ energies[which]
        return {
            "mean_energy_eV": mean,
            "sd_energy_eV": np.sqrt(p @ (energies[which] - mean) ** 2),
            "mean_counts": (p @ numbers[which]).tolist(),
            "unlike_neighbour_fraction": p @ unlike[which],
        }

    fixed = (numbers == counts).all(axis=1)
    # Chemical potentials that make pure crystals equally probable, and others nearby.
    pure = np.array([energies[(labels == k).all(axis=1)][0] for k in range(len(elements))]) / len(SITES)
    semi_grand = [pure - pure[0] + step * np.arange(len(elements)) for step in (0.0, 0.03)]
    return {
        "model": "mace-demo",
        "cell": cell.tolist(),
        "positions": places.tolist(),
        "symbols": ["Na", "Cl"] * 4,
        "sites": SITES,
        "elements": elements,
        "temperature_K": temperature_K,
        "neighbour_shell_A": shell,
        "expected": {
            "canonical": {"counts": counts, **averages(fixed, np.zeros(len(elements)))},
            "semi-grand": [{"mu_eV": mu.tolist(), **averages(np.full(len(labels), True), mu)} for mu in semi_grand],
        },
    }


def unlike_fractions(labels: np.ndarray, places: np.ndarray, cell: np.ndarray, shell_A: float) -> np.ndarray:
    """Return the share of unlike pairs among ordered pairs nearer than a distance, for each arrangement."""
    images = np.array(list(product((-2, -1, 0, 1, 2), repeat=3))) @ cell
    pairs = [
        (i, j)
        for i, j in product(range(len(places)), repeat=2)
        for image in images
        if 1e-9 < np.linalg.norm(places[j] + image - places[i]) < shell_A
    ]
    first, second = np.array(pairs).T
    return (labels[:, first] != labels[:, second]).mean(axis=1)


if __name__ == "__main__":
    TARGET.write_text(json.dumps({name: written(*case) for name, case in CASES.items()}, indent=1) + "\n")
