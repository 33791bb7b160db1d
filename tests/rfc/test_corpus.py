"""Each case of tests/rfc/cases: with every parser, under ASGI and under WSGI, whole and octet by octet.

Parsers are those of support.wire.PARSERS: one that is added there is judged by all of this.
"""

from __future__ import annotations

import pytest
from support.corpus import Case, in_pieces, load, mismatch, run
from support.wire import PARSERS

from rfc import cases

CORPUS = load(cases)


def test_the_corpus_is_as_broad_as_it_was() -> None:
    assert len(CORPUS) >= 1000  # a module that is not found any more would go unnoticed


@pytest.mark.parametrize("case", CORPUS.values(), ids=CORPUS)
def test_case(case: Case) -> None:
    octets = case.octets
    whole, pieces = [octets], in_pieces(octets)
    ways = [("asgi", parser, arrival) for parser in PARSERS for arrival in (whole, pieces)]
    # What parsers make of octets does not depend on the gateway, and threads take their time: WSGI gets them from one.
    # From every parser, over sockets: tests/e2e/test_smuggling.py.
    ways += [("wsgi", PARSERS[0], arrival) for arrival in (whole, pieces)]
    outcomes: dict[str, set[str]] = {}
    for gateway, parser, arrival in ways:
        outcome = run(arrival, parser, gateway, ended=case.ended, limits=case.limits)
        wrong = mismatch(case, outcome)
        assert not wrong, f"{case.section}, {gateway}, {parser}, {len(arrival)} pieces: {wrong}"
        outcomes.setdefault(gateway, set()).add(repr(outcome))
    assert all(len(found) == 1 for found in outcomes.values()), outcomes  # down to every field
