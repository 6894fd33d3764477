"""Another laboratory's values beside ours."""

from scored.laboratories import cross_check


def test_only_whole_measurements_are_compared():
    row = {"model": "x/deit", "source": "new", "protocol": "standard", "split": "validation"}
    row |= {"dataset": "imagenet-1k", "metrics": {"accuracy": 0.8}}
    entries = [{"model": "deit", "img_size": "224", "top1": "80"}]
    evaluated = (50000, 200, None)
    rows = [row | {"examples": {"expected": 50000, "evaluated": n}} for n in evaluated]
    assert [len(cross_check([row], entries)) for row in rows] == [1, 0, 1]


def test_values_agree_within_a_point_of_all_entries_of_an_architecture():
    row = {"model": "x/DeiT", "source": "new", "protocol": "standard", "split": "validation"}
    row |= {"dataset": "imagenet-1k", "examples": {"expected": 50000, "evaluated": 50000}}
    entries = [
        {"model": "deit.a", "img_size": "224", "top1": "80"},
        {"model": "deit.b", "img_size": "384", "top1": "82"},
    ]
    agrees = {}
    for accuracy in (0.7899, 0.79, 0.83, 0.8301):
        (entry,) = cross_check([row | {"metrics": {"accuracy": accuracy}}], entries)
        agrees[accuracy] = entry["agrees"]
        assert (entry["theirs_percent"], entry["entries"]) == ([80, 82], ["deit.a at 224", "deit.b at 384"])
    assert agrees == {0.7899: False, 0.79: True, 0.83: True, 0.8301: False}


def test_another_data_set_is_not_compared():
    row = {"model": "x/deit", "dataset": "emotion", "metrics": {"accuracy": 0.8}, "examples": None}
    assert cross_check([row], [{"model": "deit", "img_size": "224", "top1": "80"}]) == []
