"""The cases, by the section of the RFC that decides them. How to write one: support/corpus.py."""
