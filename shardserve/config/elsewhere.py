"""What gunicorn and uvicorn have an option for and shardserve does not: what to do instead, for whoever brings one.

Options that are here under another name are no matter of this module: `settings` says which spellings they answer to.
"""

from __future__ import annotations

_WORKERS = "there is one kind, for ASGI and WSGI alike (--interface); --threads N runs WSGI calls on threads"
_TLS = "TLS is not spoken here: let a proxy in front do it (docs/deploying.md)"
_LOGS = "messages and errors go to standard error, where a service manager or container expects them; --access-logfile"
_LOGGERS = "configure logging in the application; what shardserve says itself follows --log-level"
_ENVIRONMENT = "set variables where shardserve is started: Environment= of systemd, ENV of a container, env in a shell"
_PROXIES = "who is believed about the client is said by --forwarded-allow-ips alone; empty for nobody"
_STRICT = "not offered: such a request is refused"
_NOT_YET = "not there; what there is instead is in docs/settings.md"

_ADVICE = (
    ("-k --worker-class", _WORKERS),
    ("-D --daemon", "it stays in the foreground: systemd, a container or a shell's & keep it (docs/deploying.md)"),
    ("--reuse-port", "each worker has its own SO_REUSEPORT listener in any case; leave it out"),
    ("-n --name --proc-name", "nothing sets the process's title; leave it out"),
    ("-e --env --env-file --raw-env", _ENVIRONMENT),
    ("-R --enable-stdio-inheritance --capture-output", "what workers print goes where the command's output goes"),
    ("--worker-tmp-dir", "no file is used to watch workers; leave it out"),
    ("--initgroups", "--user drops to all groups of that user"),
    (
        "--error-logfile --errorlog --log-file --log-syslog --log-syslog-to --log-syslog-prefix --log-syslog-facility",
        _LOGS,
    ),
    ("--no-access-log", "without --access-logfile there is no access log; leave it out"),
    ("--access-log", "--access-logfile - writes it to standard output"),
    ("--log-config --log-config-json --logger-class --use-colors --no-use-colors", _LOGGERS),
    ("--statsd-host --statsd-prefix --dogstatsd-tags --enable-backlog-metric", _NOT_YET),
    ("--proxy-headers --no-proxy-headers --secure-scheme-headers", _PROXIES),
    ("--proxy-protocol --proxy-allow-from", "the PROXY protocol is not spoken; let the proxy send X-Forwarded-For"),
    ("--certfile --keyfile --ca-certs --cert-reqs --ciphers --ssl-version --ssl-keyfile --ssl-certfile", _TLS),
    ("--ssl-keyfile-password --ssl-cert-reqs --ssl-ca-certs --ssl-ciphers --do-handshake-on-connect", _TLS),
    ("--suppress-ragged-eofs", _TLS),
    ("--http2 --http-protocols --http2-cleartext", "only HTTP/1.1 is served; a proxy in front may speak HTTP/2"),
    ("--server-header --no-server-header", "no Server header is sent; the application may send one"),
    ("--date-header --no-date-header", "a Date header is always sent; an application's own takes its place"),
    ("--header", "let the application, or a proxy, add headers"),
    ("--permit-obsolete-folding --permit-unconventional-http-version", _STRICT),
    ("--strip-header-spaces --casefold-http-method", _STRICT),
    ("--reload-engine", "--reload needs watchfiles: pip install 'shardserve[reload]'"),
    ("--reload-include --reload-exclude --reload-extra-file --reload-delay", "--reload watches Python files alone"),
    ("--paste --paster --paste-global", "write a module that loads the application: app = loadapp('config:...')"),
    ("--protocol --uwsgi-allow-from", "only HTTP is spoken; let the proxy speak HTTP/1.1 (docs/deploying.md)"),
    ("--ws --ws-max-queue", "WebSockets need no choice of library, and their queue is bounded; leave it out"),
    ("--spew", "use a tracer, such as python -X importtime or py-spy"),
)

ELSEWHERE = {flag: advice for flags, advice in _ADVICE for flag in flags.split()}
"""Advice by flag, as it is written on gunicorn's or uvicorn's command line; gunicorn's files say errorlog, raw_env and
proc_name for some."""


def advice_for_key(name: str) -> str | None:
    """Advice for a key of a file, such as "worker_class"; None for one that is of neither server, or is ours."""
    return ELSEWHERE.get(f"--{name.replace('_', '-')}")
