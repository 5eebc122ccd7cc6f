"""Estimate free energies from samples: decorrelation, TI, BAR, MBAR, nonequilibrium work and analytic terms."""

import logging

# Hide what pymbar logs about JAX, time series and solvers of which it tries the next one; errors and verdicts of this
# package tell what fails. The modules of pymbar log by their own names, below this one; seen in pymbar 4.0.3.
logging.getLogger("pymbar").setLevel(logging.ERROR)
