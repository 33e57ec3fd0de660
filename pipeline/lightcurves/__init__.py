"""TESS light curves, from files to segments and a star table."""
