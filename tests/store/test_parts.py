"""Part numbers of a store, asked for by several cameras at once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial

from edge_ad.store.parts import BLOCK, PartNumbers
from edge_ad.store.writer import Job
from tests.beside import Beside


def test_two_cameras_at_once_get_two_numbers() -> None:
    class Counted(int):
        def __add__(self, other: int) -> int:
            if other == 1:  # as the next number is counted
                second()
            return int(self) + other

    numbers = PartNumbers(Counted(7), lambda job, records: True)
    second = Beside(numbers)
    assert {numbers(), second.result()} == {7, 8}


def test_a_block_that_is_reserved_at_once_is_not_the_last() -> None:
    """The store's thread may reserve before the camera's knows that it was asked to."""
    writers: list[Beside[object]] = []

    def put(job: Job, records: int) -> bool:
        writers.append(Beside(partial(job, connection)))
        writers[-1]()
        return True

    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:
        connection.execute("CREATE TABLE meta (key TEXT, value NOT NULL)")
        numbers = PartNumbers(1, put)
        for _ in range(BLOCK):
            numbers()
        writers[0].result()
        for _ in range(BLOCK):
            numbers()
        assert len(writers) > 1, "no other block is reserved"
        for writer in writers:
            writer.result()
