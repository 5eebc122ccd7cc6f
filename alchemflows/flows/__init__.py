"""Flow makers: jobs joined into a result that a user asks for."""
