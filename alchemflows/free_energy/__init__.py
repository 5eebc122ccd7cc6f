"""Estimate free energies from samples: decorrelation, TI, BAR, MBAR, nonequilibrium work and analytic terms."""

import logging

# Its notes on JAX and on time series; of what fails, errors and verdicts of this package tell.
logging.getLogger("pymbar").setLevel(logging.ERROR)
