"""A worker runs the application on a loop of its own, fed by its listeners; a process (later perhaps a thread)."""
