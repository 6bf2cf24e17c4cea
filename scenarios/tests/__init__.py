"""Tests of the room that says what to run."""
