"""Read structure files, and find the elements, vacancies and equivalent sites of a structure."""
