"""Code is told by its content, wherever it lies."""

from tesseral.cluster.nodes.code import FOLDER, code_hash, hash_of


def test_a_copy_has_the_hash_of_the_links_and_an_edit_another(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "module.py").write_text("x = 1\n")
    linked, copied = tmp_path / "linked", tmp_path / "copied"
    linked.mkdir()
    (linked / "part").symlink_to("../real")
    (copied / "part" / "__pycache__").mkdir(parents=True)
    (copied / "part" / "module.py").write_text("x = 1\n")
    (copied / "part" / "__pycache__" / "module.pyc").write_bytes(b"compiled")
    assert hash_of(linked) == hash_of(copied)
    (copied / "part" / "module.py").write_text("x = 2\n")
    assert hash_of(linked) != hash_of(copied)


def test_it_covers_every_room():
    assert {path.name for path in FOLDER.iterdir()} >= {"study", "models", "analysis", "cluster"}
    assert len(code_hash()) == 64
