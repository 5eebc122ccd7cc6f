"""Estimate free energies from samples: decorrelation, TI, BAR, MBAR, nonequilibrium work and analytic terms."""

from alchemflows.silence import silenced

with silenced():  # what pymbar says of JAX
    import pymbar  # noqa: F401
