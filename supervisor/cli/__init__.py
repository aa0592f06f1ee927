"""The command line: one file for each group of commands, views that are pure.

Data goes to standard output, messages to standard error; `main` makes errors and exit codes.
"""
