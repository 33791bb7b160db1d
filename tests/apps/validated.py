"""The WSGI applications of the tests, each behind the standard library's judge of both sides: /NAME/..."""

from __future__ import annotations

from typing import Any
from wsgiref.util import shift_path_info
from wsgiref.validate import validator

import deaf
import echo
import falconsite
import flasksite
import forks
import mirror
import probe
import staged
from djangosite.wsgi import application as djangosite

APPS = {
    "echo": echo.wsgi,
    "probe": probe.wsgi,
    "staged": staged.wsgi,
    "forks": forks.wsgi,
    "mirror": mirror.wsgi,
    "deaf": deaf.wsgi,
    "falcon": falconsite.wsgi,
    "flask": flasksite.app,
    "django": djangosite,
}


def app(environ: dict[str, Any], start_response: Any) -> Any:
    name = shift_path_info(environ)
    assert name is not None
    return validator(APPS[name])(environ, start_response)
