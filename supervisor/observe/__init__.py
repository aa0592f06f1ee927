"""Seeing the tree from outside: the snapshot that root hands out, and the health page over it."""
