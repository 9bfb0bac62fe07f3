"""What leaves PairTrace: a report of the investigation, and the edited pairs."""
