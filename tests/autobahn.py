"""Autobahn|Testsuite against an echo on shardserve: `make autobahn`, or `make autobahn AUTOBAHN=--all`.

    python tests/autobahn.py --wstest .venv-autobahn/two/bin/wstest [--all] [--cases '1.*' ...] [--keep FOLDER]

The default cases are 1 to 7 and 10 (247, ten seconds). With --all come those of large messages (9) and of compression
(12, 13), 517 altogether, with --ws-deflate; the client is slow, they take 25 minutes. Prints the counts and each case
that is not OK. Fails on any FAILED, on more than two NON-STRICT, and where compression is not spoken. Loopback only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from support.server import Server

CORE = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*")
LARGE = ("9.*", "12.*", "13.*")
SECONDS = {CORE: 300, LARGE: 3600}
NON_STRICT_MAX = 2
GOOD = ("OK", "INFORMATIONAL")


def run(wstest: str, folder: Path, cases: tuple[str, ...], seconds: float, *options: str) -> dict[str, tuple[str, str]]:
    """Run cases; returns what Autobahn says of each: of its behaviour, and of its closing."""
    report = folder / "report"
    with Server("sockets:app", "--workers", "1", *options, log_path=folder / "server.log") as server:
        server.ready()
        agent = {"agent": "shardserve", "url": f"ws://127.0.0.1:{server.port}"}
        spec = {"outdir": str(report), "servers": [agent], "cases": list(cases)}
        spec |= {"exclude-cases": [], "exclude-agent-cases": {}}
        (folder / "spec.json").write_text(json.dumps(spec))
        with (folder / "wstest.log").open("w") as log:
            command = [wstest, "-m", "fuzzingclient", "-s", str(folder / "spec.json")]
            subprocess.run(command, stdout=log, stderr=log, timeout=seconds, check=True)
    index = json.loads((report / "index.json").read_text())["shardserve"]
    return {case: (verdict["behavior"], verdict["behaviorClose"]) for case, verdict in index.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wstest", required=True, help="Autobahn's program")
    parser.add_argument("--all", action="store_true", help="large messages and compression, too")
    parser.add_argument("--cases", nargs="+", help="these cases only, with --ws-deflate")
    parser.add_argument("--keep", type=Path, help="an empty folder for the reports and logs")
    arguments = parser.parse_args()
    runs: list[tuple[tuple[str, ...], float, tuple[str, ...]]] = [(CORE, SECONDS[CORE], ())]
    if arguments.all:
        runs.append((LARGE, SECONDS[LARGE], ("--ws-deflate",)))
    if arguments.cases:
        runs = [(tuple(arguments.cases), SECONDS[LARGE], ("--ws-deflate",))]
    verdicts: dict[str, tuple[str, str]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for number, (cases, seconds, options) in enumerate(runs):
            folder = (arguments.keep or Path(temporary)) / str(number)
            folder.mkdir(parents=True)
            verdicts |= run(arguments.wstest, folder, cases, seconds, *options)
    count = Counter(behaviour for behaviour, _ in verdicts.values())
    print(f"{len(verdicts)} cases: " + ", ".join(f"{number} {verdict}" for verdict, number in count.most_common()))
    for case, verdict in verdicts.items():
        if not set(verdict) <= set(GOOD):
            print(f"  {case}: {', closing '.join(verdict)}")
    bad = count.total() - sum(count[verdict] for verdict in (*GOOD, "NON-STRICT"))
    badly_closed = any(closing not in GOOD for _, closing in verdicts.values())
    return int(bad > 0 or badly_closed or count["NON-STRICT"] > NON_STRICT_MAX or not verdicts)


if __name__ == "__main__":
    sys.exit(main())
