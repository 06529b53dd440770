"""Files that are made as a whole, in a process beside the service: Parquet, and the report as PDF."""
