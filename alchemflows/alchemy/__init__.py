"""Alchemical systems and their potential energy; independent of jobflow and the database."""
