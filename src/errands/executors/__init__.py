"""What happens in time: loops that claim due work, execute it, and feed each outcome back in."""
