"""Training in several processes: who they are, how they share the work, how they are started."""
