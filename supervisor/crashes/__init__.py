"""Crash reports: one file for each death that nobody had planned."""
