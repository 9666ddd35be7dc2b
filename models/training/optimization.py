"""The optimization of a model's weights: steps, learning rate, averaged weights, and which weights are kept."""

import math
from typing import Any, cast

from torch.nn import Module
from torch.nn.utils import clip_grad_norm_
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tesseral.models.targets.model import Model
from tesseral.study.configuration.training import Training

_OPTIMIZERS = {"adam": Adam, "adamw": AdamW}


def build_optimizer(model: Module, settings: Training) -> Optimizer:
    """The optimizer of all weights of a model.

    :param model: on its device.
    :param settings: the `training` section.
    """
    chosen = _OPTIMIZERS[settings.optimizer]
    return chosen(
        model.parameters(),
        lr=settings.learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def step_size(settings: Training, step: int, steps: int, warm_up: int = 0, rate: float | None = None) -> float:
    """Learning rate of step number `step`, from 0.

    It is `rate` times (step + 1) / warm_up in the warm-up; then, of a cosine, times ½(1 + cos(π·t)), where t is the
    share of the other steps that are done.

    :param settings: the `training` section.
    :param step: from 0.
    :param steps: of the whole training.
    :param warm_up: steps of the warm-up.
    :param rate: what a plateau has left of the learning rate; the learning rate if not given.
    """
    rate = settings.learning_rate if rate is None else rate
    if step < warm_up:
        return rate * (step + 1) / warm_up
    if settings.schedule != "cosine":
        return rate
    return rate * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up)))


class Optimization:
    """Optimizes a model in steps and epochs, as `[training]` says.

    :param model: on its device; its weights are changed.
    :param settings: the `training` section.
    :param steps_per_epoch: of the training split.
    """

    stopped: bool = False
    """Whether the validation error has not fallen for `patience` epochs."""

    def __init__(self, model: Model, settings: Training, steps_per_epoch: int) -> None:
        self.model, self.settings = model, settings
        self.steps, self.warm_up = (epochs * steps_per_epoch for epochs in (settings.epochs, settings.warmup_epochs))
        self.optimizer = build_optimizer(model, settings)
        self._weights = list(model.parameters())
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema)) if settings.ema else None
        self.plateau = None
        if settings.schedule == "plateau":
            patience, factor = settings.plateau_patience, settings.plateau_factor
            self.plateau = ReduceLROnPlateau(self.optimizer, factor=factor, patience=patience, threshold=0)
        self.rate = settings.learning_rate
        self.best: dict[str, Any] = {"epoch": 0, "error": math.inf, "model": None}

    @property
    def evaluated(self) -> Model:
        """The model whose errors count: with averaged weights, where `ema` asks for them."""
        return self.model if self.average is None else cast(Model, self.average.module)

    def zero_grad(self) -> None:
        """Forget the gradients. PyTorch's own takes as long as a layer of a small network."""
        for weight in self._weights:
            weight.grad = None

    def step(self, number: int) -> None:
        """Change the weights along their gradients.

        :param number: of the step, from 0.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = step_size(self.settings, number, self.steps, self.warm_up, self.rate)
        if self.settings.clip is not None:
            clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.model)

    def end_epoch(self, epoch: int, error: float | None) -> None:
        """Take note of an epoch's validation error.

        :param epoch: epochs done.
        :param error: of `evaluated`; None without a validation split.
        """
        if error is None:
            return
        if self.plateau is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate
            self.plateau.step(error)
            self.rate = self.optimizer.param_groups[0]["lr"]
        if error < self.best["error"]:
            kept = self.settings.keep == "best"
            weights = {key: value.clone() for key, value in self.evaluated.state_dict().items()} if kept else None
            self.best = {"epoch": epoch, "error": error, "model": weights}
        patience = self.settings.patience
        self.stopped = patience is not None and epoch - self.best["epoch"] >= patience

    def finish(self) -> None:
        """Give the model the weights that are kept."""
        if self.best["model"] is not None:
            self.model.load_state_dict(self.best["model"])
        elif self.average is not None:
            self.model.load_state_dict(self.average.module.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's state, and with it that of whatever else the settings ask for; plain values and tensors."""
        state = self.optimizer.state_dict()
        if self.average is not None:
            state["average"] = self.average.state_dict()
        if self.plateau is not None:
            state |= {"plateau": self.plateau.state_dict(), "rate": self.rate}
        if self.settings.validates:
            state["best"] = self.best
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state.

        :param state: of an optimization with the same settings.
        """
        self.optimizer.load_state_dict(state)
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if self.plateau is not None:
            self.plateau.load_state_dict(state["plateau"])
            self.rate = state["rate"]
        if self.settings.validates:
            self.best = state["best"]
