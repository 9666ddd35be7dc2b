"""A batch computed in parts: the same gradients, the same training, and never more at once than a part."""

import errno

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tesseral.models.data.data_set import DataSet
from tesseral.models.targets.model import parted
from tesseral.models.training.checkpoint import read_checkpoint, restore_model
from tesseral.models.training.device import out_of_memory
from tesseral.models.training.recorder import Result
from tesseral.models.training.training import train
from tesseral.study.configuration.trial import Trial
from tests.support.synthetic_density import EMPTY, Memory, small_configuration, synthetic_reference, synthetic_trial

REFERENCE = synthetic_reference()
"""Structures of three and of six atoms by turns."""


def run(trial: Trial, parts: int, checkpoint: bytes | None = None) -> tuple[Result, Memory]:
    memory = Memory()
    return train(trial, REFERENCE, memory, device="cpu", checkpoint=checkpoint, parts=parts), memory


def first_step(trial: Trial, parts: int) -> tuple[torch.Tensor, float]:
    """Gradients of the first of two steps, from Adam's first moment 0.1·g, and the loss."""
    _, memory = run(trial, parts)
    state = read_checkpoint(memory.states[1], trial).optimizer["state"]
    gradients = torch.cat([weight["exp_avg"].flatten() for weight in state.values()]) / 0.1
    return gradients, memory.values[1]["train.loss"]


@pytest.mark.parametrize("loss", ["raw", "equal", "overlap"])
def test_gradients_of_the_parts_add_up(loss):
    """One step an epoch, of ten structures of two sizes."""
    trial = synthetic_trial(REFERENCE, small_configuration(loss=loss, epochs=2, batch_size=10, dtype="float64"))
    whole, value = first_step(trial, 1)
    assert whole.norm() > 1e-4
    for parts in (2, 3, 10, 99):
        gradients, same = first_step(trial, parts)
        assert float((gradients - whole).norm() / whole.norm()) < 1e-12
        assert same == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("loss", ["raw", "equal", "overlap"])
def test_a_training_in_parts_is_the_same_training(loss):
    """Steps of four, four and two structures; begun in two parts, and gone on with in one, too."""
    trial = synthetic_trial(REFERENCE, small_configuration(loss=loss, epochs=3, dtype="float64"))
    result, memory = run(trial, 1)
    halves, parted_memory = run(trial, 2)
    assert halves.metrics == pytest.approx(result.metrics, rel=1e-9)
    assert run(trial, 1, parted_memory.states[3])[0].metrics == pytest.approx(result.metrics, rel=1e-9)
    one, two = (restore_model(kept.states[9], trial, EMPTY).state_dict() for kept in (memory, parted_memory))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-9, atol=1e-12)


def test_no_part_is_larger_than_it_must_be(monkeypatch):
    """Of every batch that gradients are taken of, the probe's too."""
    trial = synthetic_trial(REFERENCE, small_configuration(epochs=1, batch_size=5))
    sizes: list[int] = []
    batches = DataSet.batches

    def seen(self, runs):
        for batch in batches(self, runs):
            sizes.append(batch.size)
            yield batch

    monkeypatch.setattr(DataSet, "batches", seen)
    run(trial, 2)
    # Validation, the probe, two steps of five structures, the test split, ablations.
    assert sizes == [4, 3, 3, 2, 2, 3, 2, 3, 4, 4]


@given(size=st.integers(1, 60), parts=st.integers(1, 70))
def test_parts_are_as_equal_as_can_be(size, parts):
    parts_of = parted(range(size), parts)
    assert [index for part in parts_of for index in part] == list(range(size))
    assert len(parts_of) == min(size, parts)
    lengths = {len(part) for part in parts_of}
    assert min(lengths) > 0
    assert max(lengths) - min(lengths) <= 1


def test_memory_that_runs_out_is_recognised():
    with pytest.raises(RuntimeError) as torchs:
        torch.empty(2**50)
    with pytest.raises(MemoryError) as pythons:
        bytearray(2**62)
    assert out_of_memory(torchs.value)
    assert out_of_memory(pythons.value)
    assert out_of_memory(OSError(errno.ENOMEM, "Cannot allocate memory"))
    assert not out_of_memory(OSError(errno.EIO, "Input/output error"))
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))
    assert out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))


def test_other_failures_are_not_taken_for_it():
    with pytest.raises(RuntimeError) as overflow:
        torch.empty(2**62)
    with pytest.raises(RuntimeError) as shapes:
        torch.zeros(2) + torch.zeros(3)
    for error in (overflow.value, shapes.value, ValueError("CUDA error: out of memory"), KeyboardInterrupt()):
        assert not out_of_memory(error)
