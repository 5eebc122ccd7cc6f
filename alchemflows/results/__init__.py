"""Read results from the database: rows, frames, files, and free energies analysed again."""
