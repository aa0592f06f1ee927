"""The broker: the process that holds the queues."""
