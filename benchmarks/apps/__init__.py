"""The applications that the benchmarks' servers serve, most as `asgi` and as `wsgi`."""
