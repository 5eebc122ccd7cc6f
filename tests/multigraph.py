"""Alchemical energies from an unchanged ScaleShiftMACE, by counting edges: an independent, slow implementation.

    python tests/multigraph.py    writes tests/alchemy/between_vertices.json

An edge of weight k/N equals k parallel edges of weight 1 if the sum of all messages is divided by N. The model's own
``forward`` therefore runs on a graph with one node for each atom and channel, k parallel edges for an edge weight k/N
(Nam et al., Nat. Commun. 16, 4350, 2025), and N times the average number of neighbours. The energy is the sum of the
node energies, each times the weight of its node. Weights never enter the model, neighbours are found by trying all
images, and dE/dweights are finite differences of energies. The package computes nothing here.

This holds for models that sum their messages and divide the sum by the average number of neighbours. Models with
densities, attention or pair repulsion are refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import mace.modules
import numpy as np
import torch
from ase.data import atomic_numbers

#: Number of parallel edges that stand for the weight 1.
N = 20
#: Points on each side of a central finite difference; its error is of the order (1/N)^(2·SIDE).
SIDE = 6
SUMMING = (mace.modules.RealAgnosticInteractionBlock, mace.modules.RealAgnosticResidualInteractionBlock)


class Node(NamedTuple):
    """One element that an atom may be; `channel` is None for ordinary atoms."""

    atom: int
    number: int
    group: int | None
    channel: int | None


@dataclass(frozen=True)
class Cell:
    """A cell in which some atoms have weights k/N.

    Attributes
    ----------
    cell, positions
        Lattice vectors as rows, and Cartesian positions, Å.
    symbols
        Of all atoms; those of atoms in a channel do not count.
    groups
        For each weight its (atom, atomic number) pairs; weights over the same atoms are one site group.
    counts
        k of each weight.
    coupling
        ``paired`` or ``mean-field``.
    """

    cell: np.ndarray
    positions: np.ndarray
    symbols: Sequence[str]
    groups: Sequence[Sequence[tuple[int, int]]]
    counts: tuple[int, ...]
    coupling: str

    def nodes(self) -> list[Node]:
        """Return the nodes: one for each ordinary atom, one for each atom of each channel."""
        sites = [tuple(sorted(atom for atom, _ in channel)) for channel in self.groups]
        alchemical = [
            Node(atom, number, sites.index(sites[c]), c)
            for c, channel in enumerate(self.groups)
            for atom, number in channel
        ]
        ordinary = set(range(len(self.symbols))) - {node.atom for node in alchemical}
        return [Node(i, atomic_numbers[self.symbols[i]], None, None) for i in sorted(ordinary)] + alchemical

    def count(self, node: Node) -> int:
        """Return N times the weight of a node."""
        return N if node.channel is None else self.counts[node.channel]

    def edges(self, sender: Node, receiver: Node) -> int:
        """Return the number of parallel edges between two nodes."""
        if sender.group is None or sender.group != receiver.group:
            return self.count(sender)
        if self.coupling == "paired" or sender.atom == receiver.atom:
            return N if sender.channel == receiver.channel else 0
        return self.count(sender)

    def images(self, one: int, other: int, cutoff_A: float) -> Iterator[tuple[int, int, int]]:
        """Yield the images of atom `one` that are nearer than the cutoff to atom `other`."""
        heights = 1 / np.linalg.norm(np.linalg.inv(self.cell), axis=0)
        reach = np.ceil(cutoff_A / heights).astype(int) + 1  # atoms may lie a little outside the cell
        for image in product(*(range(-r, r + 1) for r in reach)):
            vector = self.positions[other] - self.positions[one] - image @ self.cell
            if 0 < np.linalg.norm(vector) < cutoff_A:
                yield image


def evaluate(model: Any, cell: Cell) -> dict[str, Any]:
    """Return energy (eV), forces (eV/Å), stress (eV/Å³) and dE/dweights (eV) under the names of reference files.

    Parameters
    ----------
    model
        A ScaleShiftMACE in float64; it is not changed.
    """
    assert all(type(block) in SUMMING for block in model.interactions) and not hasattr(model, "pair_repulsion")
    model = deepcopy(model)
    for block in model.interactions:
        block.avg_num_neighbors = block.avg_num_neighbors * N
    positions = torch.tensor(cell.positions, requires_grad=True)
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    energy = _energy(model, cell, positions, strain)
    by_position, by_strain = torch.autograd.grad(energy, [positions, strain])
    return {
        "energy_eV": float(energy.detach()),
        "forces_eV_per_A": (-by_position).tolist(),
        "stress_eV_per_A3": (by_strain / abs(np.linalg.det(cell.cell))).tolist(),
        "dE_dweights_eV": [_by_weight(model, cell, c) for c in range(len(cell.counts))],
    }


def _energy(model: Any, cell: Cell, positions: torch.Tensor, strain: torch.Tensor) -> torch.Tensor:
    """Return the energy (eV) from a model whose average number of neighbours is N-fold."""
    nodes = cell.nodes()
    cutoff_A = float(model.r_max)
    near = {pair: list(cell.images(*pair, cutoff_A)) for pair in product(range(len(cell.symbols)), repeat=2)}
    edges = [
        (s, r, *image)
        for (s, sender), (r, receiver) in product(enumerate(nodes), repeat=2)
        for image in near[sender.atom, receiver.atom] * cell.edges(sender, receiver)
    ]
    senders, receivers, *images = torch.tensor(edges).T
    images = torch.stack(images, dim=1).double()
    deformation = torch.eye(3, dtype=torch.float64) + (strain + strain.T) / 2
    lattice = torch.tensor(cell.cell) @ deformation
    elements = model.atomic_numbers.tolist()
    rows = torch.tensor([elements.index(node.number) for node in nodes])
    result = model(
        {
            "positions": positions[[node.atom for node in nodes]] @ deformation,
            "shifts": -images @ lattice,
            "unit_shifts": -images,
            "cell": lattice,
            "edge_index": torch.stack([senders, receivers]),
            "node_attrs": torch.nn.functional.one_hot(rows, len(elements)).double(),
            "batch": torch.zeros(len(nodes), dtype=torch.int64),
            "ptr": torch.tensor([0, len(nodes)]),
        },
        compute_force=False,
    )
    weights = torch.tensor([cell.count(node) / N for node in nodes], dtype=torch.float64)
    return (weights * result["node_energy"]).sum()


def _by_weight(model: Any, cell: Cell, c: int) -> float:
    """Return the central finite difference of the energy with respect to one weight (eV)."""
    assert cell.counts[c] >= SIDE, "a count would be negative"
    steps = np.arange(-SIDE, SIDE + 1)
    energies = []
    for step in steps.tolist():
        counts = (*cell.counts[:c], cell.counts[c] + step, *cell.counts[c + 1 :])
        unstrained = torch.zeros(3, 3, dtype=torch.float64)
        energies.append(float(_energy(model, replace(cell, counts=counts), torch.tensor(cell.positions), unstrained)))
    # The coefficients that differentiate every polynomial up to the degree 2·SIDE.
    powers = np.vander(steps / SIDE, increasing=True).T
    coefficients = np.linalg.solve(powers, np.eye(len(steps))[1]) * N / SIDE
    return float(coefficients @ energies)


def rattled(lattice: np.ndarray, fractional: Sequence[Sequence[float]], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a slightly strained cell and positions off their sites, Å, rounded to 10⁻⁶ Å."""
    rng = np.random.default_rng(seed)
    cell = np.asarray(lattice) @ (np.eye(3) + rng.normal(0, 0.02, (3, 3)))
    return cell.round(6), (np.array(fractional) @ cell + rng.normal(0, 0.1, (len(fractional), 3))).round(6)


