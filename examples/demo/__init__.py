"""What `./script/demo` runs: the shop, with real mail, rows and pictures, across a `kill -9`."""
