"""Shares of a run: together everything, and nothing twice."""

import pytest

from moodreel.batch.shards import WHOLE, Shard, read_shard
from moodreel.errors import OutputError


def test_each_clip_belongs_to_one_shard():
    names = [f"/films/{number}.mp4" for number in range(2000)] + ["bad \udcff.mp4"]
    owners = [[shard for shard in range(1, 17) if Shard(shard, 16).takes(name)] for name in names]
    assert all(len(one) == 1 for one in owners)
    sizes = [sum(owner == [shard] for owner in owners) for shard in range(1, 17)]
    assert min(sizes) > 80 and max(sizes) < 180
    assert all(map(WHOLE.takes, names))


def test_a_shard_is_named_as_a_user_writes_it():
    assert read_shard("3/16") == Shard(3, 16) and str(Shard(3, 16)) == "3of16"


@pytest.mark.parametrize("text", ["0/4", "5/4", "3", "3/", "a/b", "1/0", "1/1000000", "-1/4", "1/4/5"])
def test_other_texts_are_refused(text):
    with pytest.raises(OutputError, match=r"expected NUMBER/COUNT such as 3/16"):
        read_shard(text)
