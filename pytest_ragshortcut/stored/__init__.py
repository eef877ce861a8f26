"""What is kept between runs: typed records as JSON files, and what they share."""
