"""Training one trial, from its first step or from a checkpoint, on the CPU or one accelerator."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice

import torch
from torch import Tensor

from tesseral.models.data.batch import Batch
from tesseral.models.data.data_set import LARGE, DataSet, open_data_set
from tesseral.models.data.groups import group_structures
from tesseral.models.data.published_split import published_split
from tesseral.models.data.reference_file import Reference
from tesseral.models.data.split import check_splits, permutation, split_structures
from tesseral.models.networks.network import count_parameters
from tesseral.models.networks.products.backend import choose_backend
from tesseral.models.networks.seeding import seeded
from tesseral.models.targets.forces import SAMPLE
from tesseral.models.targets.metrics import (
    BATCH_SIZE,
    SplitBatches,
    evaluation_batches,
    measure,
    measure_densities,
)
from tesseral.models.targets.model import DTYPES, build_model, parted, partial_losses
from tesseral.models.targets.target import Value
from tesseral.models.traces.ablation import TOGETHER, ablate
from tesseral.models.traces.tracer import Measurement, Tracer
from tesseral.models.training.checkpoint import Checkpoint, read_checkpoint
from tesseral.models.training.device import deterministic, device_name, find_device, peak_memory
from tesseral.models.training.optimization import Optimization
from tesseral.models.training.recorder import DivergedError, Recorder, Result
from tesseral.models.training.trial_check import check_trial, check_weights
from tesseral.study.configuration.metrics import common_metrics
from tesseral.study.configuration.trial import Traces, Trial
from tesseral.study.configuration.trial import seed as seed_of
from tesseral.study.errors import CheckpointError, DataError
from tesseral.study.records.schemas import ABLATION_STRUCTURES


def train(
    trial: Trial,
    reference: Reference,
    recorder: Recorder,
    *,
    device: str = "auto",
    traces: Traces | None = None,
    checkpoint: bytes | None = None,
    step: int | None = None,
    test: bool = True,
    parts: int = 1,
    backend: str = "auto",
    tests: Mapping[str, Reference] | None = None,
) -> Result:
    """Train a trial to its end, from its first step or from a checkpoint.

    The numbers depend on the trial, the kind of device and the library versions only: not on the global generators, on
    earlier trials of the process, or on where the training was interrupted. Rows of step 0 are recorded at the first
    start; a training resumed at step s records rows of later steps only.

    Computing a batch in parts needs less memory and gives the same loss up to rounding (gradient accumulation). A
    training may be resumed with another number of parts.

    :param trial: configuration, data hash and seeds.
    :param reference: the trial's data.
    :param recorder: receives the rows and checkpoints.
    :param device: `auto` (an accelerator if there is one), `cpu`, `cuda` or `cuda:N`.
    :param traces: epochs at which features are traced, and the size of the probe.
    :param checkpoint: state to resume from, as given to `Recorder.boundary`.
    :param step: optimizer steps done at that state, to check it; None if not known.
    :param test: whether to measure the test split and to ablate features at the end; a search must not see the test
        split.
    :param parts: number of parts that each batch is computed in; their gradients are added.
    :param backend: how products of features are computed; see `tesseral.models.networks.products.backend`.
    :param tests: the trial's test sets by name, needed if it has some and is to be tested.
    :raises DataError: if the reference data is not the trial's, or too small.
    :raises StudyFileError: if the network has no weights; if the user's own network cannot be loaded, has another
        source than the trial's, or returns another shape.
    :raises RecordError: if the trial is of other numerics. A `CheckpointError` if the checkpoint does not
        continue this training.
    :raises TesseralError: if there is no such device or backend.
    :raises DivergedError: if the loss or a metric is no longer finite.
    """
    tests = (tests or {}) if test else None
    check_trial(trial, reference, tests)
    where = find_device(device)
    with deterministic(where):
        options = traces or Traces(), checkpoint, step, tests, parts, backend
        return _Training(trial, reference, recorder, where, *options).run()


class _Training:
    """One execution of `train`."""

    def __init__(
        self,
        trial: Trial,
        reference: Reference,
        recorder: Recorder,
        device: torch.device,
        traces: Traces,
        checkpoint: bytes | None,
        step: int | None,
        tests: Mapping[str, Reference] | None,
        parts: int,
        backend: str,
    ) -> None:
        self.began = time.perf_counter()
        self.trial, self.recorder, self.device = trial, recorder, device
        self.traces, self.test, self.parts = traces, tests is not None, parts
        self.configuration = trial.configuration.resolved()
        self.settings = self.configuration.training
        dtype = DTYPES[self.settings.dtype]
        check_splits(self.configuration.data, reference)
        self.data = open_data_set(reference, self.configuration, dtype, device)
        groups = group_structures(reference, self.configuration.data.groups)
        published = published_split(self.configuration.data, reference)
        seeds = trial.seeds
        self.split = split_structures(
            self.configuration.data, groups, seeds.split, seeds.fold, published, seeds.holdout
        )
        if len(self.split.train) < (wanted := self.configuration.data.train):  # which `search.define` may ask for
            raise DataError(
                f"data.train: expected at most the {len(self.split.train)} structures that are not kept from the "
                f"search, got {wanted}"
            )
        self.tests = {
            name: open_data_set(tested, self.configuration, dtype, device, reference)
            for name, tested in (tests or {}).items()
        }
        self.validation = self._batches(self.split.validation)
        model = build_model(
            self.configuration,
            reference,
            num_neighbors=self.data.neighbors(self.split.train),
            seed=trial.seeds.initialisation,
        ).to(device)
        check_weights(model, self.configuration.network)
        model.target.standardise(structures := self.data.without_edges(self.split.train))
        self.loss = model.target.build_loss(self.configuration.loss, structures).to(dtype)
        self.model = model.to(dtype).eval()
        choose_backend(self.model, backend, device)
        # No more structures at once than a training step takes, because gradients are taken here and of the probe too.
        largest = -(-self.settings.batch_size // parts)
        first = self.split.train[:SAMPLE]
        runs = (first[start : start + largest] for start in range(0, len(first), largest))
        model.target.calibrate(model.network, self.data.batches(runs))
        self.optimization = Optimization(self.model, self.settings, self.configuration.steps_per_epoch)
        metrics = common_metrics([self.configuration.target])
        self.validated = next(metric.name for metric in metrics if not metric.test_only)
        probe = evaluation_batches(self.data, self.split.train[: traces.probe], largest)
        self.tracer = Tracer(self.model, self.loss, probe, strict=trial.source is None)
        self.epoch, self.before, self.aside, self.ended = 0, 0.0, 0.0, False
        self.metrics: dict[str, float] = {}
        if checkpoint is not None:
            kept = read_checkpoint(checkpoint, trial)
            if step is not None and kept.epoch * self.configuration.steps_per_epoch != step:
                raise CheckpointError(
                    f"expected a checkpoint of step {step}, got one of epoch {kept.epoch}, which has "
                    f"{self.configuration.steps_per_epoch} steps each"
                )
            kept.restore(self.model, self.optimization)
            self.epoch, self.before, self.metrics = kept.epoch, kept.seconds, kept.metrics
            self.ended = kept.optimizer is None

    @property
    def step(self) -> int:
        return self.epoch * self.configuration.steps_per_epoch

    @property
    def seconds(self) -> float:
        return self.before + time.perf_counter() - self.began - self.aside

    def run(self) -> Result:
        steps, epochs = self.configuration.max_steps, self.settings.epochs
        if self.epoch == 0:
            self._validate()
            self._trace(self.tracer.measure())
            self._trace_densities()
        while not self.ended:
            scheduled = self.traces.due(self.epoch + 1, epochs)
            loss, before = self._train_epoch(keep_weights=scheduled or self.settings.patience is not None)
            self.epoch += 1
            self._record("train", [Value("loss", None, loss)])
            self.optimization.end_epoch(self.epoch, self._validate())
            self.ended = self.epoch == epochs or self.optimization.stopped
            due = scheduled or self.ended
            traced = list(self.tracer.measure(before)) if due else []
            if self.ended:
                self.optimization.finish()
                if self.settings.keep == "best":  # what is judged by its validation error has that of its own weights
                    self._note("validation", measure(self.model, self.validation))
            if self.test and self.ended:
                for name, data, indices in self._tested():
                    self._record(name, self._measure_all(data, indices))
                self._ablate()  # before the boundary: a training killed in between resumes here and ablates again
            if due:
                self._trace(traced)
                self._trace_densities()
            self.recorder.boundary(self.step, self.step if self.ended else steps, self._state, dict(self.metrics))
        return Result(
            metrics=self.metrics,
            steps=self.step,
            seconds=self.seconds,
            parameters=count_parameters(self.model),
            device=device_name(self.device),
            peak_memory=peak_memory(self.device),
        )

    def _validate(self) -> float | None:
        """Record the errors of the validation split, and return the one that decides; None without such a split."""
        values = measure(self.optimization.evaluated, self.validation)
        self._record("validation", values)
        return next((value.value for value in values if value.key == self.validated), None)

    def _train_epoch(self, *, keep_weights: bool) -> tuple[float, dict[int, Tensor] | None]:
        """Train one epoch; return the mean loss of its structures and, if kept, the weights before the last step."""
        train, size, order_seed = self.split.train, self.settings.batch_size, self.trial.seeds.order
        # An order of its own for each epoch: a resumed training needs the state of no generator.
        order = [train[i] for i in permutation(seed_of(order_seed, self.epoch), len(train))]
        runs = [parted(order[start : start + size], self.parts) for start in range(0, len(order), size)]
        batches = self.data.batches(chain.from_iterable(runs))
        # Summed on the device: to read the loss of each step would wait for an accelerator.
        total, before = torch.zeros((), dtype=torch.float64, device=self.device), None
        # Our networks compute the same in both modes and draw no random numbers; a user's own may, for dropout.
        if self.trial.source is not None:
            self.model.train()
        with seeded(seed_of(order_seed, "network", self.epoch), self.device):
            for number, run in enumerate(runs):
                self.optimization.zero_grad()
                total += self._add_gradients(list(islice(batches, len(run)))) * sum(map(len, run))
                if keep_weights and number == len(runs) - 1:
                    before = self.tracer.weights()
                self.optimization.step(self.step + number)
        if self.trial.source is not None:
            self.model.eval()
        return float(total) / len(order), before

    def _add_gradients(self, batches: Sequence[Batch]) -> Tensor:
        """Add the gradients of a batch to the weights', part by part, and return its loss."""
        total = torch.zeros((), dtype=DTYPES[self.settings.dtype], device=self.device)
        for loss in partial_losses(self.model, self.loss, batches):
            loss.backward()
            total += loss.detach()
        return total

    def _tested(self) -> list[tuple[str, DataSet, Sequence[int]]]:
        """The test split and the test sets: name, data and which structures of them."""
        return [("test", self.data, self.split.test), *((n, data, range(len(data))) for n, data in self.tests.items())]

    def _measure_all(self, data: DataSet, indices: Sequence[int]) -> list[Value]:
        measured = measure(self.model, self._batches(indices, data))
        return measured + measure_densities(self.model, data, indices)

    def _batches(self, indices: Sequence[int], data: DataSet | None = None) -> Iterable[Batch]:
        made = evaluation_batches if len(indices) <= LARGE else SplitBatches
        return made(data or self.data, indices, max(1, BATCH_SIZE // self.parts))

    def _record(self, name: str, values: list[Value]) -> None:
        for value in values:
            if not math.isfinite(value.value):
                reason = f"{name} {value.key} became {value.value} in epoch {self.epoch}"
                raise DivergedError(reason, self.step, self.metrics)
        self._note(name, values)
        where = {"step": self.step, "epoch": self.epoch, "split": name}
        self.recorder.curves([where | {"metric": v.metric, "l": v.l, "value": v.value} for v in values])

    def _note(self, name: str, values: list[Value]) -> None:
        self.metrics |= {f"{name}.{value.key}": value.value for value in values}

    def _ablate(self) -> None:
        began = time.perf_counter()
        batches = evaluation_batches(self.data, self.split.validation[:ABLATION_STRUCTURES], TOGETHER)
        seed = seed_of(self.trial.seeds.order, "ablation")  # derived from the block, so that all arms exchange alike
        self._trace(ablate(self.model, batches, seed=seed, layers=self.tracer.hidden))
        self.aside += time.perf_counter() - began  # not counted as training time

    def _trace_densities(self) -> None:
        """Record the metrics that need a grid, on a few validation structures: in the curves, and in no outcome."""
        began = time.perf_counter()
        structures = self.split.validation[: self.traces.densities]
        where = {"step": self.step, "epoch": self.epoch, "split": "validation"}
        values = [
            value
            for value in measure_densities(self.optimization.evaluated, self.data, structures)
            if math.isfinite(value.value)
        ]
        self.recorder.curves([where | {"metric": v.metric, "l": v.l, "value": v.value} for v in values])
        self.aside += time.perf_counter() - began  # not counted as training time

    def _trace(self, measured: Iterable[Measurement]) -> None:
        where = {"step": self.step, "epoch": self.epoch}
        self.recorder.traces([where | row._asdict() for row in measured])

    def _state(self) -> bytes:
        return Checkpoint(
            trial=self.trial.id,
            epoch=self.epoch,
            seconds=self.seconds,
            metrics=self.metrics,
            model=self.model.state_dict(),
            optimizer=None if self.ended else self.optimization.state_dict(),
        ).to_bytes()
