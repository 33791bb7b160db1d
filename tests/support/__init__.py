"""What tests share: a real server process, and a plain client that sees octets."""
