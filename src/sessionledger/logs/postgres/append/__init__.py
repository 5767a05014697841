"""Appends as one statement: the call, and the functions of the server that answer it."""
