"""Static reports of what is in the database."""
