"""The wire: connections, framing, limits and heads of HTTP. It knows nothing of WSGI or ASGI, only of exchanges."""
