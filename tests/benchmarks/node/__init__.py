"""One node of a benchmark, as a process of its own."""
