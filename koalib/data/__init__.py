"""What a knee image is: sets, films, pixels, and what is wrong with them."""
