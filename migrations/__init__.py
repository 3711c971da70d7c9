"""Alembic's environment and the versions of itemspace's own tables."""
