"""Published thermodynamics of the Lennard-Jones fluid, in units of ε and σ.

The equation of state is that of J. Kolafa & I. Nezbeda (Fluid Phase Equilib. 100, 1, 1994): hard spheres with the
diameter of the hybrid Barker–Henderson theory, the residual second virial coefficient, and a polynomial in ρ and √T.
The density of the liquid on the melting line is eq. 21 of E. A. Mastny & J. J. de Pablo (J. Chem. Phys. 127, 104504,
2007). Coefficients are those that SklogWiki lists.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

#: Range of the residual second virial coefficient in ρ.
GAMMA = 1.92907278
#: Coefficients of T^(i/2) in the diameter, and of ln T.
DIAMETER = {-2: 0.011117524, -1: -0.076383859, 0: 1.080142248, 1: 0.000693129}
DIAMETER_LOG = -0.063920968
#: Coefficients of T^(i/2) in the residual second virial coefficient.
VIRIAL = {
    -7: -0.58544978,
    -6: 0.43102052,
    -5: 0.87361369,
    -4: -4.13749995,
    -3: 2.90616279,
    -2: -7.02181962,
    0: 0.02459877,
}
#: Coefficients of T^(i/2) ρ^j in the free energy per atom, for each i those of j = 2, 3, ...
POLYNOMIAL = {
    0: (2.01546797, -28.17881636, 28.28313847, -10.42402873),
    -1: (-19.58371655, 75.62340289, -120.70586598, 93.92740328, -27.37737354),
    -2: (29.34470520, -112.35356937, 170.64908980, -123.06669187, 34.42288969),
    -4: (-13.37031968, 65.38059570, -115.09233113, 88.91973082, -25.62099890),
}
#: Coefficients of powers of 1/T in ρ T^(−1/4) of the liquid on the melting line.
MELTING_LIQUID = (0.90735, -0.27120, 0.91784, -1.16270, 0.68012, -0.15284)


def excess_free_energy(temperature: float, density: float) -> float:
    """Return the excess free energy per atom over an ideal gas."""
    t, rho = temperature, density
    diameter = sum(c * t ** (i / 2) for i, c in DIAMETER.items()) + DIAMETER_LOG * np.log(t)
    eta = np.pi / 6 * rho * diameter**3
    spheres = 5 / 3 * np.log(1 - eta) + eta * (34 - 33 * eta + 4 * eta**2) / (6 * (1 - eta) ** 2)
    virial = rho * sum(c * t ** (i / 2) for i, c in VIRIAL.items()) * np.exp(-GAMMA * rho**2)
    rest = sum(c * t ** (i / 2) * rho**j for i, row in POLYNOMIAL.items() for j, c in enumerate(row, 2))
    return float(t * (spheres + virial) + rest)


def pressure(temperature: float, density: float, step: float = 1e-5) -> float:
    """Return the pressure, by a central difference of the free energy."""
    ends = [excess_free_energy(temperature, density * (1 + sign * step)) for sign in (-1, 1)]
    return float(density * temperature + density * (ends[1] - ends[0]) / (2 * step))


def density(temperature: float, target: float) -> float:
    """Return the density of the liquid at a pressure."""
    return float(brentq(lambda rho: pressure(temperature, rho) - target, 0.6, 1.0))


def melting_temperature(target: float) -> float:
    """Return the melting point at a pressure: where the liquid on the melting line has this pressure."""

    def excess(t: float) -> float:
        rho = t**0.25 * sum(c * t**-k for k, c in enumerate(MELTING_LIQUID))
        return pressure(t, rho) - target

    return float(brentq(excess, 0.7, 3.0))
