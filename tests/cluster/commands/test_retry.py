"""Retry: what failed is due again, its rows and state count no more, and what follows equals a run without one."""

import errno
import json
from pathlib import Path

import pytest

from tesseral.analysis.tables.open import open_study
from tesseral.cluster.campaign.display import Silent
from tesseral.cluster.campaign.driver import Ended, run_study
from tesseral.cluster.execution.executor import InlineExecutor
from tesseral.cluster.planning.plan import prepare
from tesseral.models.training import training
from tesseral.models.training.recorder import DivergedError
from tesseral.study.configuration.trial import Cause, State
from tesseral.study.errors import LeaseHeldError, StoreError, TesseralError
from tesseral.study.records.growth import drop
from tesseral.study.records.lease import Lease
from tesseral.study.records.ledger import Entry, Ledger
from tesseral.study.records.retry import Retried, retry
from tesseral.study.records.store import Store
from tesseral.study.study import Study
from tests.support import stand_in_training
from tests.support.command_line import tesseral
from tests.support.water_study import search_of_rates

SEARCH = search_of_rates(4)


class Broken:
    """A recorder that breaks the training from a step on, after its rows."""

    def __init__(self, recorder, error: Exception, step: int) -> None:
        self._recorder, self._error, self._step = recorder, error, step
        self.curves, self.traces = recorder.curves, recorder.traces

    def boundary(self, step, steps, state, metrics):
        self._recorder.boundary(step, steps, state, metrics)
        if step >= self._step:
            raise self._error


class Training:
    """A training that trains nothing, and fails in trials that are told."""

    def __init__(self) -> None:
        self.errors: dict[int, Exception] = {}
        """Number of the trial, in the order in which they begin → what it raises."""
        self.epoch = 4
        """Epoch from which on they fail; 0: before their first row."""
        self.parts: list[int] = []
        self._begun: dict[str, int] = {}

    def begin(self, errors: dict[int, Exception]) -> None:
        """Count trials anew, and fail in these."""
        self.errors, self._begun = errors, {}

    def __call__(self, trial, reference, recorder, **options):
        number = self._begun.setdefault(trial.id, len(self._begun))
        self.parts.append(options["parts"])
        error = self.errors.get(number)
        if error and not self.epoch:
            raise error
        step = self.epoch * trial.configuration.steps_per_epoch
        recorder = Broken(recorder, error, step) if error else recorder
        return stand_in_training.train(trial, reference, recorder, **options)


@pytest.fixture
def trained(monkeypatch) -> Training:
    stand_in = Training()
    monkeypatch.setattr(training, "train", stand_in)
    return stand_in


@pytest.fixture
def undisturbed(tmp_path_factory, tiny_reference) -> Path:
    """Another storage with the same data."""
    storage = tmp_path_factory.mktemp("undisturbed")
    (storage / "reference").mkdir()
    (storage / "reference" / tiny_reference.name).write_bytes(tiny_reference.read_bytes())
    return storage


def run(study_file: Path, storage: Path) -> Ended:
    return run_study(prepare(Study.load(study_file), str(storage)), InlineExecutor(), Silent())


def again(storage: Path, *trials: str, **options) -> Retried:
    return retry(Store(storage / "small"), trials, **options)


def entries(storage: Path) -> list[Entry]:
    return Ledger(Store(storage / "small"), strict=True).entries()


def numbers(storage: Path) -> list:
    tables = open_study(storage, "small")
    metrics = [name for name in tables.trials.columns if name.startswith("metric.")]
    trials = tables.trials.select("trial", "state", "steps", *sorted(metrics)).sort("trial")
    return [
        trials,
        *(frame.collect().sort(frame.collect_schema().names()) for frame in (tables.curves, tables.traces)),
    ]


def same(storage: Path, undisturbed: Path) -> None:
    for ours, whole in zip(numbers(storage), numbers(undisturbed), strict=True):
        assert ours.equals(whole)
        assert not ours.is_duplicated().any()


def test_causes_are_told_apart(storage, study_file, trained):
    causes = {
        MemoryError(): Cause.MEMORY,
        OSError(errno.ENOMEM, "Cannot allocate memory"): Cause.MEMORY,
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"): Cause.MEMORY,
        TimeoutError("no answer"): Cause.MACHINE,
        ValueError("a mistake"): Cause.CODE,
        DivergedError("train loss became nan in epoch 4", 8, {}): Cause.TRAINING,
    }
    trained.errors = dict(enumerate(causes))
    ended = run(study_file, storage)
    assert ended.states == {State.FAILED: 6}
    assert ended.causes == {Cause.MEMORY: 3, Cause.MACHINE: 1, Cause.CODE: 1, Cause.TRAINING: 1}
    recorded = {entry.outcome["reason"]: entry.outcome["cause"] for entry in entries(storage)}
    assert recorded["ValueError: a mistake"] == "code"
    assert recorded["train loss became nan in epoch 4"] == "training"


