"""Log lines: written by every process into its pipes, gathered and shown by the pump."""
