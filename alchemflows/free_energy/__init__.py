"""Free energies from samples: decorrelation, TI, BAR, MBAR, and analytic terms."""
