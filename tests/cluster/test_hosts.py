"""The way of an operator: `ray up` on three hosts, train, tune, lists, a server, `ray down`."""

from __future__ import annotations

from typing import Any


def test_ray_up_joins_three_hosts(operator: Any) -> None:
    operator.ray("up", "--no-config-cache")
    print(operator.ray("exec", "ray status"))
