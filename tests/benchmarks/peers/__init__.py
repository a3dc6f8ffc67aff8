"""Other libraries that replicate, measured side by side where they can be installed and run."""
