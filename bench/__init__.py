"""Measurements, one command a table: ratios against floors and peers, taken in the same run."""
