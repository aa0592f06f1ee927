"""Small apps, each of one idea. Run them from the repository's root."""
