"""Estimate free energies from samples: decorrelation, TI, BAR, MBAR, nonequilibrium work and analytic terms."""
