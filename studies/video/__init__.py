"""What rows of videos say together: our rate over x264's at equal accuracy, and plots."""
