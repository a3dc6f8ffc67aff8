"""A fleet of up to thousands of nodes in one process: vectors, decisions and dots are those of the library's core.

``python -m tests.benchmarks.fleet --help``. What it does not have: databases, rows, HTTP. What a session costs comes
from figures that were measured with all of these; see `Costs`.
"""
