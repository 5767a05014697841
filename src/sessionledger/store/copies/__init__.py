"""Backups of a ledger, and ledgers made from them: nobody who was logged out is logged in again."""
