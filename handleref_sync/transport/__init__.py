"""How two nodes reach each other: over HTTP with signed messages, or in memory."""
