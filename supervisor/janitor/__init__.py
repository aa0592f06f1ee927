"""The janitor: keeps what accumulates outside of processes within its limits."""
