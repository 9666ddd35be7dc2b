"""Scans of the learning rate: best rate and loss of an arm, what is said of them, and the record."""

from dataclasses import replace
from math import inf

import pytest

from tesseral.study.errors import RecordError
from tesseral.study.records.rate_scan import PATH, ArmScan, RateScan, arms_hash, read_scan, scan_sentences, write_scan
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tests.support.water_study import water_study

STUDY = Study.parse(water_study("scanned"), "scanned.toml")
FLAT = ArmScan("lmax=0", 0.01, (0.01 / 3, 0.01, 0.03), (2.2, 2.0, 2.1))
STEEP = ArmScan("lmax=1", 0.01, (0.01 / 3, 0.01, 0.03, 0.09), (3.0, 1.5, 1.2, None))


def scan(*arms: ArmScan) -> RateScan:
    return RateScan(arms_hash(STUDY), "l2_error", 0.25, arms)


def test_best_rate_and_loss():
    assert (FLAT.best, FLAT.loss, FLAT.at_edge) == (0.01, 0.0, False)
    assert (STEEP.best, STEEP.at_edge) == (0.03, False)
    assert STEEP.loss == pytest.approx(0.25)
    assert replace(FLAT, errors=(1.9, 2.0, 2.1)).at_edge
    lost = replace(FLAT, errors=(2.2, None, None))
    assert (lost.best, lost.loss) == (0.01 / 3, inf)
    assert replace(FLAT, errors=(None, None, None)).best is None


def test_a_rate_that_favours_an_arm_is_told():
    assert scan(FLAT, STEEP).favours
    (sentence,) = scan_sentences(scan(FLAT, STEEP))
    assert sentence.startswith(
        "The learning rate may favour arms: at the study's rate, the validation error is that at the best rate in "
        "lmax=0 and is 25.0 % above that at the best rate in lmax=1 (a scan with 25 % of the epochs and one start a "
        "rate)."
    )
    (sentence,) = scan_sentences(scan(FLAT, replace(STEEP, errors=(3.0, None, 1.2, None))))
    assert "is that at the best rate in lmax=0 and is not finite in lmax=1" in sentence


def test_a_rate_near_every_best_one_is_told():
    near = replace(STEEP, errors=(3.0, 1.26, 1.2, None))
    assert not scan(FLAT, near).favours
    (sentence,) = scan_sentences(scan(FLAT, near))
    assert "the validation error of every arm is within 5.0 % of that at the arm's best scanned rate" in sentence


def test_a_rate_that_is_as_bad_for_all_favours_none_and_is_told():
    both = scan(replace(FLAT, errors=(3.0, 2.5, 2.0)), STEEP)
    assert not both.favours
    assert scan_sentences(both)[1] == "Every arm does better at another rate: 0.03."
    assert scan_sentences(both)[2] == (
        "The best scanned rate is the lowest or highest that was tried in lmax=0: a better one may lie beyond."
    )
    lost = scan(replace(FLAT, errors=(None, None, None)))
    assert scan_sentences(lost)[0].startswith("Training diverges at the study's learning rate in every arm")


def test_the_record_holds_for_the_study_alone(tmp_path):
    store = Store(tmp_path)
    assert read_scan(store, STUDY) is None
    write_scan(store, scan(FLAT))
    write_scan(store, scan(FLAT, STEEP))
    assert read_scan(store, STUDY) == scan(FLAT, STEEP)
    other = Study.parse(water_study("scanned", epochs=7), "scanned.toml")
    assert read_scan(store, other) is None
    (tmp_path / PATH).write_bytes((tmp_path / PATH).read_bytes().replace(b"2.1", b"2.3"))
    with pytest.raises(RecordError, match=r"checksum.*scan again: tesseral plan STUDY.toml --probe-rate"):
        read_scan(store, STUDY)
