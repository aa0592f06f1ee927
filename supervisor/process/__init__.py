"""Real processes: templates that fork, what happens between fork and the author's code, signals."""
