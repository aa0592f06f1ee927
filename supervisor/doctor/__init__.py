"""What `supervisor doctor` looks at: the machine, and everything that accumulates."""
