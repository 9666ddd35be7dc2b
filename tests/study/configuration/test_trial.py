"""A trial's id stays what it is: records are found by it, and finished work is never done again."""

import json

import pytest

from tesseral.study.configuration.trial import digest
from tests.support.golden_trial_ids import GOLDEN, cases, trial_ids

DIGESTS = json.loads(GOLDEN.read_text())


@pytest.mark.parametrize(("name", "preset"), list(cases()))
def test_every_trial_of_the_examples_keeps_its_id(name, preset):
    assert digest(trial_ids(name, preset)) == DIGESTS[f"{name}/{preset or ''}".strip("/")]


def test_every_digest_is_of_an_example():
    assert [f"{name}/{preset or ''}".strip("/") for name, preset in cases()] == list(DIGESTS)
