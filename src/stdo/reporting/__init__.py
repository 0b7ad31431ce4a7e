"""Many finished runs together: tables, plots and the HTML report."""
