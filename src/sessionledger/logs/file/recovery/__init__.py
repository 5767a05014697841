"""What a crash may leave in the files of a ledger, and what is made of it."""
