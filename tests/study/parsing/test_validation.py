"""Text that no honest file holds is one sentence, before it costs time or memory."""

import pytest

from tesseral.study.errors import StudyFileError
from tesseral.study.parsing.validation import LONGEST, load_toml, read_toml
from tesseral.study.study import Study

STUDY = (
    '[study]\nname = "x"\n[data]\nreference = "r"\ntrain = 1\nvalidation = 1\ntest = 1\n[network]\nhidden.lmax = 1\n'
)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a = " + "[" * 100_000, "at most 32 tables and lists in each other"),
        ("a = " + "[" * 200 + "]" * 200, "at most 32 tables and lists in each other"),
        ("a = " + "{a=" * 100 + "1" + "}" * 100, "at most 32 tables and lists in each other"),
        (".".join("a" * 100_000) + " = 1", "keys of at most 32 parts"),
        (" . ".join("a" * 100) + " = 1", "keys of at most 32 parts"),
        (".".join("a" * 40) + " = 1", "at most 32 tables and lists in each other"),
        ("a = " + "9" * 5000, "integers of at most 30 digits"),
        ("a = [0, 0x" + "f" * 5000 + "]", r"a \(entry 2\): expected integers of at most 30 digits"),
        (f"b.a = {10**30}", r"b\.a: expected integers of at most 30 digits"),
        ("#" * (LONGEST + 1), "at most 4,000,000 characters"),
        ("a = \x1b", "expected TOML, got something else: "),
    ],
)
def test_what_no_file_holds_is_refused_at_once(text, sentence):
    with pytest.raises(StudyFileError, match=sentence) as caught:
        load_toml(text, "mine.toml")
    assert "\n" not in str(caught.value)


def test_dots_in_prose_are_no_key():
    assert load_toml('a = "' + "One. Two things. " * 100 + '"', "mine.toml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (STUDY.replace('"x"', r'"x\u001b[31m"'), r"study\.name: expected text without control characters, got x\\x1b"),
        (STUDY.replace('"x"', '"x"\ndescription = "\u202eabc"'), r"study\.description: .* got \\u202eabc"),
        (STUDY.replace("[network]", r'[[arms]]\n"a\u0007" = 1\n[network]'.replace(r"\n", "\n")), r"got a\\x07"),
    ],
)
def test_control_characters_are_refused_where_a_user_writes_them(text, sentence, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StudyFileError, match=sentence):
        read_toml(path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"[resources]\ncpus = {10**21}", r"resources\.cpus: expected a number of at most 4096"),
        ("[resources]\ncpus = 1000000000", r"resources\.cpus: expected a number of at most 4096"),
        (f"[factors]\ntraining.epochs = {[*range(1, 10_002)]}", "expected at most 10,000 levels, got 10,001"),
        ("\n".join(f"[[arms]]\ntraining.epochs = {n}" for n in range(1, 10_002)), "at most 10,000 arms, got 10,001"),
        (
            f"[factors]\ntraining.epochs = {[*range(1, 6000)]}\ntraining.batch_size = {[*range(1, 6000)]}\n"
            '[design]\nkind = "one-factor-out"',
            "factors: expected at most 10,000 arms, got 11,997",
        ),
    ],
)
def test_numbers_that_no_machine_has_are_refused(text, sentence):
    with pytest.raises(StudyFileError, match=sentence):
        Study.parse(STUDY + text, "mine.toml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[training]\nbetas = [0.9]", r"^mine: training\.betas: expected a list of 2 entries, got \[0\.9\]$"),
        ("[training]\nbetas = []", r"training\.betas: expected a list of 2 entries, got \[\]$"),
        ("[training]\nbetas = [0.9, 0.9, 0.9]", r"training\.betas: expected .*at most 2"),
        ("[factors]\ntraining.betas = [[0.9]]", r"training\.betas.*: expected a list of 2 entries, got \[0\.9\]$"),
        ("[training]\nmax_epochs = 3", "unknown key 'max_epochs'; did you mean 'epochs'"),
        ("[factors]\nnetwork.cutoff = [3.0]", "unknown key 'cutoff'; did you mean 'radial_cutoff'"),
    ],
)
def test_short_lists_and_parts_of_names_are_answered(text, sentence):
    with pytest.raises(StudyFileError, match=sentence):
        Study.parse(f"{STUDY}{text}\n", "mine")