LI, NA, CL, K, SN, IODINE, PB = 3, 11, 17, 19, 50, 53, 82
PEROVSKITE = ([0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5])
ROCK_SALT = ([0, 0, 0], [0.5, 0.5, 0], [0.5, 0.5, 0.5], [0, 0, 0.5])  # of a tetragonal cell


def cases() -> dict[str, Cell]:
    """Return cells between vertices: both couplings, two groups, vacancies, and atoms that see their own images."""
    halide = rattled(6.3 * np.eye(3), PEROVSKITE, seed=1)
    salt = rattled(5.6 * np.diag([0.5**0.5, 0.5**0.5, 1]), ROCK_SALT, seed=2)
    cations, anions = [[(0, z), (1, z)] for z in (NA, K, LI)], [[(2, CL), (3, IODINE)], [(2, IODINE), (3, CL)]]
    lead, halogen = [[(1, z)] for z in (PB, SN)], [[(2, z), (4, z)] for z in (IODINE, CL)]
    symbols = ["Cs", "Pb", "I", "I", "I"], ["Na", "Na", "Cl", "Cl"]
    return {
        "halide, one group": Cell(*halide, symbols[0], lead, (13, 7), "paired"),
        "halide, two groups": Cell(*halide, symbols[0], lead + halogen, (8, 12, 11, 9), "paired"),
        "halide, vacancies": Cell(*halide, symbols[0], lead + halogen[:1], (7, 9, 14), "mean-field"),
        "salt, paired": Cell(*salt, symbols[1], cations, (6, 8, 6), "paired"),
        "salt, mean-field": Cell(*salt, symbols[1], cations, (6, 8, 6), "mean-field"),
        "salt, all sites": Cell(*salt, symbols[1], cations[:2] + anions, (9, 11, 7, 13), "mean-field"),
    }


def written(model: str, cell: Cell, results: dict[str, Any]) -> dict[str, Any]:
    """Return a case of a reference file."""
    return {
        "model": model,
        "cell": cell.cell.tolist(),
        "positions": cell.positions.tolist(),
        "symbols": list(cell.symbols),
        "groups": cell.groups,
        "weights": [count / N for count in cell.counts],
        "coupling": cell.coupling,
        **results,
    }


def main() -> None:
    """Write the cases of mace-demo."""
    from alchemflows.alchemy.backends.mace_file import load_mace

    demo = load_mace((files("alchemflows") / "data" / "mace-demo.safetensors").read_bytes()).double()
    found = {name: written("mace-demo", cell, evaluate(demo, cell)) for name, cell in cases().items()}
    target = Path(__file__).parent / "alchemy" / "between_vertices.json"
    target.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
