"""Tests of the room that says what came out."""
