"""Stored ladders of modes that change from harmonic to quartic along a path; see benchmarks/combination_rows.py."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from uuid import uuid4

import numpy as np

from alchemflows.analysis.collect import collect
from alchemflows.analysis.ladder import Numbers, document, refined
from alchemflows.analysis.stored_ladders import StoredLadder
from alchemflows.analysis.terms import TransformationTerms
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.potential import PotentialRecord
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.refinement import RefinementSettings
from alchemflows.schemas.samples import PackedSeries
from alchemflows.schemas.windows import WindowDocument, WindowsDocument

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
modes = importlib.import_module("combination_rows")

LAMBDAS: tuple[float, ...] = modes.LAMBDAS
VOLUME: float = modes.VOLUME
exact, series, states = modes.exact, modes.series, modes.states
EXCHANGED_K: tuple[float, ...] = modes.EXCHANGED_K
MASS_TERM_EV_PER_K = -2e-5
#: Start structure of stored ladders, in units of the cell.
SITES = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])


def stored_ladder(
    temperature_K: float,
    pressure_GPa: float | None = None,
    *,
    n: int = 200,
    memory: float = 0.0,
    seed: int = 0,
    lambdas: tuple[float, ...] = LAMBDAS,
    exchanged: bool = False,
    **changed: object,
) -> StoredLadder:
    """Return a ladder as the database has it, with windows at some of the λ; fields of its documents may be changed.

    If it is exchanged, its windows had replicas at all of :data:`EXCHANGED_K`.
    """
    rng = np.random.default_rng(seed)
    record = PotentialRecord(name="modes", backend="none", sha256="0" * 64, dtype="float64", device="cpu")
    dynamics = DynamicsSettings(
        temperature_K=temperature_K,
        pressure_GPa=pressure_GPa,
        n_production_steps=10 * n,
        replica_exchange=bool(changed.pop("replica_exchange", False)),
        exchange_temperatures_K=tuple(t for t in EXCHANGED_K if exchanged and t != temperature_K),
    )
    at_all = modes.exchanged_series(n, memory, 1, rng, lambdas)[0] if exchanged else []
    start = {"sites": SITES, "sites_cell_A": 5.0 * np.eye(3)} | dict(changed.pop("start", {}))
    windows = []
    for k, value in enumerate(lambdas):
        others = dict(zip(EXCHANGED_K, at_all[k], strict=True)) if exchanged else {}
        samples = others.pop(temperature_K, None) or series(value, temperature_K, pressure_GPa, n, memory, rng)
        windows.append(
            WindowDocument(
                index=LAMBDAS.index(value),
                lambda_value=value,
                weights=[1 - value, value],
                seed=seed,
                n_samples=n,
                mean_dudl_eV=samples.dudl_eV.mean(),
                mean_energy_eV=samples.energy_eV.mean(),
                mean_temperature_K=temperature_K,
                mean_volume_A3=samples.volume_A3.mean(),
                series=PackedSeries.pack(samples, start, others),
            )
        )
    job = str(uuid4())
    common = {
        "counts": Counts(atoms=2, sites=2, formula_units=1),
        "initial_formula": "NaCl",
        "final_formula": "KCl",
        "coupling": "paired",
        "weight_labels": ["Na", "K"],
        "initial_weights": [1.0, 0.0],
        "final_weights": [0.0, 1.0],
        "volume_A3": VOLUME,
    } | changed
    provenance = Provenance(potential=record.model_copy(update=common.pop("potential", {})))
    output = WindowsDocument(
        windows=windows,
        lambdas=list(LAMBDAS),
        temperature_K=temperature_K,
        dynamics=dynamics,
        job_uuid=job,
        provenance=provenance,
        **common,
    )
    ladder = collect(None, [output], [window.index for window in windows])
    numbers = Numbers.of(ladder)
    refinement = refined(RefinementSettings(), [], numbers.result, ladder.first.counts)
    terms = TransformationTerms(MASS_TERM_EV_PER_K * temperature_K, 0.0, 0.0)
    return StoredLadder(str(uuid4()), document(ladder, numbers, refinement, terms), [output])
