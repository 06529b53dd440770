"""What is made of the log loses what the log has lost."""

from __future__ import annotations

from adapter.log.memory import Memory, open_memory_log
from adapter.retention.pruning import Pruning
from tests.log.conformance import remove
from tests.log.entries import new_entry


async def test_it_is_pruned_when_the_log_became_smaller_and_once_more_when_it_stays_as_it_is() -> None:
    pruned: list[int] = []
    async with open_memory_log(Memory()) as log:

        async def prune() -> bool:
            pruned.append(await log.removed(0, log.head))
            return True

        await log.append([new_entry(f"{number}") for number in range(10)])
        pruning = Pruning(log, prune)
        for _ in range(4):
            await pruning.look()
        assert pruned == [0, 0]
        await remove(log, until=4)
        for _ in range(4):
            await pruning.look()
        assert pruned == [0, 0, 4, 4]


async def test_what_could_not_be_pruned_is_pruned_later() -> None:
    answers = [False, False, True, False]
    async with open_memory_log(Memory()) as log:

        async def prune() -> bool:
            return answers.pop(0)

        pruning = Pruning(log, prune)
        for _ in range(6):
            await pruning.look()
        assert answers == [False]
