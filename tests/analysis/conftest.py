"""Three studies with known numbers, their results and their reports: one target, several targets, and a search."""

import pytest

from tesseral.analysis.report.report import render
from tesseral.analysis.statistics.results import analyse
from tesseral.analysis.tables.open import open_study
from tesseral.study.records.store import Store
from tests.support.synthetic_study import crossed_tables, study_tables, tuned_study


@pytest.fixture(scope="session")
def tables(tmp_path_factory):
    """A study of the density's error against hidden orders, four arms in four blocks of two replicates."""
    return study_tables(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def results(tables):
    return analyse(tables)


@pytest.fixture(scope="session")
def page(results):
    return render(results)


@pytest.fixture(scope="session")
def crossed(tmp_path_factory):
    """Hidden orders crossed with four targets."""
    return crossed_tables(tmp_path_factory.mktemp("crossed"))


@pytest.fixture(scope="session")
def crossed_results(crossed):
    return analyse(crossed)


@pytest.fixture(scope="session")
def crossed_page(crossed_results):
    return render(crossed_results)


@pytest.fixture(scope="session")
def tuned(tmp_path_factory):
    """Two arms that were tuned before they were compared."""
    storage = tmp_path_factory.mktemp("storage")
    tuned_study(Store(storage))
    return open_study(storage, "tuned")


@pytest.fixture(scope="session")
def tuned_results(tuned):
    return analyse(tuned)


@pytest.fixture(scope="session")
def tuned_page(tuned_results):
    return render(tuned_results)
