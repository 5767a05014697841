"""A log in PostgreSQL."""

from sessionledger.logs.postgres.log import PostgresLog

__all__ = ["PostgresLog"]
