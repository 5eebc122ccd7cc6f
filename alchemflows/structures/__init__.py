"""Read structure files, and find out which elements, vacancies and equivalent sites a structure has."""
