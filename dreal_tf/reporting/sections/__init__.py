"""The sections of a report, in their order."""
