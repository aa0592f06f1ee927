"""The two ends of a queue that workers hold."""
