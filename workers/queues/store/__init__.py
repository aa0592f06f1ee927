"""What keeps durable queues."""
