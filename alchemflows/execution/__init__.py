"""Who runs jobs: workers, local execution and the supervisor."""
