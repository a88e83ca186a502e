"""Trainings, and folders of pictures, compared as methods: tables, intervals and one page."""
