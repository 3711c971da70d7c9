"""Value types and contracts; imports no driver."""
