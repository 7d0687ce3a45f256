"""The chapters of the report, one file each: a function from the track record to markup."""
