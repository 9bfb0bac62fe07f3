"""PairTrace's engine. Importing it imports nothing heavy: only the modules that use torch do."""
