"""What the page does on a gesture, one file per topic."""
