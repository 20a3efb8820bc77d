"""What every layer stands on: errors, records, the run directory, seeds, the console."""
