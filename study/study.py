"""A study: its validated file and its arms."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from tesseral.study.configuration.configuration import flatten
from tesseral.study.configuration.metrics import choose_metric
from tesseral.study.design.arm import Arm, Excluded
from tesseral.study.design.factorial import Designed, make_design
from tesseral.study.design.match import MatchedArm, check_match, check_within, match_arms
from tesseral.study.design.search_budget import default_repeats
from tesseral.study.design.stages import objective_names
from tesseral.study.design.study_file import CONFIGURATION, Header, Replication, Search, StudyFile
from tesseral.study.design.widths import CountSize
from tesseral.study.errors import StudyFileError, numbered
from tesseral.study.parsing.preset import apply_preset, blame, choose, merge, read_presets
from tesseral.study.parsing.validation import parse_toml, read_toml, validate
from tesseral.study.wording import count

RESERVED = {"reference": "the folder of reference data", "rates": "the folder of measured speeds"}
"""Folder in a storage that is not a study → what it holds."""


@contextmanager
def _blamed(tables: dict[str, Any], preset: str) -> Iterator[None]:
    """Give errors their path in the preset, if the mistake is in the preset."""
    try:
        yield
    except StudyFileError as error:
        raise blame(error, tables, preset) from None


@dataclass(frozen=True)
class Study:
    """A validated study file with its arms. Make one by `Study.load`."""

    text: str
    """Text of the file, as it was read."""
    file: StudyFile
    """Its tables."""
    arms: tuple[Arm, ...]
    """Arms at their natural widths; `matched` gives the matched ones."""
    excluded: tuple[Excluded, ...] = ()
    """Arms that a condition in `design.where` leaves out."""
    design_notes: tuple[str, ...] = ()
    """Lines about the design: its baseline, or its resolution and aliases."""
    folder: Path = field(default_factory=Path.cwd, compare=False)
    """Where recipes and the user's own modules are: the folder of the study file."""
    holds_out: bool = True
    """Whether structures that arms are tested on are kept from its searches. Those of an earlier time keep none."""
    dropped: tuple[str, ...] = ()
    """Labels of arms of its file that it has no more, see `without`."""

    def __repr__(self) -> str:
        replication = self.file.replication
        size = (count(len(self.arms), "arm"), count(replication.blocks, "block"))
        return f"Study({self.name!r}: {' × '.join([*size, count(replication.replicates, 'replicate')])})"

    @classmethod
    def load(cls, path: str | Path, preset: str | None = None) -> Self:
        """Read and validate a study file.

        :param path: of the study file.
        :param preset: name of a preset in the file.
        :raises StudyFileError: for the first mistake, with its dotted path, what came and what is valid.
        """
        return cls.parse(choose(read_toml(path), preset, str(path)), str(path), Path(path).parent)

    @classmethod
    def parse(cls, text: str, name: str, folder: str | Path = ".") -> Self:
        """Validate the text of a study file.

        :param text: of the study file.
        :param name: what errors call it.
        :param folder: where its recipes and the user's own modules are; the current folder if not given.
        :raises StudyFileError: for the first mistake, also in a preset that is not chosen.
        """
        tree = parse_toml(text, "study", name)
        applied, presets = apply_preset(tree, name), read_presets(tree, name)
        for preset, tables in presets.items():
            with _blamed(tables, preset):
                validate(StudyFile, merge(tree, tables, preset), name)
        chosen = tree.get("preset", "")
        with _blamed(presets.get(chosen, {}), chosen):
            return cls._build(text, applied, name, Path(folder).absolute())

    @classmethod
    def _build(cls, text: str, tree: dict[str, Any], name: str, folder: Path) -> Self:
        file = validate(StudyFile, tree, name)
        try:
            designed = cls._arms(file, {key: tree[key] for key in CONFIGURATION if key in tree}, name)
            cls._check_header(file.study, designed)
            targets = [arm.configuration.target for arm in designed.arms]
            tests = [name for name in designed.arms[0].configuration.data.tests if cls._all_test(name, designed.arms)]
            metric = choose_metric(file.study.metric, targets, tests)
            file = replace(file, study=replace(file.study, metric=metric))
            cls._check_replication(file.replication, designed.arms)
            if file.search is not None:
                cls._check_repeats(file.search, file.replication)
            check_match(designed.arms, file.match)
            check_within("study.within", file.study.within, designed.arms)
        except StudyFileError as error:
            raise StudyFileError(error.path, error.message, name) from None
        return cls(text, file, designed.arms, designed.excluded, designed.notes, folder)

    @staticmethod
    def _arms(file: StudyFile, base: dict[str, Any], name: str) -> Designed:
        return make_design(base, file.factors, file.arms, file.design, file.match.by, name)

    @staticmethod
    def _all_test(name: str, arms: Sequence[Arm]) -> bool:
        return all(name in arm.configuration.data.tests for arm in arms)

    @staticmethod
    def _check_replication(replication: Replication, arms: Sequence[Arm]) -> None:
        published = next((split for arm in arms if (split := arm.configuration.data.split)), None)
        if replication.split == "folds" and published is not None:
            raise StudyFileError(
                "replication.split",
                f'expected "random" with a published split, data.split = {published!r}, got "folds"',
            )
        sequential = replication.allocate == "sequential"
        for key in ("precision", "max_blocks"):
            given = getattr(replication, key) is not None
            if given != sequential:
                message = (
                    'expected this key with allocate = "sequential", it is missing'
                    if sequential
                    else f'expected this key only with allocate = "sequential", got {getattr(replication, key)}'
                )
                raise StudyFileError(f"replication.{key}", message)
        if sequential and (replication.max_blocks or 0) < max(replication.blocks, 3):
            raise StudyFileError(
                "replication.max_blocks",
                f"expected at least the {replication.blocks} blocks that every arm gets, and at least the 3 that an "
                f"interval needs, got {replication.max_blocks}",
            )

    @staticmethod
    def _check_repeats(search: Search, replication: Replication) -> None:
        if (search.repeats or 1) > search.trials:
            message = f"expected at most the {search.trials} proposals that searches share, got {search.repeats}"
            raise StudyFileError("search.repeats", message)
        if (search.repeats or 1) > replication.blocks:
            raise StudyFileError(
                "search.repeats",
                f"expected at most the {replication.blocks} blocks in which the chosen settings are confirmed, got "
                f"{search.repeats}",
            )

    @staticmethod
    def _check_header(header: Header, designed: Designed) -> None:
        if header.name in RESERVED:
            raise StudyFileError("study.name", f"expected another name than {header.name!r}, {RESERVED[header.name]}")
        labels = [label for arm in designed.arms for label in arm.labels]
        if header.baseline is not None and header.baseline not in labels:
            for arm in designed.excluded:
                if arm.label == header.baseline:
                    raise StudyFileError(
                        "study.baseline", f"arm {arm.label!r} is left out by {numbered(arm.where)}, {arm.condition!r}"
                    )
            raise StudyFileError("study.baseline", f"expected an arm's label, one of {labels}, got {header.baseline!r}")

    @property
    def name(self) -> str:
        """`study.name`."""
        return self.file.study.name

    @property
    def within(self) -> tuple[str, ...]:
        """Factors within whose levels arms are compared: those of `study.within` and `match.within`."""
        return tuple(dict.fromkeys((*self.file.study.within, *self.file.match.within)))

    @property
    def baseline(self) -> Arm:
        """The arm with which the others are compared."""
        wanted = self.file.study.baseline
        return next((arm for arm in self.arms if wanted in arm.labels), self.arms[0])

    @property
    def repeats(self) -> int:
        """Number of independent searches in each arm, `search.repeats` or its default; 0 without a search."""
        search = self.file.search
        if search is None:
            return 0
        return search.repeats or default_repeats(search.trials, self.file.replication.blocks)

    def with_repeats(self, repeats: int) -> Self:
        """Return the study with this number of independent searches in each arm, if it has a search.

        :param repeats: at least 1.
        """
        search = self.file.search and replace(self.file.search, repeats=repeats)
        return replace(self, file=replace(self.file, search=search))

    def continuing(self, before: "Study | None") -> Self:
        """Return the study as it goes on: with as many searches as it was started with, if its file leaves that open,
        and with a hold-out if it had one.

        :param before: the study as it was started; None if it was not.
        """
        if before is None:
            return self
        search = self.file.search
        left_open = search is not None and search.repeats is None
        study = self.with_repeats(before.repeats) if left_open and before.repeats else self
        return replace(study, holds_out=before.holds_out)

    def without(self, labels: Collection[str]) -> Self:
        """Return the study without some of its arms, which were dropped.

        :param labels: of the arms; those that it does not have are ignored.
        """
        kept = tuple(arm for arm in self.arms if arm.label not in labels)
        dropped = [arm.label for arm in self.arms if arm.label in labels]
        return replace(self, arms=kept, dropped=(*self.dropped, *dropped))

    def matched(self, count: CountSize) -> list[MatchedArm]:
        """Return the arms at their matched widths, see `tesseral.study.design.match.match_arms`.

        :param count: size of a configuration in a unit of `match.by`.
        :raises StudyFileError: if `match.to` or `match.within` name nothing, or an arm cannot be given its size.
        """
        return match_arms(self.arms, self.file.match, self.file.search, self.within, count)

    def settings(self) -> dict[str, Any]:
        """Every setting that a study is held to, by dotted path, those of an arm under `arm '<label>'`.

        Resources, units, the description and `data.recipe` are not among them: they may change while a study runs.
        """
        file = self.file
        header = {key: value for key, value in vars(file.study).items() if key != "description"}
        tree: dict[str, Any] = {
            "study": header | {"baseline": self.baseline.label},
            "design": asdict(file.design),
            "match": asdict(file.match),
            "search": asdict(file.search) | {"repeats": self.repeats, "objectives": objective_names(file, self.arms)}
            if file.search
            else {},
            "replication": asdict(file.replication),
            "traces": asdict(file.traces),
        }
        for arm in self.arms:
            configuration = arm.configuration.to_dict()
            del configuration["data"]["recipe"]
            tree[f"arm '{arm.label}'"] = configuration
        return flatten(tree)
