"""Small pieces shared by every part: errors, image files, seeds."""
