"""Durable queues in SQLite files: `SqliteStore`."""

from workers.queues.sqlite.store import SqliteStore as SqliteStore
