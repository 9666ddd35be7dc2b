"""A signal ends a trial of this process at the end of its epoch, with a checkpoint; nothing is lost or changed."""

import re
import signal
import time
from pathlib import Path

import pytest

import tesseral
from tesseral.cluster.campaign.display import Silent
from tesseral.cluster.commands.exit_codes import resumable
from tesseral.cluster.commands.signals import heard
from tesseral.cluster.execution import interruption
from tesseral.cluster.execution.interruption import KEEP_WITHIN, held, keep_within
from tests.support.disturbed import difference, numbers
from tests.support.water_study import water_study


class Pressing(Silent):
    """Sends a signal once, in the middle of an epoch's work."""

    def __init__(self, number: int, step: int) -> None:
        self.number, self.step = number, step

    def progress(self, trial: str, step: int) -> None:
        if step == self.step:
            self.step = -1
            signal.raise_signal(self.number)


ASHA = """
[search]
trials = 2
[search.space]
training.learning_rate = { low = 1e-3, high = 1e-2 }
[search.asha]
min_epochs = 2
"""


@pytest.mark.parametrize(
    ("number", "code", "step", "search"),
    [(signal.SIGINT, 130, 6, ""), (signal.SIGTERM, 143, 4, ASHA), (signal.SIGHUP, 129, 12, "")],
    ids=["within a trial", "at a rung", "at its end"],
)
def test_a_signal_keeps_the_trial_and_changes_no_number(storage, tmp_path_factory, capfd, number, code, step, search):
    file = tmp_path_factory.mktemp("study") / "small.toml"
    file.write_text(water_study("small", "network.hidden.lmax = [0]", blocks=1, checkpoint_every=600.0) + search)
    with heard(), pytest.raises(SystemExit) as end, resumable():
        tesseral.run(file, storage, "inline", display=Pressing(number, step))
    assert end.value.code == code
    assert capfd.readouterr().err.endswith("; the same command continues from here\n")
    assert (storage / "small" / "lease" / "1" / "left").exists()
    (kept,) = storage.glob("small/trials/*/checkpoint/*")
    assert kept.name.startswith(f"1-{step}-"), "although no checkpoint was due"
    assert tesseral.run(file, storage, "inline").left == 0
    assert f'"start":{step + 1},' in (kept.parents[1] / "attempts" / "2.json").read_text()
    undisturbed = storage / "undisturbed"
    (undisturbed / "reference").mkdir(parents=True)
    for path in (storage / "reference").iterdir():
        (undisturbed / "reference" / path.name).write_bytes(path.read_bytes())
    tesseral.run(file, undisturbed, "inline")
    assert not difference(storage, "small", numbers(undisturbed, "small"))


def test_a_signal_is_held_until_it_is_obeyed():
    with held() as obey:
        obey()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            obey()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_once_more_ends_at_once():
    with held():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_an_epoch_that_takes_too_long_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(interruption, "KEEP_WITHIN", 0.05)
    with held():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            time.sleep(60)


def test_a_signal_without_a_handler_of_python_is_left_alone():
    with held():
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


INFRA = Path(__file__).parents[3] / "infra"


@pytest.mark.parametrize("file", ["compose.yaml", "kuberay/raycluster.yaml", "kuberay/rayjob.yaml", "ray-up.yaml"])
def test_trials_of_a_job_that_is_stopped_have_as_long_as_any_on_our_clusters(monkeypatch, file):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    monkeypatch.delenv("RAY_JOB_STOP_WAIT_TIME_S", raising=False)
    assert keep_within() == 1.5, "Ray's own limit is 3 s"
    (seconds,) = re.findall(r"RAY_JOB_STOP_WAIT_TIME_S\W+(?:value\W+)?(\d+)", (INFRA / file).read_text())
    monkeypatch.setenv("RAY_JOB_STOP_WAIT_TIME_S", seconds)
    assert keep_within() == KEEP_WITHIN
