"""Coverage-guided fuzzing of the request path (`make fuzz`): atheris, seeded with the corpus of tests/rfc.

An input is two octets that say how to send, then what to send. Arguments are libFuzzer's, such as
-max_total_time=3600; an input that finds a fault is written to the current directory and named in the output.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

import atheris

import shardserve  # noqa: F401 its finder (shardserve/build.py) must stand behind that of atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(include=["shardserve.http"]):
    from rfc import cases
    from support.corpus import load

    from fuzz.target import LARGE, SMALL, Target
    from shardserve.http import h1_reading

_ENDED, _SMALL = 1, 2  # bits of the first octet
WORDS = r"""
"\x0d\x0a"
"\x0d\x0a\x0d\x0a"
"\x0d\x0a "
"GET / HTTP/1.1\x0d\x0aHost: a\x0d\x0a\x0d\x0a"
"POST / HTTP/1.1\x0d\x0aHost: a\x0d\x0a"
"HTTP/1.0"
"HTTP/1.2"
"http://a/"
"Content-Length: "
"Transfer-Encoding: chunked"
"Transfer-Encoding: identity, chunked"
"Connection: close"
"Connection: keep-alive"
"Expect: 100-continue"
"Connection: Upgrade\x0d\x0aUpgrade: h2c"
"X_A: b"
"0\x0d\x0a\x0d\x0a"
";a=\""
"[::1]"
"OPTIONS * "
"\x0b"
"\x00"
"\xff"
"""


def main() -> None:
    if "atheris" not in type(h1_reading.__loader__).__module__:
        sys.exit("the request path is not instrumented: is it compiled, or imported too early?")
    logging.disable()
    large, small = Target(LARGE), Target(SMALL)

    def one(data: bytes) -> None:
        if len(data) > 2:
            target = small if data[0] & _SMALL else large
            target.check(data[2:], data[1], ended=bool(data[0] & _ENDED))

    with tempfile.TemporaryDirectory() as folder:
        seeds = Path(folder) / "seeds"
        seeds.mkdir()
        for number, case in enumerate(load(cases).values()):
            if len(case.octets) < 2000:
                flags = _ENDED * case.ended | _SMALL * (case.limits == SMALL)
                (seeds / str(number)).write_bytes(bytes((flags, number % 256)) + case.octets)
        words = Path(folder) / "words"
        words.write_text(WORDS)
        options = ["-max_len=2048", "-timeout=30", f"-dict={words}", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *options, *sys.argv[1:], str(seeds)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
