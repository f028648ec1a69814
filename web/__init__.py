"""People: pages and their JSON twins. Imports mines and compliance; starts no poll, computes nothing long."""
