"""The command line: a thin file a command, that parses, calls the API, and prints."""