def test_a_retried_study_equals_one_that_never_failed(storage, undisturbed, study_file, trained):
    trained.errors = {1: RuntimeError("no luck"), 3: MemoryError()}
    assert run(study_file, storage).states == {State.COMPLETE: 4, State.FAILED: 2}
    before = {entry.id: entry.outcome for entry in entries(storage) if entry.state is State.FAILED}
    done = again(storage)
    assert {each.trial: each.cause for each in done.trials} == {key: o["cause"] for key, o in before.items()}
    assert [entry.state for entry in entries(storage)].count(State.PLANNED) == 2
    for each in done.trials:
        kept = json.loads((storage / "small" / each.kept).read_text())
        assert kept.pop("sha256")
        assert kept == before[each.trial]
    ids = set(numbers(storage)[1]["trial"])
    assert ids.isdisjoint(before), "rows of the failed attempts count no more"
    trained.errors, trained.parts = {}, []
    assert run(study_file, storage).states == {State.COMPLETE: 6}
    assert trained.parts == [1, 1], "the memory may be enough now"
    for entry in entries(storage):
        numbers_of = [begin["attempt"] for begin in entry.begins]
        assert numbers_of == list(range(1, len(numbers_of) + 1))
    run(study_file, undisturbed)
    same(storage, undisturbed)
    assert again(storage) == Retried(())


def test_a_trial_may_fail_again(storage, undisturbed, study_file, trained):
    trained.errors = {0: OSError(errno.EIO, "Input/output error")}
    run(study_file, storage)
    again(storage)
    trained.epoch = 2
    assert run(study_file, storage).causes == {Cause.MACHINE: 1}
    (each,) = again(storage, causes=[Cause.MACHINE]).trials
    assert each.kept.endswith("/attempts/2.failed.json")
    trained.errors = {}
    run(study_file, storage)
    run(study_file, undisturbed)
    same(storage, undisturbed)


@pytest.mark.parametrize("method", ["create", "delete", "read"])
def test_a_retry_that_is_killed_goes_on(storage, undisturbed, study_file, trained, monkeypatch, method):
    trained.errors = {2: RuntimeError("no luck")}
    run(study_file, storage)
    whole = numbers(storage)
    real = getattr(Store, method)

    def killed(store, path, *arguments):
        named = path[0] if isinstance(path, list) else path
        if named.endswith("outcome.json" if method == "delete" else ".failed.json"):
            raise StoreError("the end")
        return real(store, path, *arguments)

    with monkeypatch.context() as context:
        context.setattr(Store, method, killed)
        with pytest.raises(StoreError):
            again(storage)
    for ours, before in zip(numbers(storage), whole, strict=True):
        assert ours.equals(before), "the trial is failed as before"
    assert run(study_file, storage).states == {State.COMPLETE: 5, State.FAILED: 1}
    assert len(again(storage).trials) == 1
    trained.errors = {}
    assert run(study_file, storage).states == {State.COMPLETE: 6}
    run(study_file, undisturbed)
    same(storage, undisturbed)


def test_trials_are_chosen_by_id_arm_and_cause(storage, study_file, trained):
    trained.errors = {0: RuntimeError("no luck"), 1: MemoryError(), 2: MemoryError()}
    run(study_file, storage)
    failed = [entry for entry in entries(storage) if entry.state is State.FAILED]
    complete = next(entry for entry in entries(storage) if entry.state is State.COMPLETE)
    with pytest.raises(TesseralError, match=f"expected a failed trial, got {complete.id[:10]}, which is complete"):
        again(storage, complete.id[:12])
    with pytest.raises(TesseralError, match="expected the id of a trial or its beginning, got 'xyz'; failed are "):
        again(storage, "xyz")
    with pytest.raises(TesseralError, match="expected an arm with trials, got 'lmax=7'; there are: lmax=0; lmax=1"):
        again(storage, arm="lmax=7")
    assert again(storage, failed[0].id[:12], arm="lmax=0", causes=[Cause.TRAINING]).trials == ()
    memory = [entry for entry in failed if entry.outcome["cause"] == "memory"]
    assert [each.trial for each in again(storage, memory[0].id[:12]).trials] == [memory[0].id]
    done = again(storage, arm=memory[1].plan["arm"], causes=[Cause.MEMORY]).trials
    assert [each.trial for each in done] == [memory[1].id]
    assert run(study_file, storage).states[State.FAILED] == 3


