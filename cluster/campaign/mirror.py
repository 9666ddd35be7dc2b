"""A mirror of the search in an Optuna storage, for people to view in optuna-dashboard. tesseral never reads it."""

import warnings
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Any
from urllib.parse import quote

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL, make_url

from tesseral.study.configuration.trial import digest

MAX_NAME = 512
"""Longest name of a study in Optuna's tables, in characters."""
CONNECT_TIMEOUT = 10
"""Seconds after which a PostgreSQL server that does not answer counts as unreachable."""


class Mirror:
    """Writes each search to an Optuna study: `<study>/<arm label>`, or `<study>/<arm label>/<repeat>` of several.

    A separate thread writes, so the search never waits for it. The first failure is one warning; nothing more is
    mirrored until the next start. Passwords appear neither in the warning nor in `repr`.

    :param url: an Optuna storage, such as `sqlite:///search.db`.
    :param study_name: `study.name`.
    """

    def __init__(self, url: str, study_name: str) -> None:
        self._url = url
        self._name = study_name
        self._waiting: dict[str, _Snapshot] = {}
        self._arms: dict[str, _MirroredStudy] = {}
        self._changed = Condition()
        self._open = True
        self._writing = False
        self.failure: str | None = None
        """Why nothing is mirrored any more; None while all is well."""
        Thread(target=self._write, name="optuna-mirror", daemon=True).start()

    def update(self, label: str, study: optuna.Study) -> None:
        """Bring the mirror of this search up to date soon, in the background.

        The first call for a label compares the storage's trials with `study` by number. A mirror that contradicts
        `study` is deleted and written anew.

        :param label: the arm's label; with `/<repeat>` if the arm has several searches.
        :param study: an in-memory study, `ArmSearch.study`, between two proposals. Its trials may be replaced later but
            never changed, because the thread reads them without a copy.
        """
        with self._changed:
            if self._open and self.failure is None:
                self._waiting[label] = _Snapshot(study.directions, study.get_trials(deepcopy=False))
                self._changed.notify_all()

    def flush(self, seconds: float = 10.0) -> bool:
        """Wait until everything is written, at most `seconds`.

        :param seconds: longest wait.
        :returns: whether everything was written.
        """
        with self._changed:
            self._changed.wait_for(lambda: not (self._waiting or self._writing), seconds)
            return self.failure is None and not (self._waiting or self._writing)

    def close(self, seconds: float = 10.0) -> bool:
        """`flush`, and accept no more updates.

        :param seconds: longest wait.
        :returns: whether everything was written.
        """
        done = self.flush(seconds)
        with self._changed:
            self._open = False
            self._changed.notify_all()
        return done

    def _write(self) -> None:
        storage: RDBStorage | None = None
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or not self._open)
                if not self._waiting:
                    break
                label = next(iter(self._waiting))
                snapshot = self._waiting.pop(label)
                self._writing = True
            try:
                storage = storage or _connect(self._url)
                if label not in self._arms:
                    self._arms[label] = _MirroredStudy(storage, f"{self._name}/{label}", snapshot)
                self._arms[label].update(snapshot)
            except Exception as error:  # noqa: BLE001 - no failure of a mirror may touch the study
                self._fail(error)
                break
        if storage:
            storage.engine.dispose()

    def _fail(self, error: Exception) -> None:
        reason = (str(error.__cause__ or error).strip().splitlines() or [""])[0]
        sentence = f"the search is no longer mirrored in {public(self._url)}: {type(error).__name__}: {reason}"
        for secret in _secrets(self._url):
            sentence = sentence.replace(secret, "***")
        with self._changed:
            self.failure = sentence
            self._waiting.clear()
            self._writing = False
            self._changed.notify_all()
        warnings.warn(sentence, stacklevel=2)


@dataclass(frozen=True)
class _Snapshot:
    directions: list[optuna.study.StudyDirection]
    trials: list[FrozenTrial]


