"""Each case of tests/rfc/cases: with every parser, under ASGI and under WSGI, whole and octet by octet.

Parsers are those of support.wire.PARSERS: one that is added there is judged by all of this.
"""

from __future__ import annotations

import pytest
from support.corpus import GATEWAYS, Case, load, mismatch, one_by_one, run
from support.wire import PARSERS, cut

from rfc import cases

CORPUS = load(cases)


def test_the_corpus_is_as_broad_as_it_was() -> None:
    assert len(CORPUS) >= 1000  # a module that is not found any more would go unnoticed


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("case", CORPUS.values(), ids=CORPUS)
def test_case(case: Case, gateway: str) -> None:
    octets = case.octets
    ways = {
        "whole": [octets],
        "in pieces": one_by_one(octets) if len(octets) <= 2000 else cut(octets, seed=1, cuts=100),
    }
    outcomes = set()
    for parser in PARSERS:
        for way, pieces in ways.items():
            outcome = run(pieces, parser, gateway, ended=case.ended, limits=case.limits)
            wrong = mismatch(case, outcome)
            assert not wrong, f"{case.section}, {parser}, {way}: {wrong}"
            outcomes.add(repr(outcome))
    assert len(outcomes) == 1, outcomes  # down to every field
