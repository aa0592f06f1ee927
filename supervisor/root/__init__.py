"""Root: the top supervisor, the processes of the runtime, and what outlives them."""
