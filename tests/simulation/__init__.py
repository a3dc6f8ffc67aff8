"""Histories that one seed replays exactly: the whole library in one process, with faults of every kind.

``python -m tests.simulation`` runs them; `play` is the way in for tests.
"""
