"""The site: what one mine's `site.toml` and `points.csv` say, every mistake at once. No network, no clock."""
