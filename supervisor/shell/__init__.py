"""One supervisor at work: what the core decides is done here, and what happens is told to it."""
