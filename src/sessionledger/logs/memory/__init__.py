"""The log in memory: the worked example of the contract."""

from sessionledger.logs.memory.log import MemoryLog

__all__ = ["MemoryLog"]
