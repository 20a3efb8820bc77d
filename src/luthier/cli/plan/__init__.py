"""``luthier plan``: one file per subcommand."""
