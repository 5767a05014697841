"""Tests of appends as one statement."""
