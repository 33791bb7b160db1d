"""shardserve: a WSGI and ASGI server with one SO_REUSEPORT listener per worker.

This module is the whole Python interface: `run` and `__version__`. It must stay cheap to import, so everything else
is imported where it is used.
"""

from __future__ import annotations

__all__ = ["__version__", "run"]

_UNINSTALLED_VERSION = "0.1.0"  # of a source tree that no package metadata describes


def run(app: object, **options: object) -> int:
    """Serve `app` and return the exit code once serving has ended.

    `app` is an application object, or a text such as "module:attr". `options` are the settings of docs/settings.md
    under their names there, as Python values or text; the environment and configuration files are not read. Unlike on
    the command line `workers` is 0 by default: the calling process itself serves, which suits debuggers, profilers
    and tests. With more workers `app` must be a text, because each worker imports the application for itself.

    Raises ConfigError for unknown options and wrong values, AppError if the application cannot be loaded, BindError if
    an address cannot be listened on (all in `shardserve.errors`).
    """
    from shardserve.config.sources import from_options
    from shardserve.errors import ConfigError

    named = isinstance(app, str)
    config = from_options({"workers": 0, **options, "app": app if named else None})
    if config.workers != 0 and not named:
        raise ConfigError('run(): workers: an app object is served with 0 workers; name it ("module:attr") to use more')
    if config.workers != 0:
        from shardserve.supervisor.serve import serve

        return serve(config, lambda: config)
    from shardserve.worker.inprocess import serve_here

    return serve_here(config, None if named else app)


def _choose_build() -> None:
    """Have what is imported from now on be Python source, where SHARDSERVE_PURE asks for that."""
    import os

    if "SHARDSERVE_PURE" in os.environ:
        from shardserve.build import choose

        choose()


def __getattr__(name: str) -> str:
    # Looking for it costs more than the rest of this module, and few ask for it.
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from shardserve.config.versions import installed_version

    return installed_version("shardserve") or _UNINSTALLED_VERSION


_choose_build()
