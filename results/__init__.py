"""What came out: grades, statistics, store, tables and plots."""
