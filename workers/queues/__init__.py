"""Bounded queues: a pure core, a broker process around it, and the two ends that workers hold."""
