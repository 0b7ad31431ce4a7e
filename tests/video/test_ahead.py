"""A thread of its own: same items, same order, errors where they are used, nothing left running."""

import threading
from collections.abc import Iterator

import pytest

from stdo.video.ahead import ahead


def counting(made: list[int], closed: list[bool], fail_at: int = -1) -> Iterator[int]:
    try:
        for number in range(20):
            if number == fail_at:
                raise ValueError("from the thread")
            made.append(number)
            yield number
    finally:
        closed.append(True)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "ahead"]


def test_items_arrive_in_order_and_the_thread_ends() -> None:
    made, closed = [], []
    with ahead(counting(made, closed), depth=2) as items:
        first = next(items)
        assert [first, *items] == list(range(20))
    assert closed
    assert not threads()


def test_no_more_than_the_depth_is_made_ahead() -> None:
    made, closed = [], []
    with ahead(counting(made, closed), depth=2) as items:
        for number in items:
            assert len(made) <= number + 1 + 2 + 1, "handed over, waiting, and one in the making"


def use(items: Iterator[int], depth: int = 2, stop_at: int = -1) -> list[int]:
    used = []
    with ahead(items, depth) as found:
        for number in found:
            used.append(number)
            if number == stop_at:
                raise KeyboardInterrupt
    return used


def test_an_error_is_raised_where_the_items_are_used() -> None:
    made, closed = [], []
    with pytest.raises(ValueError, match="from the thread"):
        use(counting(made, closed, fail_at=5))
    assert made == list(range(5))
    assert closed
    assert not threads()


def test_whoever_stops_early_stops_the_thread() -> None:
    made, closed = [], []
    with pytest.raises(KeyboardInterrupt):
        use(counting(made, closed), stop_at=0)
    assert closed
    assert len(made) < 20
    assert not threads()


def test_threads_can_follow_one_another() -> None:
    def doubled() -> Iterator[int]:
        with ahead(counting([], inner)) as items:
            for number in items:
                yield 2 * number

    inner: list[bool] = []
    with ahead(doubled()) as items:
        assert next(items) == 0
    assert inner
    assert not threads()
