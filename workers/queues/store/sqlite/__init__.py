"""Durable queues in SQLite files: see `store`."""
