"""Causality without I/O: no Django, no sockets, no wall clock of its own."""
