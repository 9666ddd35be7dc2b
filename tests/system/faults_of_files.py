"""Every distinct file operation of a command fails once, with each of three errors."""

import random
import shutil
from pathlib import Path

from tesseral.models.data.reference_file import read_reference
from tests.support.disturbed import RECIPE, Found, Studies, difference, each, numbers
from tests.support.failing_files import ERRORS, Failure
from tests.support.forked_commands import Commands, Ended, forked

MAPPING = """
[reference]
name = "labelled"

[source]
file = "frames.xyz"

[[labels]]
name = "energy"
column = "energy"
unit = "eV"
"""
FRAMES = "".join(
    f"2\nProperties=species:S:1:pos:R:3 energy={-31.0 - number} charge=0\nH 0 0 0\nH 0 0 {0.7 + number / 100}\n"
    for number in range(4)
)


class _Command:
    """A command, the state that it starts from, and what it must lead to."""

    def __init__(self, studies: Studies, commands: Commands, name: str, start: Path, *arguments: str) -> None:
        self.studies, self.name, self.start, self.arguments = studies, name, start, arguments
        with studies.copy(start) as folder:
            self.ended = self.run(commands, folder, watched=folder)
            assert self.ended.code == 0, self.ended
            self.text = self._said(self.ended, folder)
            self.numbers = numbers(folder / "runs", name) if (folder / "runs" / name).is_dir() else {}
            self.files = self._reference(folder)

    def run(self, commands: Commands, folder: Path, **options) -> Ended:
        arguments = [argument.replace("FOLDER", str(folder)) for argument in self.arguments]
        return commands.run(*arguments, "--storage", folder / "runs", **options)

    def differs(self, folder: Path, ended: Ended) -> str:
        """How the result differs from that of the undisturbed command."""
        if self.files != self._reference(folder):
            return "other reference data"
        if self.arguments[0] in ("report", "status"):
            return "" if self._said(ended, folder) == self.text else f"it says {ended.text}"
        return difference(folder / "runs", self.name, self.numbers) if self.numbers else ""

    @staticmethod
    def _said(ended: Ended, folder: Path) -> str:
        return ended.text.replace(str(folder), "")

    @staticmethod
    def _reference(folder: Path) -> dict[str, str]:
        return {path.name: read_reference(path).content_hash for path in (folder / "runs").glob("reference/*.parquet")}


def try_files(found: Found, share: float = 1.0, seed: int = 0) -> None:
    """Fail every operation of `run`, `status`, `report`, `reference make` and `reference import`.

    :param share: of the operations that are tried.
    """
    chosen = random.Random(seed)
    with forked() as commands:
        studies = Studies(commands)
        (studies.folder / "mapping.toml").write_text(MAPPING)
        (studies.folder / "frames.xyz").write_text(FRAMES)
        (studies.folder / "few.toml").write_text(RECIPE.format(name="few", count=2))
        empty = studies.folder.with_name(studies.folder.name + "-empty")
        shutil.copytree(studies.folder, empty, ignore=shutil.ignore_patterns("runs"))
        done = studies.folder.with_name(studies.folder.name + "-done")
        shutil.copytree(studies.folder, done)
        assert studies.run(commands, done, "searching").code == 0
        inline = ("--executor", "inline")
        tried = [
            _Command(studies, commands, "searching", studies.folder, "run", "FOLDER/searching.toml", *inline),
            _Command(studies, commands, "plain", empty, "reference", "make", "FOLDER/few.toml", *inline),
            _Command(studies, commands, "plain", empty, "reference", "import", "FOLDER/mapping.toml"),
            _Command(studies, commands, "searching", done, "status", "searching"),
            _Command(studies, commands, "searching", done, "report", "searching"),
        ]
    cases = []
    for command in tried:
        for key, count in sorted(command.ended.operations.items()):
            operation, _, path = key.partition(" ")
            for error in ERRORS:
                if chosen.random() < share:
                    # The first one, and others: a listing that fails late meets other states than one at the start.
                    at = 1 if error == "EIO" else chosen.randint(1, count)
                    cases.append((command, Failure(operation, path, at, error)))
    each(cases, lambda commands, case: _try(found, commands, *case))


def _try(found: Found, commands: Commands, command: _Command, failure: Failure) -> None:
    words = " ".join(command.arguments[: 2 if command.arguments[0] == "reference" else 1])
    where = f"{words}: {' '.join(map(str, failure))}"
    with command.studies.copy(command.start) as folder:
        ended = command.run(commands, folder, watched=folder, failure=failure)
        found.count(f"failing file operations of {words}")
        found.judge(where, ended)
        said = bool(ended.sentences)
        if ended.code == 0 and not said and (why := command.differs(folder, ended)):
            found.failed("exit 0 with a wrong number", where, ended, why)
        again = command.run(commands, folder)
        if again.code or (why := command.differs(folder, again)):
            why = "" if again.code else why
            found.failed("not whole after the same command again", f"{where} after {ended.text[-300:]}", again, why)
