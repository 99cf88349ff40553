"""Traffic as RE Engine makes it."""
