"""Colours of arms, and panels with room for their labels."""

from tesseral.analysis.figures.axes import arm_scale, in_panels, order_scale


def test_arms_keep_their_colours():
    labels = [f"a{k}" for k in range(9)]
    assert arm_scale(labels[:4]).to_dict()["range"] == arm_scale(labels[:6]).to_dict()["range"][:4]
    assert len(set(arm_scale(labels).to_dict()["range"])) == 9
    assert order_scale([0]).to_dict()["range"] == ["#46327E"]
    assert order_scale([0, 1, 2, 3, 4, 5]).to_dict()["range"][-1] == "#A0DA39"


def test_panels_have_room_for_their_labels():
    assert [len(part) for part in in_panels([f"lmax={k}" for k in range(6)])] == [4, 2]
    long = [f"interaction=mace, diagram=((neighbours centre) edges {k})" for k in range(3)]
    assert [len(part) for part in in_panels(long)] == [2, 1]
    assert [len(part) for part in in_panels(["x" * 200, "y" * 200])] == [1, 1]
    assert in_panels([]) == []
