"""The browser pages. They look at runs and start jobs; everything that computes is in `core`."""
