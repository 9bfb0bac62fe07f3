"""PairTrace's engine. Importing it imports nothing heavy: torch is loaded only by the modules that use it."""
