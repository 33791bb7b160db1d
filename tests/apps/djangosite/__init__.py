"""A small Django project: ORM on SQLite, admin, forms, uploads, streaming and sessions; run under WSGI and ASGI."""
