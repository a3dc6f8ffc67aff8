"""Multi-site replication of Django databases."""

__version__ = "0.1.0"
