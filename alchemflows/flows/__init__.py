"""Flow makers: jobs joined into a result that a user asks for."""

import warnings

# Raised by jobflow's own call in `run_locally` (seen in jobflow 0.4.0).
warnings.filterwarnings("ignore", message="cd is deprecated", module="jobflow.managers.local")
