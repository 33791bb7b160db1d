"""What can be configured, where values come from and how they are documented: no sockets, no application, no logging.

Nothing here imports more than the standard library and `shardserve.errors`.
"""
