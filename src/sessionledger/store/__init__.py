"""The one flow: load the row, decide, append conditionally, and on conflict decide again."""
