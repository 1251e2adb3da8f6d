"""Measures the appliance in the lab, beside two stock ways to run the same Django app. See README.md."""
