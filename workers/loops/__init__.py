"""The loops of consumers: one message after the other, batches, threads, tasks."""
