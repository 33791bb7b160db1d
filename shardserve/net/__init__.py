"""Addresses, listening sockets and the shared-memory board: what outlives every worker. No HTTP, no event loop here."""
