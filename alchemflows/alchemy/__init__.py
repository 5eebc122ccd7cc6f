"""Alchemical systems and their energy. Knows no jobflow and no database."""
