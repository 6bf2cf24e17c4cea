"""Forms that other tools read: JUnit and KTAP, HdrHistogram's texts, Chrome trace events, schedules as text."""