def test_trials_of_a_dropped_arm_stay_failed(storage, study_file, trained):
    trained.errors = dict.fromkeys(range(6), RuntimeError("no luck"))
    run(study_file, storage)
    drop(Store(storage / "small"), Study.load(study_file).arms[1], 0)
    done = again(storage)
    assert [each.arm for each in done.trials] == ["lmax=0"] * 3
    assert [entry.plan["arm"] for entry in entries(storage) if entry.state is State.FAILED] == ["lmax=1"] * 3
    with pytest.raises(TesseralError, match="expected an arm with trials, got 'lmax=1'; there are: lmax=0"):
        again(storage, arm="lmax=1")


def test_a_search_that_found_nothing_chooses_again(storage, study_file, trained):
    study_file.write_text(study_file.read_text().replace("blocks = 3", "blocks = 1") + SEARCH)
    trained.errors, trained.epoch = dict.fromkeys(range(8), RuntimeError("no luck")), 0
    assert run(study_file, storage).states == {State.FAILED: 8}
    assert again(storage).chosen == ()
    trained.errors = {}
    run(study_file, storage)
    best = [json.loads(path.read_text())["trial"] for path in storage.glob("small/search/*/best.json")]
    assert len(best) == 2
    assert None not in best
    states = [entry.plan["stage"] for entry in entries(storage) if entry.state is State.COMPLETE]
    assert states.count("confirm") == 2
    assert sum(entry.plan["stage"] == "search" for entry in entries(storage)) == 8


def test_a_search_stays_as_it_chose(tmp_path_factory, tiny_reference, study_file, trained):
    text = study_file.read_text().replace("blocks = 3", "blocks = 1") + SEARCH
    # Which trials are stopped early follows from their ids. Of the seeds, one is taken with which the second trial that
    # begins is not, nor all others of its arm.
    for seed in range(50):
        storage = tmp_path_factory.mktemp("seed")
        (storage / "reference").mkdir()
        (storage / "reference" / tiny_reference.name).write_bytes(tiny_reference.read_bytes())
        study_file.write_text(text.replace("seed = 0", f"seed = {seed}"))
        trained.begin({1: RuntimeError("no luck")})
        ended = run(study_file, storage)
        chosen = {path: path.read_bytes() for path in storage.glob("small/search/*/best.json")}
        if ended.states[State.FAILED] == 1 and all(json.loads(best)["trial"] for best in chosen.values()):
            break
    done = again(storage)
    (each,) = done.trials
    assert done.chosen == (each.arm,)
    trained.errors = {}
    after = run(study_file, storage)
    assert after.states.total() == ended.states.total()
    assert not after.states[State.FAILED]
    assert {path: path.read_bytes() for path in storage.glob("small/search/*/best.json")} == chosen
    # It failed after the rungs at epochs 1, 2 and 4, where it was judged: it is not judged again.
    retried = next(entry for entry in entries(storage) if entry.id == each.trial)
    assert retried.state is State.COMPLETE


def test_a_study_that_a_driver_holds_is_left_alone(storage, study_file, trained):
    trained.errors = {0: RuntimeError("no luck")}
    run(study_file, storage)
    with Lease.acquire(Store(storage / "small"), 1.0):
        with pytest.raises(LeaseHeldError):
            again(storage)
        done = tesseral("retry", "small", "--storage", storage)
    assert done.returncode == 3
    assert "the study is held by process" in done.stderr
    assert [entry.state for entry in entries(storage)].count(State.FAILED) == 1


def test_the_command_says_what_it_did(storage, study_file, trained):
    trained.errors = {0: RuntimeError("no luck"), 1: MemoryError("too large")}
    run(study_file, storage)
    status = tesseral("status", "small", "--storage", storage)
    assert "2 failed: 1 out of memory, 1 by an exception; tesseral retry small makes them due again." in status.stdout
    page = tesseral("report", "small", "--storage", storage)
    assert "2 failed: 1 out of memory, 1 by an exception" in page.stdout
    assert "tesseral retry small makes failed trials due again" in page.stdout
    told = tesseral("retry", study_file, "--cause", "memory", "--storage", storage)
    assert told.returncode == 0
    assert "failed, out of memory: MemoryError: too large" in told.stdout
    assert f"small: 1 trial is due again; tesseral run {study_file} trains it." in told.stdout
    tree = json.loads(tesseral("retry", "small", "--storage", storage, "--json").stdout)
    assert [each["cause"] for each in tree["trials"]] == ["code"]
    nothing = tesseral("retry", "small", "--storage", storage)
    assert (nothing.returncode, nothing.stdout) == (0, "small: no trial has failed that could be trained again.\n")
    missing = tesseral("retry", "other", "--storage", storage)
    assert missing.returncode == 2
    assert "expected the name of a study" in missing.stderr
