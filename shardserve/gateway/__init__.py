"""Gateways: an HTTP exchange as ASGI or WSGI sees it, and how an application is found. No socket is touched here."""
