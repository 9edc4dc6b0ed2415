"""Networks and boosted trees; a study reaches them by their dotted names."""
