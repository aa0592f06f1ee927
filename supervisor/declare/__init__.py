"""What an author declares, and the checks that turn it into data before anything is started."""