class _MirroredStudy:
    """One study in the storage, and which of its trials are still running there."""

    def __init__(self, storage: BaseStorage, name: str, ours: _Snapshot) -> None:
        if len(name) > MAX_NAME:
            name = f"{name[: MAX_NAME - 13]} {digest(name)[:12]}"
        self._storage = storage
        self._running: dict[int, set[int]] = {}
        """Number of a running trial → steps whose values are written."""
        self._count = 0
        try:
            self._id = storage.get_study_id_from_name(name)
        except KeyError:
            self._id = storage.create_new_study(ours.directions, name)
            return
        theirs = storage.get_all_trials(self._id, deepcopy=False)
        if storage.get_study_directions(self._id) == ours.directions and _agree(theirs, ours.trials):
            self._count = len(theirs)
            self._running = {t.number: set(t.intermediate_values) for t in theirs if not t.state.is_finished()}
        else:
            storage.delete_study(self._id)
            self._id = storage.create_new_study(ours.directions, name)

    def update(self, ours: _Snapshot) -> None:
        """Write what has changed since the last snapshot."""
        for number, steps in list(self._running.items()):
            trial = ours.trials[number]
            identity = self._storage.get_trial_id_from_study_id_trial_number(self._id, number)
            for step in sorted(trial.intermediate_values.keys() - steps):
                self._storage.set_trial_intermediate_value(identity, step, trial.intermediate_values[step])
                steps.add(step)
            if trial.state.is_finished():
                self._storage.set_trial_state_values(identity, trial.state, trial.values)
                del self._running[number]
        for trial in ours.trials[self._count :]:
            self._storage.create_new_trial(self._id, _shown(trial))
            self._count += 1
            if not trial.state.is_finished():
                self._running[trial.number] = set(trial.intermediate_values)


def _agree(theirs: list[FrozenTrial], ours: list[FrozenTrial]) -> bool:
    """Whether everything in the mirror is true of the search. The mirror may lag behind."""
    return len(theirs) <= len(ours) and all(
        shown.params == trial.params
        and shown.distributions == trial.distributions
        and shown.intermediate_values.items() <= trial.intermediate_values.items()
        and (shown.state == TrialState.RUNNING or (shown.state, shown.values) == (trial.state, trial.values))
        for shown, trial in zip(theirs, ours, strict=False)
    )


def _shown(trial: FrozenTrial) -> FrozenTrial:
    """The trial without system attributes, which hold the sampler's memory and mean nothing to a reader."""
    shown = optuna.trial.create_trial(
        state=trial.state,
        values=trial.values,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs=trial.user_attrs,
        intermediate_values=trial.intermediate_values,
    )
    shown.datetime_start, shown.datetime_complete = trial.datetime_start, trial.datetime_complete
    return shown


def _connect(url: str) -> RDBStorage:
    options: dict[str, Any] = {}
    if make_url(url).drivername == "postgresql+psycopg":
        options["connect_args"] = {"connect_timeout": CONNECT_TIMEOUT}
    return RDBStorage(url, engine_kwargs=options)


def public(url: str) -> str:
    """A database's URL without user, password and options, which can be printed.

    :param url: of an Optuna storage.
    """
    try:
        parsed = make_url(url)
    except Exception:  # noqa: BLE001 - text that is not a URL may hold a password too
        return "the given Optuna storage"
    return URL.create(
        parsed.drivername, host=parsed.host, port=parsed.port, database=parsed.database
    ).render_as_string()


def _secrets(url: str) -> set[str]:
    """Words that an error message must not repeat."""
    try:
        parsed = make_url(url)
    except Exception:  # noqa: BLE001 - then the whole text is secret
        return {url}
    options = [value for values in parsed.query.values() for value in ([values] if isinstance(values, str) else values)]
    words = {url, parsed.password, *options} - {None, ""}
    return {str(word) for word in words} | {quote(str(word), safe="") for word in words}
