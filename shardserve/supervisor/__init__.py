"""The supervisor holds the listeners and keeps every shard served. It never imports the application, and only forks."""
