"""The core of queues: every decision, as pure functions over data."""
